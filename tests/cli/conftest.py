"""Fixtures for the command: a home in which `herojobs dev` runs, and the command in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.inprocess import InProcess, in_process
from herojobs.live import embedded

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A home with a running `herojobs dev`."""
    with tempfile.TemporaryDirectory(prefix="hj-cli-") as folder:
        env = {**os.environ, "HEROJOBS_HOME": folder, "HEROJOBS_STOP_TIMEOUT": "0.5"}
        dev = subprocess.Popen(
            [sys.executable, "-m", "herojobs", "dev", "--workers", "1"],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert dev.stdout is not None
        lines = []
        for line in dev.stdout:
            lines.append(line)
            if line == "ready\n":
                break
        assert any("herojobs run" in line for line in lines)
        for script in ("!!core.echo", "!!fake.sleep seconds:0"):  # so that both sorts of worker run before the tests
            subprocess.run([sys.executable, "-m", "herojobs", "run", "--text", script], env=env, check=True)
        yield Path(folder)
        dev.send_signal(signal.SIGINT)
        assert dev.wait(60) == 0
        dev.stdout.close()
        embedded.stop(Path(folder))


@pytest.fixture
def herojobs(home: Path) -> Command:
    def run(*arguments: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "herojobs", *arguments],
            env={**os.environ, "HEROJOBS_HOME": str(home), **env},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def herojobs_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> InProcess:
    """The command, run in this process."""
    return in_process(monkeypatch, capsys)
