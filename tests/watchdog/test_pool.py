"""The pool and its workers: what one run does stays its own."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from herojobs.errors import WorkerError
from herojobs.outcome import Cancelled, Done, Failed, Killed, TimedOut, apply
from herojobs.watchdog import pool as pool_module
from watchdog.pools import PoolDriver


async def test_neighbours_of_a_run_that_left_children_behind_are_spared(tmp_path: Path) -> None:
    """The worker is ended for the children's sake; what was sent ahead has done nothing wrong."""
    async with PoolDriver(tmp_path) as driver:
        await driver.warm()
        bad = driver.run(f"!!bad.family file:'{tmp_path}/pids'", timeout=1)
        neighbours = [driver.run("!!fake.spin seconds:0.5", max_attempts=1) for _ in range(3)]
        driver.dispatch(bad, *neighbours)
        await driver.finish(bad)
        assert isinstance(bad.outcome, TimedOut)
        await driver.finish(*neighbours)
        assert not driver.pool.put_back
        for run in neighbours:
            assert run in driver.pool.spared or isinstance(run.outcome, Done)


async def test_a_cancelled_run_behind_one_that_is_killed_never_starts(tmp_path: Path) -> None:
    async with PoolDriver(tmp_path, grace=0.1) as driver:
        await driver.warm()
        stuck = driver.run("!!bad.c_call", timeout=1)
        behind = driver.run(f"!!good.mark file:'{tmp_path}/marks'")
        driver.dispatch(stuck, behind)
        driver.pool.cancel(behind)
        await driver.finish(stuck, behind)
        assert isinstance(behind.outcome, Cancelled)
        assert not (tmp_path / "marks").exists()


@pytest.mark.parametrize("abandoned", [False, True])
async def test_a_cancelled_run_that_was_about_to_go_back_ends_once(tmp_path: Path, abandoned: bool) -> None:
    """Its worker has died, and the WatchDog hasn't written that yet."""
    async with PoolDriver(tmp_path) as driver:
        (run,) = driver.dispatch(driver.run("!!bad.die"))
        await driver.finish(run)
        assert driver.pool.put_back == [run]
        if abandoned:
            driver.pool.abandon(run)
        else:
            driver.pool.cancel(run)
        assert isinstance(run.outcome, Cancelled)
        assert (driver.pool.put_back, driver.pool.ended) == ([], [] if abandoned else [run])


@pytest.mark.parametrize("sent_ahead", [False, True])
async def test_what_is_written_behind_python_s_back_goes_to_its_own_job(tmp_path: Path, sent_ahead: bool) -> None:
    async with PoolDriver(tmp_path, actors=["support.odd"]) as driver:
        await driver.warm()
        runs = [driver.run(f"!!odd.write text:'run {n}'") for n in range(40)]
        if sent_ahead:
            driver.dispatch(*runs)
            await driver.finish(*runs)
        else:
            for run in runs:
                await driver.finish(*driver.dispatch(run))
        assert [driver.log_of(run) for run in runs] == [f"run {n}\n" for n in range(40)]


async def test_a_worker_is_replaced_after_its_jobs_under_load_too(tmp_path: Path) -> None:
    async with PoolDriver(tmp_path, worker_max_jobs=20) as driver:
        runs = [driver.run(f"!!good.mark file:'{tmp_path}/marks'") for _ in range(100)]
        driver.dispatch(*runs)
        await driver.finish(*runs)
    assert all(isinstance(run.outcome, Done) for run in runs)
    pids = [line.split()[2] for line in (tmp_path / "marks").read_text().splitlines()]
    assert max(pids.count(pid) for pid in set(pids)) == 20


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("!!odd.exit", "SystemExit"),
        ("!!odd.surrogate", "ValueError: ?"),
        ("!!odd.recursion", "RecursionError"),
        ("!!odd.memory_surrogate", "MemoryError: ?"),
        ("!!odd.unspeakable", "no words"),
        ("!!odd.stop", "StopIteration"),
        ("!!odd.keyboard", "KeyboardInterrupt"),
        ("!!odd.generator_exit", "GeneratorExit"),
        ("!!odd.cancelled", "ancel"),
        ("!!odd.interrupted", "JobInterrupted: because"),
        ("!!odd.group", "ExceptionGroup"),
    ],
)
async def test_whatever_is_raised_ends_the_run_alone(tmp_path: Path, script: str, told: str) -> None:
    async with PoolDriver(tmp_path, actors=["support.actors", "support.odd"]) as driver:
        pids = {child.pid for child in driver.pool.children()}
        for text in (script, script + "_async"):
            run, after = driver.dispatch(driver.run(text), driver.run("!!core.echo content:fine"))
            await driver.finish(run, after)
            assert run.outcome is not None
            assert not isinstance(run.outcome, Done | Killed), run.outcome
            assert after.outcome == Done("fine")
            run.job.status = "active"
            apply(run.job, run.outcome, 1)
            assert told in run.job.error
        assert pids <= {child.pid for child in driver.pool.children()}


