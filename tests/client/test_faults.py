"""Submissions when something breaks in the middle: what was told is true, and nothing is doubled or half there."""

from __future__ import annotations

import asyncio
import multiprocessing
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from herojobs import AsyncHeroJobs, HeroJobs, InlineWatchDog, Job, WatchDog
from herojobs.errors import InvalidJob, JobConflict, SubmissionUnconfirmed, WaitTimeout
from herojobs.live import admin, embedded
from herojobs.live.redis import BlockingRedis, run_sync
from herojobs.names import Queue
from herojobs.settings import load
from herojobs.store import JobStore, Put
from live.servers import RedisServer

ECHO = "!!core.echo content:hi"


@pytest.fixture
def given(tmp_path: Path, redis_url: str) -> dict[str, Any]:
    return {"home": tmp_path / "home", "redis_url": redis_url}


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    server = RedisServer(embedded.find_program(), "--appendonly", "yes")
    yield server
    server.close()


def stored(home: Path) -> list[Job]:
    """Return all jobs that OurDB holds."""
    store = JobStore(load({}, home=home))
    found = []
    for queue in store.queues():
        for number in range(1, 6000):
            (job,) = store.get_many(queue, [number])
            if job is not None:
                found.append(job)
            elif number > 50:
                break
    store.close()
    return found


def submit(given: dict[str, Any], jobs: list[Job]) -> None:
    with HeroJobs(**given) as hero:
        hero.submit_many(jobs)


