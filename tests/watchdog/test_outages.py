"""Redis is away for longer than leases last, while WatchDogs live on: that costs time, and starts nothing twice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from herojobs import HeroJobs, WatchDog
from herojobs.live import embedded
from herojobs.live.calls import claim, submit
from herojobs.live.redis import BlockingRedis, run_sync
from herojobs.names import Queue
from herojobs.watchdog import outages
from herojobs.watchdog.outages import LEAVE_ALONE, Outages
from live.servers import RedisServer
from waiting import until

LEASE = 1.0


@pytest.fixture
def server() -> Iterator[RedisServer]:
    found = RedisServer(embedded.find_program(), "--appendonly", "yes", "--appendfsync", "always")
    yield found
    found.close()


@pytest.fixture
def given(tmp_path: Path, server: RedisServer) -> dict[str, Any]:
    actors = ("support.actors",)
    return {"home": tmp_path / "home", "redis_url": server.url, "workers": 2, "lease": LEASE, "actors": actors}


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_what_runs_goes_on_and_starts_nowhere_else(
    given: dict[str, Any], server: RedisServer, tmp_path: Path, how: str
) -> None:
    marks = tmp_path / "marks"
    with ExitStack() as stack:
        hero = stack.enter_context(HeroJobs(**given))
        for _ in range(2):
            stack.enter_context(WatchDog(**given))
        jobs = [hero.submit(f"!!good.span file:'{marks}' seconds:5") for _ in range(2)]
        until(lambda: marks.exists() and len(marks.read_text().splitlines()) == 2)
        if how == "killed":
            server.kill()
        else:
            os.kill(server.pid, signal.SIGSTOP)
        time.sleep(2 * LEASE)
        if how == "killed":
            server.start()
        else:
            os.kill(server.pid, signal.SIGCONT)
        for job in jobs:
            assert hero.wait(job, 60).attempts == 1
    assert len(marks.read_text().splitlines()) == 4


def test_ends_are_in_ourdb_though_redis_is_silent(given: dict[str, Any], server: RedisServer) -> None:
    with WatchDog(**given | {"lease": 15.0}), HeroJobs(**given) as hero:
        job = hero.submit("!!fake.spin seconds:0.5")
        until(lambda: hero.get(job).status == "active")
        os.kill(server.pid, signal.SIGSTOP)
        try:
            until(
                lambda: hero.history(job)[-1].is_over, 4
            )  # Redis may be silent for 5 s before that counts as an error
        finally:
            os.kill(server.pid, signal.SIGCONT)


def test_a_claim_that_comes_too_late_takes_nothing_over(server: RedisServer) -> None:
    redis = BlockingRedis(server.url)
    queue, now = Queue("c", "t"), 1_800_000_000_000
    run_sync(redis.run(submit(queue, [(1, b"{}", 0, 0)], now=now)))
    assert run_sync(redis.run(claim(queue, 1, 1000, "a", now=now))).jobs
    late = run_sync(redis.run(claim(queue, 1, 1000, "b", rescue_until=now + 1500, now=now + 1501)))
    assert (late.jobs, late.next_due) == ([], now + 2001)  # looked at again in a while, not at once
    assert run_sync(redis.run(claim(queue, 1, 1000, "b", rescue_until=now + 1500, now=now + 1500))).jobs
    run_sync(redis.close())


def test_outages_are_noticed_by_silence_and_by_a_clock_that_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(outages.time, "monotonic", lambda: now[0])
    seen = Outages(lease=10)
    seen.heard()
    assert seen.rescue_until() == 0
    seen.heard(1_000_000)
    now[0] = 104
    assert seen.rescue_until() == 1_009_000
    now[0] = 106
    assert seen.rescue_until() == LEAVE_ALONE  # silent for 6 seconds
    seen.heard(1_006_000)
    assert seen.over.is_set()
    now[0] = 107.9
    assert seen.rescue_until() == LEAVE_ALONE
    now[0] = 108.1
    seen.heard(1_008_100)
    assert seen.rescue_until() == 1_013_100
    seen.over.clear()
    seen.heard(1_030_000)
    assert seen.over.is_set()
    assert seen.rescue_until() == LEAVE_ALONE