@pytest.mark.parametrize(
    ("script", "result"),
    [("!!odd.text_subclass", "text"), ("!!odd.text_enum", "value"), ("!!odd.result_surrogate", "?")],
)
async def test_odd_text_is_a_result_like_any_other(tmp_path: Path, script: str, result: str) -> None:
    async with PoolDriver(tmp_path, actors=["support.odd"]) as driver:
        run, both, again = driver.dispatch(
            driver.run(script), driver.run(f"{script}\n{script}"), driver.run(script + "_async")
        )
        await driver.finish(run, both, again)
        assert run.outcome == again.outcome == Done(result)
        assert both.outcome == Done(f"{result}\n{result}")


async def test_a_process_that_a_job_forks_may_print(tmp_path: Path) -> None:
    async with PoolDriver(tmp_path, actors=["support.odd"]) as driver:
        (run,) = driver.dispatch(driver.run("!!odd.forks_that_print"))
        await driver.finish(run)
        assert run.outcome == Done("[0, 0, 2, 4]")
        assert "from the child" in driver.log_of(run)


@pytest.mark.parametrize("how", ["!!bad.die", "!!bad.leave", "!!odd.family_then_die file:'{}'"])
async def test_nothing_is_left_of_a_worker_that_died(tmp_path: Path, how: str) -> None:
    async with PoolDriver(tmp_path, actors=["support.actors", "support.odd"]) as driver:
        (run,) = driver.dispatch(driver.run(how.format(tmp_path / "pids"), max_attempts=1))
        await driver.finish(run)
        assert isinstance(run.outcome, Killed)
        if (tmp_path / "pids").exists():
            pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
            assert len(pids) == 2
            await driver.until(lambda: not any(_lives(pid) for pid in pids))


@pytest.mark.parametrize("killed", ["guard", "worker"])
async def test_nothing_is_left_of_a_worker_whatever_of_it_is_killed(tmp_path: Path, killed: str) -> None:
    async with PoolDriver(tmp_path, actors=["support.actors"]) as driver:
        (run,) = driver.dispatch(driver.run(f"!!bad.family file:'{tmp_path}/pids' own_session:true"))
        pids = tmp_path / "pids"
        await driver.until(lambda: pids.exists() and len(pids.read_text().splitlines()) == 2)
        (child,) = driver.pool.children()
        os.kill(child.pid if killed == "guard" else child.worker_pid, signal.SIGKILL)
        await driver.finish(run)
        assert driver.pool.put_back == [run]
        family = [child.worker_pid, *map(int, pids.read_text().split())]
        await driver.until(lambda: not any(_lives(pid) for pid in family))


