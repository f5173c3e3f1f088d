"""Keys and expiry, with real WatchDogs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from herojobs import HeroJobs, WatchDog
from herojobs.errors import InvalidJob, JobExists
from herojobs.live.connect import connect_blocking
from herojobs.live.redis import run_sync
from watchdog.test_pause import until

Start = Callable[..., WatchDog]
ECHO = "!!core.echo content:hi"


def test_a_unique_job_is_the_only_one_until_it_is_over(hero: HeroJobs, start: Start) -> None:
    job = hero.submit("!!fake.sleep seconds:60", unique_key="k", circle_id="c")
    assert hero.submit(ECHO, unique_key="k", circle_id="c") == job
    start()
    until(lambda: hero.get(job).status == "active")
    assert hero.submit(ECHO, unique_key="k", circle_id="c").ref == job.ref
    hero.cancel(job)
    hero.wait(job, 60)
    assert hero.submit(ECHO, unique_key="k", circle_id="c").ref != job.ref


def test_a_killed_worker_and_a_wiped_redis_leave_no_lock(hero: HeroJobs, start: Start) -> None:
    start()
    dying = hero.submit("!!bad.die", unique_key="k", max_attempts=1)
    hero.wait(dying, 60)
    second = hero.submit(ECHO, unique_key="k")
    assert hero.wait(second, 60).result == "hi"
    third = hero.submit(ECHO, unique_key="k", at=int(time.time()) + 1000)
    redis = connect_blocking(hero.settings)
    run_sync(redis.command("FLUSHALL"))
    run_sync(redis.close())
    assert hero.submit(ECHO, unique_key="k").ref == third.ref, "the job is there, so is its lock"
    hero.delete(third)
    assert hero.wait(hero.submit(ECHO, unique_key="k"), 60).result == "hi"


def test_a_repeated_submission_is_queued_if_the_first_one_got_no_further_than_the_disk(
    hero: HeroJobs, start: Start
) -> None:
    job = hero.submit(ECHO, idempotency_key="k")
    redis = connect_blocking(hero.settings)
    run_sync(redis.command("FLUSHALL"))  # as if its client had died
    run_sync(redis.close())
    again = hero.submit(ECHO, idempotency_key="k")
    assert again.ref == job.ref
    assert [queue.waiting for queue in hero.queues()] == [1], "no reconciliation is needed"
    start()
    assert hero.wait(job, 60).result == "hi"
    assert hero.submit(ECHO, idempotency_key="k").result == "hi"
    with pytest.raises(JobExists, match="default/default/1"):
        hero.submit(ECHO, idempotency_key="k", if_exists="raise")


@pytest.mark.parametrize("where", ["waiting", "scheduled", "paused", "prioritized"])
def test_what_has_not_started_in_time_expires(hero: HeroJobs, start: Start, tmp_path: Path, where: str) -> None:
    start()
    if where == "paused":
        hero.pause("c")
    blocker = hero.submit(f"!!good.mark file:'{tmp_path}/mark' seconds:60", circle_id="b")
    until((tmp_path / "mark").exists)
    soon = int(time.time()) + 2
    job = hero.submit(
        ECHO,
        circle_id="c",
        expires_at=soon,
        priority=3 if where == "prioritized" else 0,
        at=soon - 1 if where == "scheduled" else None,
    )
    never = hero.submit(ECHO, circle_id="c", expires_at=soon + 1000)
    done = hero.wait(job, 60)
    assert (done.status, done.reason, done.attempts) == ("error", "expired", 0)
    assert "hadn't started by" in done.error
    assert soon <= done.ended_ms / 1000 <= soon + 3
    hero.cancel(blocker)
    hero.resume("c")
    assert hero.wait(never, 60).result == "hi"
    assert hero.retry_many(circle_id="c") == []
    assert hero.wait(hero.retry(job), 60).result == "hi", "whoever asks for it now wants it"


def test_one_that_has_started_does_not_expire(hero: HeroJobs, start: Start) -> None:
    start()
    hero.wait(hero.submit(ECHO), 60)
    job = hero.submit("!!fake.sleep seconds:3", expires_at=int(time.time()) + 2)
    assert hero.wait(job, 60).status == "done"
    retried = hero.submit("!!fake.return_error", expires_at=int(time.time()) + 2, retries=1, retry_delay=2.5)
    assert (hero.wait(retried, 60).reason, hero.get(retried).attempts) == ("failed", 2)


def test_expiry_survives_a_redis_that_lost_everything(hero: HeroJobs, start: Start) -> None:
    job = hero.submit(ECHO, circle_id="c", expires_at=int(time.time()) + 9, at=int(time.time()) + 8)
    hero.pause("c")
    redis = connect_blocking(hero.settings)
    run_sync(redis.command("FLUSHALL"))
    run_sync(redis.close())
    start(reconcile_interval=0.3)
    assert hero.wait(job, 60).reason == "expired"


@pytest.mark.parametrize(
    "fields",
    [
        {"expires_at": 5},
        {"expires_at": int(time.time()) + 500, "at": int(time.time()) + 1000},
        {"unique_until": "started"},
        {"unique_key": "k", "unique_until": "finnished"},
        {"unique_key": "k" * 201},
        {"if_exists": "rais"},
    ],
)
def test_what_makes_no_sense_is_refused(hero: HeroJobs, fields: dict[str, object]) -> None:
    with pytest.raises(InvalidJob, match=next(iter(fields)) if len(fields) == 1 else "expires_at|unique_until"):
        hero.submit(ECHO, **fields)  # type: ignore[arg-type]
    assert hero.list() == []
