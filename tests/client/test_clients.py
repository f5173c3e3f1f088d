"""Both clients, local and remote, method for method; and what each kind of bad input gives."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from herojobs import After, AsyncHeroJobs, HeroJobs, InlineWatchDog, Job, ParamsType
from herojobs.errors import (
    InvalidJob,
    InvalidName,
    InvalidReference,
    InvalidSchedule,
    JobConflict,
    JobNotFound,
    ParamsTooLarge,
    RedisUnavailable,
    ScheduleConflict,
    ScheduleNotFound,
    SettingsError,
    UnknownKind,
    WaitTimeout,
)
from herojobs.settings import load
from server.here import serving_here

ECHO = "!!core.echo content:hi"


class Twin:
    """One face over both clients: every method can be called without await."""

    def __init__(self, kind: str, given: dict[str, Any]) -> None:
        self._loop = asyncio.new_event_loop() if kind.endswith("async") else None
        self._client: Any = AsyncHeroJobs(**given) if self._loop is not None else HeroJobs(**given)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        if self._loop is None:
            return method  # type: ignore[no-any-return]
        return lambda *args, **kwargs: self._loop.run_until_complete(method(*args, **kwargs))

    def close_all(self) -> None:
        self.close()
        if self._loop is not None:
            self._loop.close()


@pytest.fixture
def given(tmp_path: Path, redis_url: str) -> dict[str, Any]:
    return {"home": tmp_path / "home", "redis_url": redis_url}


@pytest.fixture(params=["sync", "async", "remote sync", "remote async"])
def hero(request: pytest.FixtureRequest, given: dict[str, Any], tmp_path: Path) -> Iterator[Any]:
    with ExitStack() as stack:
        arguments = given
        if request.param.startswith("remote"):
            arguments = {"url": stack.enter_context(serving_here(load({}, **given))), "home": tmp_path / "elsewhere"}
        twin = Twin(request.param, arguments)
        stack.callback(twin.close_all)
        yield twin


@pytest.fixture
def work(given: dict[str, Any]) -> Iterator[Callable[[], int]]:
    """Run what waits."""
    with InlineWatchDog(**given) as inline:
        yield inline.run_pending


def test_both_have_the_same_methods() -> None:
    def public(cls: type) -> set[str]:
        return {name for name in vars(cls) if not name.startswith("_")}

    assert public(HeroJobs) == public(AsyncHeroJobs)


def test_submit_get_wait_history(hero: Any, work: Callable[[], int]) -> None:
    job = hero.submit(ECHO, params_type=ParamsType.HEROSCRIPT, circle_id="My Circle", topic="T", timeout=5, tags=["a"])
    assert str(job.ref) == "my_circle/t/1"
    assert hero.get("My Circle/T/1") == hero.get(job) == hero.get(job.ref) == job
    with pytest.raises(WaitTimeout, match="is new after"):
        hero.wait(job, timeout=0.05)
    assert work() == 1
    done = hero.wait(job, timeout=60)
    assert (done.result, done.tags) == ("hi", ["a"])
    assert [version.status for version in hero.history(job)] == ["new", "active", "done"]


def test_many_at_once_keep_their_order_over_queues(hero: Any, work: Callable[[], int]) -> None:
    jobs = hero.submit_many(
        [{"params": f"!!core.echo content:{n}", "circle_id": f"c{n % 3}", "priority": n % 2} for n in range(1500)]
    )
    assert [job.params for job in jobs] == [f"!!core.echo content:{n}" for n in range(1500)]
    assert [job.job_id for job in jobs[:6]] == [1, 1, 1, 2, 2, 2]
    assert work() == 1500
    assert all(hero.get(job).result == job.params.rpartition(":")[2] for job in jobs[::100])


def test_list_and_find(hero: Any, work: Callable[[], int]) -> None:
    hero.submit_many([Job(params=f"!!core.echo content:'needle {n}'", circle_id="c", topic="a") for n in range(5)])
    hero.submit("!!fake.return_error message:haystack", circle_id="c", topic="b", tags=["x"])
    work()
    assert len(hero.list(circle_id="C")) == 6
    assert [job.result for job in hero.list(text="needle 3")] == ["needle 3"]
    assert [job.reason for job in hero.list(status="error")] == ["failed"]
    page = hero.find(topic="a", limit=2)
    rest = hero.find(topic="a", limit=10, before=page.cursor)
    assert [str(job.ref) for job in page.jobs + rest.jobs] == [f"c/a/{n}" for n in (5, 4, 3, 2, 1)]
    assert not hero.find(since=datetime.now(UTC) + timedelta(hours=1)).jobs
    assert [job.topic for job in hero.find(tag="x").jobs] == ["b"]
    assert hero.list(text='"*" OR (') == []


def test_cancel_retry_delete_empty(hero: Any, work: Callable[[], int]) -> None:
    job = hero.submit(ECHO)
    assert hero.cancel(job).reason == "cancelled"
    with pytest.raises(JobConflict, match="over already"):
        hero.cancel(job)
    assert work() == 0
    again = hero.retry(job)
    assert (again.status, again.error, again.attempts) == ("new", "", 0)
    with pytest.raises(JobConflict, match="isn't over"):
        hero.retry(job)
    assert work() == 1
    assert hero.get(job).result == "hi"
    hero.delete(job)
    with pytest.raises(JobNotFound, match="default/default/1"):
        hero.get(job)
    for n in range(7):
        hero.submit(ECHO, at=int(time.time()) + 100 * (n % 2))
    assert hero.peek("default", "default").job_id == 2
    assert [(q.waiting, q.scheduled) for q in hero.queues()] == [(4, 3)]
    assert hero.empty("default", "default") == 7
    assert hero.peek("default", "default") is None
    assert {job.reason for job in hero.list()} == {"removed"}
    assert work() == 0


def test_what_is_paused_waits(hero: Any, work: Callable[[], int]) -> None:
    hero.submit(ECHO, circle_id="c", topic="t")
    hero.submit(ECHO, circle_id="c", topic="u")
    hero.pause("c", "t")
    hero.pause("C", "T")
    assert (work(), hero.paused()) == (1, ["c/t"])
    hero.pause("c")
    hero.resume("c", "t")
    assert (work(), [q.paused for q in hero.queues()]) == (0, [True, True])
    hero.resume("c")
    hero.resume("c")
    assert (work(), hero.paused()) == (1, [])
    with pytest.raises(InvalidName):
        hero.pause("..")


def test_a_delayed_job_waits(hero: Any, work: Callable[[], int]) -> None:
    hero.submit(ECHO, at=datetime.now(UTC) + timedelta(hours=1))
    assert work() == 0


@pytest.mark.parametrize(
    ("fields", "error", "told"),
    [
        ({"params_type": "heroscrpt"}, UnknownKind, "did you mean 'heroscript'"),
        ({"params": " "}, InvalidJob, "params"),
        ({"timeout": -1}, InvalidJob, "timeout -1"),
        ({"timeout": "soon"}, InvalidJob, "timeout 'soon'"),
        ({"params": "x" * 20_000_000}, ParamsTooLarge, "20,000,000 bytes"),
        ({"params": "\ud800"}, InvalidJob, r"params '\\ud800': .*surrogate"),
        ({"circle_id": "é"}, InvalidName, "circle_id"),
        ({"topic": ".."}, InvalidName, "topic"),
        ({"priority": 11}, InvalidJob, "0 to 9"),
        ({"tags": [1]}, InvalidJob, "tags"),
        ({"tags": "alone"}, InvalidJob, "tags 'alone'"),
        ({"params": b"bytes"}, InvalidJob, "params b'bytes': Expected `str`, got `bytes`"),
    ],
)
def test_bad_input_is_told_and_leaves_nothing(
    hero: Any, given: dict[str, Any], fields: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        hero.submit(**({"params": ECHO} | fields))
    with pytest.raises(error):
        hero.submit_many([Job(params=ECHO, circle_id="c"), Job(**({"params": ECHO, "circle_id": "c"} | fields))])
    assert not list((given["home"] / "var").glob("circles/**/*"))
    assert hero.queues() == []


def test_bad_input_is_told_with_its_place(hero: Any) -> None:
    with pytest.raises(InvalidJob, match="at 'tomorrow': no time; use unix seconds, whole ones, or a datetime"):
        hero.submit(ECHO, at="tomorrow")
    for name in ("tags", "retry_on", "after"):
        with pytest.raises(InvalidJob, match=rf"{name} 'c/t/1': one alone, not a list; use \['c/t/1'\]"):
            hero.submit(ECHO, **{name: "c/t/1"})
    for wrong, told in (
        ({"params": ""}, r"jobs\[2\]: params '': empty"),
        (5, r"jobs\[2\]: job 5: neither a Job nor its fields"),
    ):
        with pytest.raises(InvalidJob, match=told):
            hero.submit_many([{"params": ECHO}, {"params": ECHO}, wrong])
    with pytest.raises(InvalidReference, match="'5' is no job reference: it is of type int"):
        hero.get(5)


def test_references_to_nothing(hero: Any) -> None:
    for bad in ("x", "a/b/0", "a/b"):
        with pytest.raises(InvalidReference):
            hero.get(bad)
    for call in (hero.get, hero.cancel, hero.retry, hero.delete, hero.history, hero.log):
        with pytest.raises(JobNotFound):
            call("no/such/1")
    with pytest.raises(InvalidJob, match="no such field"):
        hero.submit_many([{"parms": ECHO}])
    job = hero.submit(ECHO)
    with pytest.raises(InvalidJob, match="already"):
        hero.submit_many([job])


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_without_redis_nothing_is_written(kind: str, tmp_path: Path) -> None:
    twin = Twin(kind, {"home": tmp_path, "redis_url": f"unix://{tmp_path}/none.sock"})
    with pytest.raises(RedisUnavailable, match=r"none\.sock"):
        twin.submit(ECHO)
    twin.close_all()
    assert not list(tmp_path.glob("**/*.db"))


def test_a_wrong_address_is_told() -> None:
    with pytest.raises(SettingsError, match="write http://localhost"):
        HeroJobs("ws://localhost")
    with pytest.raises(SettingsError, match="redis_url"), HeroJobs("ftp://x") as hero:
        hero.queues()
    with pytest.raises(SettingsError, match="did you mean 'workers'"):
        HeroJobs(worker=1)


def test_threads_share_a_client(given: dict[str, Any], work: Callable[[], int]) -> None:
    with HeroJobs(**given) as hero:
        jobs: list[Job] = []

        def submit() -> None:
            jobs.extend(hero.submit(ECHO, topic="t") for _ in range(20))

        threads = [threading.Thread(target=submit) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(job.job_id for job in jobs) == list(range(1, 101))
        waiters = [threading.Thread(target=hero.wait, args=(job, 10)) for job in jobs[::10]]
        for waiter in waiters:
            waiter.start()
        assert work() == 100
        for waiter in waiters:
            waiter.join(60)
            assert not waiter.is_alive()


def test_jobs_come_after_others(hero: Any) -> None:
    first = hero.submit(ECHO, circle_id="c", topic="a")
    parts, last = hero.fan_in(
        [Job(params=ECHO, circle_id="c", topic="b", after=[After(str(first.ref), "run")]) for _ in range(2)],
        {"params": "!!job.parents", "circle_id": "c"},
        on_failure="fail",
    )
    assert last.after == [After("c/b/1", "fail"), After("c/b/2", "fail")]
    assert [each.ref for each in hero.flow(parts[0])] == [first.ref, parts[0].ref, parts[1].ref, last.ref]
    one, two = hero.chain([{"params": ECHO, "circle_id": "d"}] * 2)
    assert [job.ref for job in hero.cancel_flow(two)] == [one.ref, two.ref]
    assert hero.get(two).cancelled_while == "waiting"
    with pytest.raises(InvalidJob, match="there is no such job"):
        hero.submit(ECHO, circle_id="c", after=["c/a/99"])


def test_schedules(request: pytest.FixtureRequest, given: dict[str, Any], tmp_path: Path) -> None:
    with ExitStack() as stack:
        url = stack.enter_context(serving_here(load({}, **given)))
        local = stack.enter_context(HeroJobs(**given))
        remote = stack.enter_context(HeroJobs(url, home=tmp_path / "elsewhere"))
        job = Job(params=ECHO, circle_id="c", topic="t", tags=["x"])
        added = remote.schedules.add("s", "30 2 * * *", job, tz="Europe/Paris", missed="all")
        assert added == local.schedules.get("s") == remote.schedules.get("s", "c")
        assert remote.schedules.list() == [added]
        assert remote.schedules.pause("s").paused
        assert not remote.schedules.resume("s").paused
        assert str(remote.schedules.run("s").ref) == "c/t/1"
        with pytest.raises(ScheduleConflict, match="already"):
            remote.schedules.add("s", "@daily", job)
        with pytest.raises(InvalidSchedule, match="wrong number of fields"):
            remote.schedules.add("u", "* *", job)
        local.schedules.add("s1", "@daily", job)
        with pytest.raises(ScheduleNotFound, match="did you mean 's1'"):
            remote.schedules.get("s11", "c")
        assert remote.schedules.remove("s").name == "s"

        async def use() -> None:
            async with AsyncHeroJobs(url) as other:
                assert [each.name for each in await other.schedules.list("c")] == ["s1"]
                assert (await other.schedules.remove("s1", "c")).when == "@daily"

        asyncio.run(use())
        assert local.schedules.list() == []