@pytest.mark.parametrize("how", ["exec", "shell", "task", "thread", "popen"])
async def test_what_an_asynchronous_run_started_ends_with_it(tmp_path: Path, how: str) -> None:
    """If it is interrupted; what its neighbours started goes on."""
    async with PoolDriver(tmp_path, actors=["support.odd"]) as driver:
        names = ("cancelled", "neighbour", "over")
        runs = driver.dispatch(
            *(driver.run(f"!!odd.start_child file:'{tmp_path}/{name}' how:{how}") for name in names[:2]),
            driver.run(f"!!odd.start_child file:'{tmp_path}/over' how:{how} seconds:0.01"),
        )
        files = [tmp_path / name for name in names]
        await driver.until(lambda: all(file.exists() and file.read_text().endswith("\n") for file in files))
        pids = [int(file.read_text()) for file in files]
        children = psutil.Process(pids[0]).children()
        driver.pool.cancel(runs[0])
        await driver.finish(runs[0], runs[2])
        assert runs[0].outcome == Cancelled()
        assert runs[2].outcome == Done("started")
        await driver.until(lambda: not any(_lives(pid) for pid in (pids[0], *(child.pid for child in children))))
        assert all(_lives(pid) for pid in pids[1:])


async def test_a_worker_that_closes_everything_or_stops_itself_is_ended_in_time(tmp_path: Path) -> None:
    async with PoolDriver(tmp_path, actors=["support.odd"], workers=2) as driver:
        began = time.monotonic()
        closes, stops = driver.dispatch(
            driver.run("!!odd.close_all", timeout=1), driver.run("!!odd.stop_self", timeout=1)
        )
        await driver.finish(closes, stops)
        assert time.monotonic() - began < 60
        assert isinstance(closes.outcome, TimedOut)
        assert isinstance(stops.outcome, TimedOut)
        (after,) = driver.dispatch(driver.run("!!core.echo content:fine"))
        await driver.finish(after)
        assert after.outcome == Done("fine")


@pytest.fixture
def found_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a blocked event loop found sooner than it is."""
    monkeypatch.setattr(pool_module, "BLOCKED_AFTER", 0.8)


@pytest.mark.usefixtures("found_soon")
async def test_a_run_that_blocks_the_event_loop_takes_no_other_along(tmp_path: Path) -> None:
    """Neither when it yields to an exception nor when its worker must be killed."""
    for script in ("!!odd.hold_loop seconds:10", "!!odd.hold_loop_stubbornly"):
        async with PoolDriver(tmp_path, actors=["support.odd"]) as driver:
            (first,) = driver.dispatch(driver.run("!!fake.sleep seconds:0.01"))
            await driver.finish(first)
            blocks = driver.run(script, timeout=60)
            others = [driver.run("!!fake.sleep seconds:3", max_attempts=1) for _ in range(5)]
            driver.dispatch(*others, blocks)
            await driver.finish(blocks, *others)
            assert blocks in driver.pool.put_back + driver.pool.spared
            for other in others:
                assert other in driver.pool.spared or isinstance(other.outcome, Done)


@pytest.mark.usefixtures("found_soon")
@pytest.mark.parametrize("script", ["!!odd.hold_loop_stubbornly", "!!odd.hold_interpreter"])
async def test_who_blocks_the_event_loop_for_good_goes_on_alone(tmp_path: Path, script: str) -> None:
    """The worker must be killed. Its other runs aren't charged, and go on as before unless nobody knows who it is."""
    async with PoolDriver(tmp_path, actors=["support.odd"]) as driver:
        (first,) = driver.dispatch(driver.run("!!fake.sleep seconds:0.01"))
        await driver.finish(first)
        blocks = driver.run(script, timeout=60)
        others = [driver.run("!!fake.sleep seconds:30", timeout=60) for _ in range(3)]
        runs = driver.dispatch(*others, blocks)
        await driver.finish(*runs)
        if "stubborn" in script:
            assert driver.pool.put_back == [blocks]
            assert blocks.job.alone
        else:  # nobody could say: all are tried once more, then each by itself
            assert not any(run.job.alone for run in runs)
            driver.pool.spared.clear()
            driver.dispatch(*runs)
            await driver.finish(*runs)
            assert set(driver.pool.spared) == set(runs)
            assert all(run.job.alone for run in runs)
            assert not driver.pool.put_back
        assert not any(run.job.alone for run in others) or "interpreter" in script
        assert all(run in driver.pool.spared for run in others)


