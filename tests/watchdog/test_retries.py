"""Failing jobs are tried again, by real workers."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from herojobs import HeroJobs, WatchDog
from herojobs.errors import JobConflict
from waiting import until

Start = Callable[..., WatchDog]


def test_a_failing_job_is_tried_again_with_pauses_that_grow(hero: HeroJobs, start: Start) -> None:
    start()
    job = hero.submit("!!fake.return_error message:no", retries=2, retry_delay=0.2)
    done = hero.wait(job, 60)
    assert (done.status, done.reason, done.attempts, done.retried) == ("error", "failed", 3, 2)
    versions = hero.history(job)
    assert [(each.status, each.reason) for each in versions] == [
        ("new", ""),
        ("active", ""),
        ("new", "retrying"),
        ("active", ""),
        ("new", "retrying"),
        ("active", ""),
        ("error", "failed"),
    ]
    assert all(each.error.endswith("no") for each in versions if each.reason), "each attempt's error is kept"
    starts = [each.started_ms for each in versions if each.status == "active"]
    pauses = [(after - before) / 1000 for before, after in pairwise(starts)]
    assert pauses[0] >= 0.19
    assert pauses[1] >= 0.39


def test_one_that_succeeds_at_last_is_done(hero: HeroJobs, start: Start, tmp_path: Path) -> None:
    start()
    job = hero.submit(f"!!good.fail_times file:'{tmp_path}/count' times:2", retries=5, retry_delay=0)
    done = hero.wait(job, 60)
    assert (done.status, done.reason, done.result, done.error, done.attempts) == ("done", "done", "3", "", 3)


def test_a_timeout_and_a_death_are_tried_again_if_asked_for(hero: HeroJobs, start: Start) -> None:
    start()
    slow = hero.submit("!!fake.sleep seconds:60", timeout=1, retries=1, retry_delay=0)
    dying = hero.submit("!!bad.die", max_attempts=2, retries=1, retry_delay=0, retry_on=["killed"])
    never = hero.submit("!!fake.return_error message:other", retries=3, retry_on=["timeout", "connection"])
    assert (hero.wait(never, 60).attempts, hero.get(never).retried) == (1, 0)
    assert (hero.wait(slow, 60).attempts, hero.get(slow).reason) == (2, "timeout")
    assert (hero.wait(dying, 60).attempts, hero.get(dying).reason) == (3, "killed")


def test_the_setting_of_the_topic_counts_for_jobs_that_say_nothing(hero: HeroJobs, start: Start) -> None:
    start(retry={"c/t": {"retries": 1, "delay": 0}, "c": {"retries": 2, "delay": 0}})
    given = {"params": "!!fake.return_error", "circle_id": "c"}
    jobs = hero.submit_many([given | {"topic": "t"}, given, given | {"retries": 0}])
    assert [hero.wait(job, 60).attempts for job in jobs] == [2, 3, 1]


def test_a_job_that_waits_for_its_next_try_can_be_cancelled(hero: HeroJobs, start: Start) -> None:
    start()
    job = hero.submit("!!fake.return_error", retries=1, retry_delay=1000)
    until(lambda: hero.get(job).reason == "retrying")
    waiting = hero.get(job)
    assert waiting.time_scheduled >= int(time.time()) + 990
    assert [each.reason for each in hero.find(reason="retrying").jobs] == ["retrying"]
    until(lambda: [each.scheduled for each in hero.queues()] == [1])  # OurDB is told first
    cancelled = hero.cancel(job)
    assert (cancelled.reason, cancelled.error) == ("cancelled", "cancelled before its next try")


def test_a_job_that_waits_for_its_next_try_can_be_tried_at_once(hero: HeroJobs, start: Start, tmp_path: Path) -> None:
    start()
    job = hero.submit(f"!!good.fail_times file:'{tmp_path}/count' times:1", retries=1, retry_delay=1000)
    until(lambda: hero.get(job).reason == "retrying")
    assert (hero.retry(job).retried, hero.wait(job, 60).result) == (0, "2")
    later = hero.submit("!!core.echo", at=int(time.time()) + 1000)
    with pytest.raises(JobConflict, match="isn't over"):
        hero.retry(later)


def test_a_pause_survives_a_redis_that_forgot_everything(hero: HeroJobs, start: Start, redis_url: str) -> None:
    watchdog = start(reconcile_interval=0.2)
    job = hero.submit("!!fake.return_error", retries=1, retry_delay=1000)
    until(lambda: hero.get(job).reason == "retrying")
    watchdog.stop()
    from herojobs.live.connect import connect_blocking
    from herojobs.live.redis import run_sync

    redis = connect_blocking(hero.settings)
    run_sync(redis.command("FLUSHALL"))
    run_sync(redis.command("HSET", "herojobs:default:default:1", "job", hero.get(job).to_json(), "sum", "x"))
    run_sync(redis.command("RPUSH", "heroqueue:default:default", "1"))  # its WatchDog died before it told Redis
    start()
    until(lambda: [each.scheduled for each in hero.queues()] == [1])
    assert hero.get(job).attempts == 1
    run_sync(redis.close())
