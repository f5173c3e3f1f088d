"""Fixtures for all tests: a Redis of their own, and a check that no test leaves a process behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from herojobs.live import embedded
from live.servers import RedisServer


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A server for all tests of this process."""
    server = RedisServer(embedded.find_program())
    yield server
    server.close()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The address of an empty Redis."""
    assert redis_server.command(b"FLUSHALL").startswith(b"+OK")
    return redis_server.url


@pytest.fixture(autouse=True)
def leaves_no_process(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a child process behind, or, if it has a folder of its own, a server in it."""
    folder: Path | None = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    deadline = time.monotonic() + 30
    while left := [child for child in psutil.Process().children(recursive=True) if child.pid not in before]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.01)
    if folder is not None:
        left += embedded_servers_in(folder)
    names = [f"{child.pid} {_command(child)}" for child in left]
    for child in left:
        child.kill()
    assert not names, f"processes were left behind: {names}"


def embedded_servers_in(folder: Path) -> list[psutil.Process]:
    found = []
    for file in folder.glob("**/redis.pid"):
        home = file.parents[2]
        if pid := embedded.status(home).pid:
            found.append(psutil.Process(pid))
    return found


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())[:200]
    except psutil.Error:
        return "(gone)"
