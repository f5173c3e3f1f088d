"""Whatever a job does, it ends in time, with the right reason, and takes nothing else along."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from herojobs import HeroJobs, Job, WatchDog
from waiting import until

Start = Callable[..., WatchDog]


@pytest.mark.parametrize(
    ("script", "forced"),
    [
        ("!!bad.loop", False),
        ("!!bad.nap", False),
        ("!!bad.stubborn", None),
        ("!!bad.c_call", True),
        ("!!bad.block", False),
        ("!!bad.spin", False),
        ("!!fake.sleep seconds:60", False),
        ("!!fake.spin seconds:60", False),
    ],
)
def test_a_job_over_its_time_ends_within_a_second_more(
    hero: HeroJobs, start: Start, script: str, forced: bool | None
) -> None:
    start()
    hero.wait(hero.submit("!!core.echo", circle_id="c"), 60)  # all is warm
    job = hero.submit(script, circle_id="c", timeout=1)
    others = [hero.submit("!!core.echo content:fine", circle_id="c") for _ in range(5)]
    done = hero.wait(job, 60)
    assert (done.status, done.reason) == ("error", "timeout")
    assert 0.5 <= (done.ended_ms - done.started_ms) / 1000 <= 2.0
    if forced is not None:
        assert ("its worker was killed" in done.error) == forced
    for other in others:
        finished = hero.wait(other, 60)
        assert (finished.result, finished.attempts) == ("fine", 1)


@pytest.mark.parametrize("own_session", ["false", "true"])
def test_what_a_job_forked_ends_with_it(hero: HeroJobs, start: Start, tmp_path: Path, own_session: str) -> None:
    start()
    file = tmp_path / "pids"
    job = hero.submit(f"!!bad.family file:'{file}' own_session:{own_session}", timeout=1)
    assert hero.wait(job, 60).reason == "timeout"
    pids = [int(line) for line in file.read_text().split()]
    assert len(pids) == 2
    until(lambda: not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids))


def test_finally_blocks_run(hero: HeroJobs, start: Start, tmp_path: Path) -> None:
    start()
    job = hero.submit(f"!!good.tidy file:'{tmp_path}/tidied'", timeout=1)
    assert hero.wait(job, 60).reason == "timeout"
    assert (tmp_path / "tidied").read_text() == "tidied"


@pytest.mark.parametrize(
    ("script", "told", "number"),
    [("!!bad.die", "signal 9", 9), ("!!bad.die signal:11", "signal 11", 11), ("!!bad.leave", "its worker died", 0)],
)
def test_a_job_that_ends_its_worker_has_its_attempts(
    hero: HeroJobs, start: Start, script: str, told: str, number: int
) -> None:
    start()
    job = hero.submit(script, max_attempts=2)
    after = hero.submit("!!core.echo content:fine")
    done = hero.wait(job, 60)
    assert (done.status, done.reason, done.attempts, done.signal) == ("error", "killed", 2, number)
    assert told in done.error
    assert [version.status for version in hero.history(job)] == ["new", "active", "new", "active", "error"]
    assert hero.wait(after, 60).result == "fine"


def test_too_much_memory_is_told_as_such(hero: HeroJobs, start: Start) -> None:
    start(worker_memory=400)
    done = hero.wait(hero.submit("!!bad.eat", max_attempts=1), 60)
    assert (done.status, done.reason) in [("error", "oom"), ("error", "failed")]
    assert "memory" in done.error.lower()


def test_jobs_that_wait_behind_a_long_one_move_to_an_idle_worker(hero: HeroJobs, start: Start) -> None:
    start(workers=2)
    for _ in range(50):  # so that jobs are sent ahead
        job = hero.submit("!!core.echo")
    hero.wait(job, 60)
    long = hero.submit("!!fake.spin seconds:150", circle_id="c", timeout=200)
    short = hero.submit_many([Job(params="!!core.echo", circle_id="c") for _ in range(20)])
    began = time.monotonic()
    for each in short:
        hero.wait(each, 60)
    assert time.monotonic() - began < 100
    assert hero.get(long).status == "active"
    hero.cancel(long)
    assert hero.wait(long, 60).reason == "cancelled"


def test_cancelling_reaches_a_job_wherever_it_is(hero: HeroJobs, start: Start) -> None:
    scheduled = hero.submit("!!core.echo", at=int(time.time()) + 1000)
    waiting = hero.submit("!!core.echo")
    assert hero.cancel(waiting).error == "cancelled before it started"
    assert hero.cancel(scheduled).reason == "cancelled"
    start(workers=2)
    running = hero.submit("!!fake.spin seconds:60")
    stubborn = hero.submit("!!bad.stubborn", circle_id="d")
    for job in (running, stubborn):
        while hero.get(job).status == "new":
            time.sleep(0.005)
        hero.cancel(job)
        done = hero.wait(job, 60)
        assert (done.status, done.reason) == ("error", "cancelled")


def test_a_worker_is_replaced_after_its_jobs(hero: HeroJobs, start: Start, tmp_path: Path) -> None:
    start(worker_max_jobs=2)
    jobs = [hero.submit(f"!!good.mark file:'{tmp_path}/marks'") for _ in range(6)]
    for job in jobs:
        assert hero.wait(job, 60).attempts == 1
    pids = {line.split()[2] for line in (tmp_path / "marks").read_text().splitlines()}
    assert len(pids) > 1


def test_everything_that_a_job_writes_is_in_its_log(hero: HeroJobs, start: Start) -> None:
    start()
    job = hero.wait(hero.submit("!!good.speak", log=True), 60)
    assert job.status == "done"
    log = hero.log(job)
    for word in ("printed", "WARNING speaker: logged", "written", "echoed"):
        assert word in log
    assert hero.log(hero.wait(hero.submit("!!good.speak"), 60)) == ""


def test_a_log_is_bounded(hero: HeroJobs, start: Start) -> None:
    start(log_max=10_000)
    job = hero.wait(hero.submit("!!good.flood lines:1000", log=True), 60)
    log = hero.log(job)
    assert 9_000 < len(log) <= 10_200
    assert "dropped" in log.splitlines()[-1] or len(log) == 10_000


def test_output_can_be_followed_while_the_job_runs(hero: HeroJobs, start: Start) -> None:
    start()
    job = hero.submit("!!good.speak\n!!fake.spin seconds:0.3\n!!good.speak", log=True)
    assert "".join(hero.follow(job)).count("printed") == 2
    assert hero.get(job).is_over


def test_a_stopped_watchdog_puts_back_what_does_not_end(hero: HeroJobs, start: Start) -> None:
    watchdog = start(stop_timeout=0.2)
    job = hero.submit("!!fake.spin seconds:30")
    while hero.get(job).status == "new":
        time.sleep(0.005)
    watchdog.stop()
    back = hero.get(job)
    assert (back.status, back.attempts) == ("new", 0)
    assert [queue.waiting for queue in hero.queues()] == [1]


def test_a_stopped_watchdog_lets_short_jobs_finish(hero: HeroJobs, start: Start) -> None:
    watchdog = start(stop_timeout=10)
    job = hero.submit("!!fake.spin seconds:0.5")
    while hero.get(job).status == "new":
        time.sleep(0.005)
    watchdog.stop()
    assert hero.get(job).status == "done"


def test_a_watchdog_process_ends_by_term_and_hurries_by_a_second(hero: HeroJobs, given: dict[str, object]) -> None:
    import os
    import subprocess
    import sys

    env = {**os.environ, "HEROJOBS_HOME": str(given["home"]), "HEROJOBS_REDIS_URL": str(given["redis_url"])}
    process = subprocess.Popen(
        [sys.executable, "-m", "herojobs", "watchdog", "--workers", "1"], env=env, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    job = hero.submit("!!fake.spin seconds:30")
    while hero.get(job).status == "new":
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    process.stdout.close()
    assert hero.get(job).status == "new"


def test_what_blocks_the_event_loop_ends_well_at_its_next_attempt(hero: HeroJobs, start: Start) -> None:
    start(actors=["support.odd"])
    others = [hero.submit("!!fake.sleep seconds:4", max_attempts=1) for _ in range(3)]
    blocks = hero.submit("!!odd.hold_loop_in_a_task seconds:4")
    done = hero.wait(blocks, 60)
    assert (done.result, done.attempts, done.alone) == ("held", 2, True)
    for other in others:
        finished = hero.wait(other, 60)
        assert (finished.status, finished.attempts, finished.alone) == ("done", 1, False)