async def submit_async(given: dict[str, Any], jobs: list[Job]) -> None:
    async with AsyncHeroJobs(**given) as hero:
        await hero.submit_many(jobs)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_redis_that_dies_under_a_submission_leaves_it_unconfirmed_and_it_runs_later(
    kind: str, tmp_path: Path, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis answers when it is asked whether it is there, and dies while OurDB is written."""
    given = {"home": tmp_path, "redis_url": own_redis.url, "reconcile_interval": 0.3}
    add_many = JobStore.add_many

    def dying(self: JobStore, *args: Any, **kwargs: Any) -> Any:
        written = add_many(self, *args, **kwargs)
        own_redis.kill()
        return written

    jobs = [Job(params=ECHO, circle_id="c"), Job(params=ECHO, circle_id="c")]
    with monkeypatch.context() as patched:
        patched.setattr(JobStore, "add_many", dying)
        with pytest.raises(SubmissionUnconfirmed, match="don't submit again") as told:
            asyncio.run(submit_async(given, jobs)) if kind == "async" else submit(given, jobs)
    assert told.value.refs == ["c/default/1", "c/default/2"]
    own_redis.start()
    with HeroJobs(**given) as hero, WatchDog(**given, workers=1):
        for ref in told.value.refs:
            assert hero.wait(ref, 60).attempts == 1


LIMITED = """
import os, resource, signal, sys
from herojobs import HeroJobs, Job
from herojobs.ourdb import OurDBError

limit = int(sys.argv[3])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
jobs = [Job(params="!!core.echo content:" + "x" * 60_000 * n, circle_id=f"c{n}") for n in range(1, 5)]
hero = HeroJobs(home=sys.argv[1], redis_url=sys.argv[2])
hero.queues()
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    hero.submit_many(jobs)
except (OurDBError, OSError):
    assert not any(job.job_id for job in jobs)
    print("refused")
"""


@pytest.mark.parametrize("limit", [0, 5_000, 200_000])
def test_a_full_disk_refuses_a_submission_as_a_whole(given: dict[str, Any], redis_url: str, limit: int) -> None:
    """The database of the last circle can't be written: the jobs of the others mustn't run either."""
    told = subprocess.run(
        [sys.executable, "-c", LIMITED, str(given["home"]), redis_url, str(limit)], capture_output=True, text=True
    )
    assert told.stdout == "refused\n", told.stderr
    assert stored(given["home"]) == []
    with HeroJobs(**given) as hero:
        assert not any(queue.waiting for queue in hero.queues())
        assert hero.submit(ECHO, circle_id="c1").job_id


TAKEN_BACK = """
import os, resource, signal, sys
from pathlib import Path
from herojobs import HeroJobs, Job
from herojobs.errors import SubmissionUnconfirmed
from herojobs.ourdb import OurDBError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
hero = HeroJobs(home=sys.argv[1], redis_url=sys.argv[2])
seen = set()
for slack in range(0, 240, 6):
    small, large = f"s{slack}", f"l{slack}"
    jobs = [Job(params="!!core.echo", circle_id=small) for _ in range(3)]
    hero.submit_many([jobs[0], Job(params="!!core.echo", circle_id=large)])
    size = os.path.getsize(Path(sys.argv[1]) / f"var/circles/{small}/default/jobsdb/0.db")
    limit = 3 * size + slack
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    told = []
    try:
        hero.submit_many([*jobs[1:], Job(params="!!core.echo content:" + "x" * 60_000, circle_id=large)])
        raise AssertionError("it was accepted")
    except SubmissionUnconfirmed as e:
        told = e.refs
    except (OurDBError, OSError):
        pass
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    stored = {str(job.ref) for job in hero.list(circle_id=small)} - {str(jobs[0].ref)}
    assert stored == set(told), (slack, stored, told)
    seen.add(len(told))
print(sorted(seen))
"""


def test_what_a_refused_submission_says_of_its_jobs_is_true_of_each(given: dict[str, Any], redis_url: str) -> None:
    """Those stored already are taken back; a disk so full that not even that can be written keeps all of them."""
    told = subprocess.run(
        [sys.executable, "-c", TAKEN_BACK, str(given["home"]), redis_url], capture_output=True, text=True
    )
    assert told.stdout == "[0, 2]\n", told.stderr


def test_a_database_that_cannot_be_opened_refuses_the_jobs_of_the_others_too(given: dict[str, Any]) -> None:
    in_the_way = given["home"] / "var" / "circles" / "c3"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("a file")
    jobs = [Job(params=ECHO, circle_id=f"c{n}") for n in range(1, 5)]
    with HeroJobs(**given) as hero:
        with pytest.raises(OSError, match="c3"):
            hero.submit_many(jobs)
        assert not any(job.job_id for job in jobs)
        assert stored(given["home"]) == []
        in_the_way.unlink()
        assert [job.circle_id for job in hero.submit_many(jobs)] == ["c1", "c2", "c3", "c4"]
        assert len(stored(given["home"])) == 4


def test_the_same_job_twice_is_refused(given: dict[str, Any]) -> None:
    with HeroJobs(**given) as hero:
        with pytest.raises(InvalidJob, match="twice"):
            hero.submit_many([Job(params=ECHO, circle_id="c")] * 2)
        assert not stored(given["home"])


def _submit_forked(hero: HeroJobs, count: int, answer: Any) -> None:
    answer.put([hero.submit(ECHO, topic="t").job_id for _ in range(count)])


def test_a_client_goes_on_in_forked_processes(given: dict[str, Any]) -> None:
    forking = multiprocessing.get_context("fork")
    with HeroJobs(**given) as hero, InlineWatchDog(**given) as inline:
        first = hero.submit(ECHO, topic="t")
        hero.list()
        answers: Any = forking.Queue()
        children = [forking.Process(target=_submit_forked, args=(hero, 40, answers)) for _ in range(3)]
        for child in children:
            child.start()
        ids = [first.job_id, *(hero.submit(ECHO, topic="t").job_id for _ in range(40))]
        for _ in children:
            ids += answers.get(timeout=60)
        for child in children:
            child.join(60)
            assert child.exitcode == 0
        assert sorted(ids) == list(range(1, 162))
        assert inline.run_pending() == 161
        assert len(hero.list(status="done", limit=1000)) == 161


def test_threads_may_open_and_wait_at_once(given: dict[str, Any]) -> None:
    """The first use opens the client: once, whatever the threads do."""
    with HeroJobs(**given) as submitter, InlineWatchDog(**given) as inline:
        jobs = submitter.submit_many([Job(params=ECHO, circle_id="c", topic=f"t{n % 3}") for n in range(24)])
        hero = HeroJobs(**given)
        start = threading.Barrier(len(jobs) + 1)
        ended: list[Job] = []

        def wait(job: Job) -> None:
            start.wait()
            ended.append(hero.wait(job, 60))

        threads = [threading.Thread(target=wait, args=(job,)) for job in jobs]
        for thread in threads:
            thread.start()
        start.wait()
        inline.run_pending()
        for thread in threads:
            thread.join(60)
        assert sorted(str(job.ref) for job in ended) == sorted(str(job.ref) for job in jobs)
        assert all(job.result == "hi" for job in ended)
        hero.close()


def test_first_use_from_many_threads_opens_once(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from herojobs.client import open as opening

    made: list[Any] = []
    init = opening.Opened.__init__

    def slow(self: Any, *args: Any) -> None:
        made.append(self)
        time.sleep(0.05)
        init(self, *args)

    monkeypatch.setattr(opening.Opened, "__init__", slow)
    with HeroJobs(**given) as hero:
        threads = [threading.Thread(target=hero.queues) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(made) == 1


def test_wait_hears_of_the_end_by_event(given: dict[str, Any]) -> None:
    """Not by looking once a second."""
    with HeroJobs(**given) as hero, WatchDog(**given, workers=1):
        hero.wait(hero.submit(ECHO), 60)
        waited = []
        for _ in range(20):
            began = time.monotonic()
            hero.wait(hero.submit(ECHO), 60)
            waited.append(time.monotonic() - began)
        assert min(waited) < 0.5


@pytest.mark.parametrize("timeout", [0, -1, 0.01])
def test_a_wait_that_is_over_at_once_still_looks(given: dict[str, Any], timeout: float) -> None:
    with HeroJobs(**given) as hero, InlineWatchDog(**given) as inline:
        job = hero.submit(ECHO)
        with pytest.raises(WaitTimeout, match="is new"):
            hero.wait(job, timeout)
        inline.run_pending()
        assert hero.wait(job, timeout).result == "hi"


def test_wait_outlives_a_redis_that_restarts(tmp_path: Path, own_redis: RedisServer) -> None:
    given = {"home": tmp_path, "redis_url": own_redis.url}
    with HeroJobs(**given) as hero:
        job = hero.submit(ECHO)
        threading.Timer(0.2, lambda: (own_redis.kill(), own_redis.start())).start()
        began = threading.Timer(1.0, lambda: InlineWatchDog(**given).run_pending())
        began.start()
        assert hero.wait(job, 60).result == "hi"
        began.join()


def test_five_thousand_over_many_queues(given: dict[str, Any]) -> None:
    with HeroJobs(**given) as hero:
        jobs = hero.submit_many(
            Job(params=f"!!core.echo content:{n}", circle_id=f"c{n % 7}", topic=f"t{n % 3}") for n in range(5000)
        )
        assert [job.params for job in jobs] == [f"!!core.echo content:{n}" for n in range(5000)]
        queues = hero.queues()
        assert len(queues) == 21
        assert sum(queue.waiting for queue in queues) == 5000
        assert len({str(job.ref) for job in jobs}) == 5000
        for job in jobs[::500]:
            assert hero.get(job) == job


Step = Callable[[HeroJobs, Job], Any]


def test_a_cancel_that_overtakes_a_put_back_is_written_in_both_places(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a client's look into OurDB and its word to Redis, a WatchDog starts the job and puts it back."""
    cancel = admin.cancel
    with HeroJobs(**given) as hero:
        job = hero.submit(ECHO)

        def late(*args: Any) -> Any:
            store = JobStore(load({}, home=given["home"]))
            for status in ("active", "new"):
                now, position = store.tip(job.queue, 1)
                now.status = status
                store.put_many(job.queue, [Put(1, now.to_json(), position)])
            store.close()
            return cancel(*args)

        monkeypatch.setattr(admin, "cancel", late)
        cancelled = hero.cancel(job)
        assert (cancelled.status, cancelled.reason) == ("error", "cancelled")
        assert hero.wait(job, 0).status == "error"


def test_a_retry_that_redis_does_not_hear_of_is_unconfirmed(
    given: dict[str, Any], tmp_path: Path, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = given | {"redis_url": own_redis.url}
    retry = admin.retry
    with HeroJobs(**given) as hero, InlineWatchDog(**given) as inline:
        job = hero.submit(ECHO)
        inline.run_pending()

        def dying(*args: Any) -> Any:
            own_redis.kill()
            return retry(*args)

        monkeypatch.setattr(admin, "retry", dying)
        with pytest.raises(SubmissionUnconfirmed, match="default/default/1"):
            hero.retry(job)
        own_redis.start()
        with pytest.raises(JobConflict, match="isn't over"):
            hero.retry(job)


def test_a_submission_whose_ids_a_foreign_program_uses_gets_others(given: dict[str, Any]) -> None:
    redis = BlockingRedis(given["redis_url"])
    for number in (1, 2, 3):
        run_sync(redis.command("HSET", f"herojobs:c:t:{number}", "job", "theirs"))
    run_sync(redis.close())
    with HeroJobs(**given) as hero, InlineWatchDog(**given) as inline:
        jobs = hero.submit_many([Job(params=f"!!core.echo content:{n}", circle_id="c", topic="t") for n in range(5)])
        assert inline.run_pending() == 5
        assert [hero.get(job).result for job in jobs] == list("01234")
        assert len({job.job_id for job in jobs}) == 5
        assert len(hero.list(circle_id="c")) == 5
    assert Queue("c", "t") == jobs[0].queue


def test_ids_that_a_lost_history_has_used_are_passed_over(tmp_path: Path, redis_url: str) -> None:
    with HeroJobs(home=tmp_path / "lost", redis_url=redis_url) as hero:
        hero.submit_many([{"params": ECHO, "circle_id": "c"} for _ in range(1_100)])
    with HeroJobs(home=tmp_path / "new", redis_url=redis_url) as hero:
        assert hero.submit(ECHO, circle_id="c").job_id == 1_101
        many = hero.submit_many([{"params": ECHO, "circle_id": "c", "expires_at": 4_000_000_000}] * 2)
        assert [job.job_id for job in many] == [1_102, 1_103]
