"""With `require_session`, jobs run only by a key that allows it, however they came in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis as redis_py

from herojobs import AsyncHeroJobs, HeroJobs, InlineWatchDog, Job, WatchDog
from herojobs.errors import Forbidden, Unauthorized
from herojobs.live.redis import BlockingRedis
from herojobs.sessions import Role, Sessions
from herojobs.settings import load
from herojobs.watchdog.keeper import Publisher
from herojobs.watchdog.life import clean

ECHO = "!!core.echo content:hi"


@pytest.fixture
def sessions(given: dict[str, Any]) -> Iterator[Sessions]:
    made = Sessions(load({}, **given))
    yield made
    made.close()


@pytest.fixture
def strict(given: dict[str, Any]) -> dict[str, Any]:
    return given | {"require_session": True}


@pytest.fixture
def keys(sessions: Sessions) -> dict[str, str]:
    made = {
        "submitter": sessions.create("submitter", ["c"])[1],
        "viewer": sessions.create("viewer", ["c"], Role.VIEWER)[1],
        "foreign": sessions.create("foreign", ["other"], Role.OPERATOR)[1],
        "revoked": sessions.create("revoked", ["c"])[1],
        "unknown": "hjs_00000000_" + "0" * 64,
        "none": "",
    }
    sessions.revoke("revoked")
    return made


WHY = {
    "viewer": "session 'viewer' is viewer, it takes submitter",
    "foreign": "session 'foreign' isn't for circle 'c'",
    "revoked": "isn't valid: unknown, expired or revoked",
    "unknown": "isn't valid: unknown, expired or revoked",
    "none": "no session key",
}


def push(redis_url: str, id: int, key: str) -> None:
    """Submit as a foreign program does, straight into Redis."""
    job = {"jobid": id, "sessionkey": key, "circleid": "c", "topic": "pushed", "params": ECHO,
           "params_type": "heroscript", "timeout": 5, "status": "new"}  # fmt: skip
    with redis_py.Redis.from_url(redis_url) as redis:
        redis.hset(f"herojobs:c:pushed:{id}", "job", json.dumps(job))
        redis.rpush("heroqueue:c:pushed", id)


def test_pushed_and_stored_jobs_need_a_key(
    hero: HeroJobs, strict: dict[str, Any], keys: dict[str, str], redis_url: str
) -> None:
    for id, key in enumerate(keys.values(), 1):
        push(redis_url, id, key)
    # This client's settings don't ask for keys, as those of a program that wants to get around them wouldn't.
    stored = hero.submit_many(
        [Job(params=ECHO, circle_id="c", topic="stored", session_key=k, retries=3) for k in keys.values()]
    )
    with InlineWatchDog(**strict) as watchdog:
        assert watchdog.run_pending() == 2
    for topic in ("pushed", "stored"):
        for id, name in enumerate(keys, 1):
            job = hero.get(f"c/{topic}/{id}")
            if name == "submitter":
                assert (job.status, job.result) == ("done", "hi")
                continue
            assert (job.status, job.reason, job.started_ms, job.attempts) == ("error", "failed", 0, 0)
            assert job.error.startswith("not allowed to run: ")
            assert WHY[name] in job.error
            assert [version.status for version in hero.history(job)] == ["new", "error"]
    assert len(stored) == len(keys)


def test_the_local_client_is_told_at_once(strict: dict[str, Any], keys: dict[str, str]) -> None:
    for name, key in keys.items():
        with HeroJobs(session_key=key, **strict) as hero:
            if name == "submitter":
                assert hero.submit(ECHO, circle_id="c").session_key == key
                continue
            with pytest.raises(Forbidden if name in ("viewer", "foreign") else Unauthorized):
                hero.submit_many([{"params": ECHO, "circle_id": "c"}])
            assert len(hero.list()) == 1


async def test_so_is_the_asynchronous_one(strict: dict[str, Any], keys: dict[str, str]) -> None:
    async with AsyncHeroJobs(session_key=keys["viewer"], **strict) as hero:
        with pytest.raises(Forbidden, match="takes submitter"):
            await hero.submit(ECHO, circle_id="c")


def test_a_key_that_is_revoked_while_its_job_waits_stops_it(
    hero: HeroJobs, strict: dict[str, Any], sessions: Sessions
) -> None:
    _, key = sessions.create("a", ["*"])
    jobs = hero.submit_many([Job(params=ECHO, circle_id="c", session_key=key) for _ in range(3)])
    sessions.revoke("a")
    with InlineWatchDog(**strict) as watchdog:
        assert watchdog.run_pending() == 0
    assert {hero.get(job).reason for job in jobs} == {"failed"}


def test_a_real_watchdog_asks_redis_where_its_home_has_no_sessions(
    hero: HeroJobs, keys: dict[str, str], start: Callable[..., WatchDog], sessions: Sessions, tmp_path: Any
) -> None:
    # Its home is the same, so that it finds the jobs; but not the book.
    book = hero.settings.home / "var" / "sessions"
    sessions.close()
    book.rename(tmp_path / "elsewhere")
    start(require_session=True)
    good, bad = hero.submit_many(
        [Job(params=ECHO, circle_id="c", session_key=keys[name]) for name in ("submitter", "revoked")]
    )
    assert hero.wait(good, timeout=60).status == "done"
    assert "isn't valid" in hero.wait(bad, timeout=60).error


def test_keys_that_cant_be_checked_let_nothing_through_and_lose_nothing(
    hero: HeroJobs, keys: dict[str, str], start: Callable[..., WatchDog], sessions: Sessions
) -> None:
    book = hero.settings.home / "var" / "sessions" / "sessions.sqlite3"
    sessions.close()
    for file in book.parent.glob("*-*"):
        file.unlink()
    whole = book.read_bytes()
    job = hero.submit_many([Job(params=ECHO, circle_id="c", session_key=keys["submitter"])])[0]
    book.write_bytes(b"rubbish" * 1000)
    watchdog = start(require_session=True)
    with pytest.raises(TimeoutError):
        hero.wait(job, timeout=0.5)
    watchdog.stop()
    assert hero.get(job).status == "new"
    book.write_bytes(whole)
    start(require_session=True)
    done = hero.wait(job, timeout=60)
    assert (done.status, done.attempts) == ("done", 1)


def test_children_have_their_parents_key(hero: HeroJobs, strict: dict[str, Any], keys: dict[str, str]) -> None:
    script = f"!!job.create params:'{ECHO}'"
    parent = hero.submit_many([Job(params=script, circle_id="c", session_key=keys["submitter"])])[0]
    with InlineWatchDog(**strict) as watchdog:
        assert watchdog.run_pending() == 2
    child = hero.get(hero.get(parent).result)
    assert (child.status, child.session_key) == ("done", keys["submitter"])


async def test_a_watchdog_tells_redis_the_sessions_again_when_it_was_wiped(
    given: dict[str, Any], sessions: Sessions, tmp_path: Any, redis_url: str
) -> None:
    session, key = sessions.create("a", ["c"])
    elsewhere = Sessions(load({}, home=tmp_path / "elsewhere", redis_url=redis_url))
    with redis_py.Redis.from_url(redis_url) as redis:
        redis.flushall()
    assert elsewhere.check(key) is None
    await Publisher(load({}, **given)).step()
    assert elsewhere.check(key) == session
    elsewhere.close()


def test_one_look_for_a_whole_claim(
    strict: dict[str, Any], hero: HeroJobs, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (hero.settings.home / "var" / "sessions").rename(tmp_path / "elsewhere")
    hero.submit_many([Job(params=ECHO, circle_id="c", session_key=key) for key in list(keys.values()) * 5])
    asked: list[Any] = []
    command = BlockingRedis.command

    async def counted(self: BlockingRedis, *words: Any) -> Any:
        asked.extend([words] * (words[0] == "HMGET"))
        return await command(self, *words)

    monkeypatch.setattr(BlockingRedis, "command", counted)
    with InlineWatchDog(**strict) as watchdog:
        assert watchdog.run_pending() == 5
    assert len(asked) == 1


def test_what_a_job_gives_is_searched_for_its_key() -> None:
    key = "hjs_00000000_" + "0" * 64
    job = Job(session_key=key, result=f"a {key} b", error=key, error_detail={"deep": [{"key": key}]})
    clean(job)
    assert (job.result, job.error, job.error_detail) == ("a *** b", "***", {"deep": [{"key": "***"}]})
    named = Job(session_key="ann", result="annual report")  # what other programs put there may be any word
    clean(named)
    assert named.result == "annual report"