@pytest.mark.parametrize(
    ("script", "result"),
    [
        ("!!odd.hold_loop seconds:1", "held"),
        ("!!odd.hold_loop_in_a_task seconds:1", "held"),
        ("!!fake.sleep seconds:0.1", None),
        ("!!core.echo content:x", "x"),
    ],
)
async def test_a_run_that_shall_be_alone_ends_well_in_an_exclusive_worker(
    tmp_path: Path, script: str, result: str | None
) -> None:
    async with PoolDriver(tmp_path, actors=["support.odd"]) as driver:
        (run,) = driver.dispatch(driver.run(script, alone=True))
        await driver.finish(run)
        assert isinstance(run.outcome, Done), run.outcome
        assert result in (None, run.outcome.result)
        assert [child.concurrent for child in driver.pool.children()] == [False]


@pytest.mark.parametrize("how", ["timeout", "cancel"])
@pytest.mark.parametrize(
    ("script", "forced"),
    [
        ("!!odd.await_tidily file:'{}'", False),
        ("!!odd.hold_loop seconds:60", False),
        ("!!odd.hold_loop_in_a_task seconds:60", False),
        ("!!odd.hold_loop_stubbornly", True),
        ("!!odd.hold_interpreter", True),
    ],
)
async def test_a_run_that_is_alone_is_ended_in_two_steps(tmp_path: Path, script: str, forced: bool, how: str) -> None:
    async with PoolDriver(tmp_path, actors=["support.odd"]) as driver:
        (run,) = driver.dispatch(
            driver.run(script.format(tmp_path / "tidied"), alone=True, timeout=1 if how == "timeout" else 60)
        )
        if how == "cancel":
            await driver.until(lambda: run.deadline)
            await asyncio.sleep(0.2)
            driver.pool.cancel(run)
        await driver.finish(run)
        assert run.outcome == (TimedOut(1, forced) if how == "timeout" else Cancelled(forced))
        if "tidily" in script:
            assert (tmp_path / "tidied").read_text() == "tidied"
        after = driver.dispatch(driver.run("!!core.echo content:fine"), driver.run("!!fake.sleep seconds:0.01"))
        await driver.finish(*after)
        assert all(isinstance(each.outcome, Done) for each in after)


async def test_the_last_attempt_after_deaths_of_the_concurrent_worker_is_made_alone(tmp_path: Path) -> None:
    async with PoolDriver(tmp_path, actors=["support.odd"]) as driver:
        runs = driver.dispatch(
            driver.run("!!fake.sleep seconds:30", max_attempts=2), driver.run("!!fake.sleep seconds:30")
        )
        await driver.until(
            lambda: any(child.concurrent and child.ready and child.runs for child in driver.pool.children())
        )
        (child,) = (child for child in driver.pool.children() if child.concurrent)
        os.kill(child.pid, signal.SIGSEGV)
        await driver.finish(*runs)
        assert driver.pool.put_back == [*reversed(runs)]
        assert [run.job.alone for run in runs] == [True, False]


@pytest.mark.usefixtures("found_soon")
async def test_a_run_that_blocks_the_event_loop_at_its_last_attempt_is_told_so(tmp_path: Path) -> None:
    async with PoolDriver(tmp_path, actors=["support.odd"]) as driver:
        (run,) = driver.dispatch(driver.run("!!odd.hold_loop seconds:10", max_attempts=1))
        await driver.finish(run)
        assert isinstance(run.outcome, Failed)
        assert "event loop" in run.outcome.error


async def test_workers_that_cannot_be_started_are_started_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "RESTART_PAUSE", 0.2)
    async with PoolDriver(tmp_path) as driver:
        with monkeypatch.context() as patched:

            def refuse(*args: Any, **kwargs: Any) -> None:
                raise OSError(11, "Resource temporarily unavailable")

            patched.setattr("subprocess.Popen", refuse)
            dies = driver.run("!!bad.die", max_attempts=1)
            asynchronous = driver.run("!!fake.sleep seconds:0.01")
            asynchronous.job.params_type = "ai"  # goes to the concurrent worker, which isn't there yet
            driver.dispatch(dies, asynchronous)
            await driver.finish(dies, asynchronous)
            assert asynchronous in driver.pool.spared
            assert not driver.pool.children()
        (run,) = driver.dispatch(driver.run("!!core.echo content:fine"))
        await driver.finish(run)
        assert run.outcome == Done("fine")


