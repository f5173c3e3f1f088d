"""What a job writes: bounded, in whole lines, and from wherever it is written."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from herojobs.outcome import Done, TimedOut
from herojobs.worker.output import JobLog, unread
from watchdog.pools import PoolDriver


def test_lines_leave_at_once_and_the_rest_at_the_end() -> None:
    sent: list[str] = []
    log = JobLog(sent.append, 100)
    for text in ("a", "b\nc", "\n", "", "d"):
        log.write(text)
    assert sent == ["ab\n", "c\n"]
    log.close()
    log.close()
    assert sent == ["ab\n", "c\n", "d\n"]


@pytest.mark.parametrize("size", [1, 7, 30, 1000])
def test_what_is_over_the_limit_is_counted(size: int) -> None:
    sent: list[str] = []
    log = JobLog(sent.append, 30)
    text = "0123456789\n" * 9
    for start in range(0, len(text), size):
        log.write(text[start : start + size])
    log.close()
    kept = "".join(sent)
    assert kept.startswith(text[:30])
    assert kept.endswith(f"{len(text) - 30} more characters were dropped: the log's limit is 30\n")


def test_lone_surrogates_are_replaced() -> None:
    sent: list[str] = []
    log = JobLog(sent.append, 100)
    log.write("a\ud800b é\n")
    assert sent == ["a?b é\n"]


def test_a_pipe_tells_by_both_ends_what_is_unread() -> None:
    reading, writing = os.pipe()
    assert (unread(reading), unread(writing)) == (0, 0)
    os.write(writing, b"12345")
    assert unread(reading) == 5
    if sys.platform == "linux":
        assert unread(writing) == 5
    os.read(reading, 3)
    assert unread(reading) == 2
    os.close(reading)
    os.close(writing)


async def test_every_way_to_write_reaches_the_job_s_log(tmp_path: Path) -> None:
    async with PoolDriver(tmp_path) as driver:
        for _ in range(3):
            (run,) = driver.dispatch(driver.run("!!good.speak"))
            await driver.finish(run)
            assert run.outcome == Done("")
            log = driver.log_of(run)
            for line in ("printed\n", "WARNING speaker: logged\n", "written\n", "echoed\n"):
                assert log.count(line) == 1, log


async def test_output_of_an_interrupted_run_is_kept(tmp_path: Path) -> None:
    async with PoolDriver(tmp_path, actors=["support.odd"]) as driver:
        run = driver.run("!!odd.write text:before\n!!fake.spin seconds:60", timeout=1)
        driver.dispatch(run)
        await driver.finish(run)
        assert run.outcome == TimedOut(1)
        assert driver.log_of(run) == "before\n"
