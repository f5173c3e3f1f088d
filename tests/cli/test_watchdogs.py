"""Several WatchDogs of one command start, stop and fail together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from herojobs.live import embedded


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hj-two-") as folder:
        yield Path(folder)
        embedded.stop(Path(folder))


def two(home: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "herojobs", "watchdog", "--watchdogs", "2", "--workers", "1", *arguments],
        env={**os.environ, "HEROJOBS_HOME": str(home), "HEROJOBS_STOP_TIMEOUT": "0.5"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_they_stop_when_their_command_is_told_to(home: Path, number: signal.Signals) -> None:
    process = two(home)
    assert first_line(process) == "ready\n"
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert not [child for child in children if child.is_running()]


def test_one_that_is_killed_ends_the_other_too(home: Path) -> None:
    process = two(home)
    assert first_line(process) == "ready\n"
    psutil.Process(process.pid).children()[0].kill()
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGKILL


def test_they_are_not_ready_if_they_cant_start(home: Path) -> None:
    process = two(home, "--actors", "no_such_module")
    out, told = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert "no_such_module" in told


def test_they_end_gracefully_when_their_command_is_killed(home: Path) -> None:
    process = two(home)
    assert first_line(process) == "ready\n"
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 4
    process.kill()
    process.wait()
    psutil.wait_procs(children, timeout=20)
    assert not [child for child in children if child.is_running()]
    assert process.stdout is not None
    assert process.stderr is not None
    told = process.stderr.read()
    process.stdout.close()
    process.stderr.close()
    assert "Traceback" not in told


@pytest.mark.parametrize("after", [0.0, 0.03, 0.08, 0.15])
def test_a_ctrl_c_while_the_command_loads_shows_no_traceback(home: Path, after: float) -> None:
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "herojobs", "doctor"],
        env={**os.environ, "HEROJOBS_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:  # the interpreter's own start isn't ours
        if "herojobs.cli" in line:
            break
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert "Traceback" not in told