@pytest.mark.parametrize("kills", [3, 4])
async def test_workers_that_are_killed_while_they_start_are_replaced_some_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: int
) -> None:
    monkeypatch.setattr(pool_module, "RESTART_PAUSE", 0.01)
    driver = PoolDriver(tmp_path)
    starting = asyncio.create_task(driver.pool.start())
    killed: set[int] = set()
    while len(killed) < kills and not starting.done():
        for child in driver.pool.children():
            if child.pid not in killed:
                killed.add(child.pid)
                os.kill(child.pid, signal.SIGKILL)
        await asyncio.sleep(0.001)
    try:
        if kills <= pool_module.KILLED_STARTS:
            await starting
        else:
            with pytest.raises(WorkerError, match="SIGKILL"):
                await starting
    finally:
        driver.pool.close()


@pytest.mark.parametrize("script", ["!!core.echo", "!!fake.sleep seconds:0.01"])
async def test_what_reaches_its_worker_late_never_starts(tmp_path: Path, script: str) -> None:
    """Its WatchDog may be stopped, and another one have it."""
    async with PoolDriver(tmp_path) as driver:
        (first,) = driver.dispatch(driver.run(script))
        await driver.finish(first)
        for child in driver.pool.children():
            child._start_within = -1.0
        late = driver.dispatch(*(driver.run(script) for _ in range(3)))
        await driver.finish(*late)
        assert sorted(run.number for run in driver.pool.spared) == sorted(run.number for run in late)
        for child in driver.pool.children():
            child._start_within = 10.0
        (after,) = driver.dispatch(driver.run(script))
        await driver.finish(after)
        assert isinstance(after.outcome, Done)


async def test_a_pool_that_stood_still_starts_nothing_that_waited(tmp_path: Path) -> None:
    async with PoolDriver(tmp_path, lease=1) as driver:
        spin, *waiting = driver.dispatch(
            driver.run("!!fake.spin seconds:0.3"), *(driver.run("!!core.echo") for _ in "ab")
        )
        driver.pool._ticked -= 1
        driver.pool.tick()
        assert driver.pool.spared == waiting
        await driver.finish(spin)
        assert isinstance(spin.outcome, Done)


async def test_a_stopped_pool_gives_back_what_it_had(tmp_path: Path) -> None:
    async with PoolDriver(tmp_path) as driver:
        runs = driver.dispatch(*(driver.run("!!bad.nap") for _ in range(4)))
        await driver.until(lambda: any(child.runs for child in driver.pool.children()))
        assert sorted(run.number for run in driver.pool.close()) == sorted(run.number for run in runs)
        assert not driver.pool.children()


async def test_the_start_of_a_run_that_was_killed_is_its_own(tmp_path: Path) -> None:
    """Not the moment that it was handed out, to wait behind another."""
    async with PoolDriver(tmp_path) as driver:
        await driver.warm()
        first, killed = driver.dispatch(driver.run("!!fake.spin seconds:1"), driver.run("!!bad.c_call", timeout=1))
        await driver.finish(first, killed)
        assert killed.outcome == TimedOut(1, True)
        assert 1_000_000 < killed.took < 5_000_000


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM])
async def test_the_signal_that_ended_a_worker_is_told(tmp_path: Path, number: int) -> None:
    async with PoolDriver(tmp_path) as driver:
        run, after = driver.dispatch(driver.run("!!bad.nap", max_attempts=1), driver.run("!!core.echo content:fine"))
        child = driver.pool.children()[0]
        await driver.until(lambda: child.running is run)
        await asyncio.sleep(0.05)
        os.kill(child.pid, number)
        await driver.finish(run, after)
        assert run.outcome == Killed(number, 1)
        assert after.outcome == Done("fine")


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_the_concurrent_worker_is_there_from_the_start_where_it_was_needed_of_late(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    for expected in (False, True):
        async with PoolDriver(tmp_path) as driver:
            assert any(child.concurrent for child in driver.pool.children()) is expected
            (run,) = driver.dispatch(driver.run("!!fake.sleep seconds:0"))
            await driver.finish(run)
            assert isinstance(run.outcome, Done)
