"""WatchDogs as real processes, killed: nothing of theirs lives on, and another takes their jobs over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis as redis_py

from herojobs import HeroJobs, Job
from waiting import until


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def spawn(given: dict[str, Any]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start WatchDog processes that are ready; they are killed at the test's end."""
    started: list[subprocess.Popen[str]] = []

    def start(**settings: object) -> subprocess.Popen[str]:
        env = {
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "HEROJOBS_HOME": str(given["home"]),
            "HEROJOBS_REDIS_URL": str(given["redis_url"]),
            "HEROJOBS_ACTORS": "support.actors,support.odd",
            "HEROJOBS_LEASE": "1",
            "HEROJOBS_WORKERS": "1",
            **{f"HEROJOBS_{name.upper()}": str(value) for name, value in settings.items()},
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "herojobs", "watchdog"], env=env, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def noted(redis_url: str) -> Iterator[Callable[[Job], None]]:
    """Wait until Redis knows that a worker has begun a job, which its WatchDog tells it in its next batch."""
    with redis_py.Redis.from_url(redis_url) as plain:
        yield lambda job: until(lambda: plain.hget(f"herojobs:default:default:{job.job_id}", "st") == b"active")


@pytest.mark.parametrize(
    "script",
    ["!!bad.family file:'{}'", "!!bad.family file:'{}' own_session:true", "!!odd.daemons file:'{}'", "!!bad.c_call"],
)
def test_all_processes_of_a_killed_watchdog_end(
    hero: HeroJobs, spawn: Callable[..., Any], tmp_path: Path, script: str
) -> None:
    """What jobs forked too, in whatever session, and a worker in C code that no Python code could tell to end."""
    for n in range(2):
        process = spawn(workers=2)
        pids = tmp_path / f"pids{n}"
        job = hero.submit(script.format(pids), max_attempts=1)
        until(lambda job=job: hero.get(job).status == "active")
        family = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        if "file" in script:
            until(lambda pids=pids: pids.exists() and len(pids.read_text().splitlines()) == 2)
            family += map(int, pids.read_text().split())
        assert len(family) >= 4
        process.kill()
        process.wait()
        until(lambda family=family: not any(lives(pid) for pid in family), 1)


def test_another_watchdog_takes_over_what_a_killed_one_had(
    hero: HeroJobs, spawn: Callable[..., Any], noted: Callable[[Job], None], tmp_path: Path
) -> None:
    first = spawn()
    script = f"!!good.mark file:'{tmp_path}/marks' seconds:1"
    jobs = [hero.submit(script) for _ in range(3)]
    noted(jobs[0])
    first.kill()
    spawn()
    for job in jobs:
        assert hero.wait(job, 60).status == "done"
    assert [version.status for version in hero.history(jobs[0])] == ["new", "active", "active", "done"]
    assert hero.get(jobs[0]).attempts == 2


def test_jobs_sent_ahead_are_not_charged_with_the_death_of_their_watchdogs(
    hero: HeroJobs, spawn: Callable[..., Any], noted: Callable[[Job], None]
) -> None:
    dog = spawn()
    for _ in range(30):  # so that jobs are sent ahead
        hero.wait(hero.submit("!!core.echo"), 60)
    running = hero.submit("!!fake.spin seconds:30", max_attempts=9)
    behind = [hero.submit("!!core.echo", max_attempts=1) for _ in range(3)]
    until(lambda: hero.get(behind[-1]).status == "active")
    for attempt in (1, 2, 3):
        until(lambda attempt=attempt: hero.get(running).attempts == attempt)
        noted(running)
        dog.kill()
        dog.wait()
        dog = spawn()
    until(lambda: hero.get(running).attempts == 4)
    hero.cancel(running)
    for job in behind:
        done = hero.wait(job, 60)
        assert (done.status, done.attempts) == ("done", 1)


def test_a_watchdog_stopped_past_its_lease_cannot_write_an_end(
    hero: HeroJobs, spawn: Callable[..., Any], noted: Callable[[Job], None], tmp_path: Path
) -> None:
    paused = spawn()
    job = hero.submit(f"!!good.mark file:'{tmp_path}/marks' seconds:0.7")
    noted(job)
    paused.send_signal(signal.SIGSTOP)
    spawn()
    done = hero.wait(job, 60)
    assert (done.status, done.attempts) == ("done", 2)
    paused.send_signal(signal.SIGCONT)
    paused.send_signal(signal.SIGTERM)
    assert paused.wait(60) == 0
    assert hero.get(job) == done
    assert [version.status for version in hero.history(job)] == ["new", "active", "active", "done"]


def test_a_circle_s_limit_outlives_the_watchdog_that_held_it_by_a_lease_only(
    hero: HeroJobs, spawn: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    hero.set_limit("c", jobs=1)
    first = spawn()
    held = hero.submit(f"!!good.mark file:'{tmp_path}/mark' seconds:60", circle_id="c", topic="t", max_attempts=1)
    until(lambda: (tmp_path / "mark").exists())
    spawn()
    waiting = hero.submit("!!core.echo content:hi", circle_id="c", topic="u")
    until(lambda: hero.get(held).status == "active")
    assert hero.get(waiting).status == "new"
    first.kill()
    first.wait()
    assert hero.wait(waiting, 60).result == "hi"
    assert hero.wait(held, 60).reason == "lost"
