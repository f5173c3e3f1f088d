"""The parts of a run do what they are for: the proxy is slow, hangs and goes away; the disk is full."""

from __future__ import annotations

import errno
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis as redis_py

from herojobs.chaos import disk as disk_module
from herojobs.chaos.clock import Clock
from herojobs.chaos.disk import Disk
from herojobs.chaos.proxy import Proxy
from live.servers import RedisServer
from waiting import until


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[Proxy]:
    made = Proxy(redis_server.socket)
    yield made
    made.close()


def test_the_proxy_passes_on_late_or_not_at_all(proxy: Proxy, redis_server: RedisServer) -> None:
    with redis_py.Redis.from_url(proxy.url, socket_timeout=5) as client:
        client.set("x", "1")
        proxy.slow_down(0.1)
        began = time.monotonic()
        assert client.get("x") == b"1"
        assert time.monotonic() - began >= 0.2  # both ways
        proxy.slow_down(0)
        proxy.go_away()
        with pytest.raises(redis_py.ConnectionError):
            client.ping()
        proxy.come_back()
        assert client.get("x") == b"1"
    with redis_py.Redis.from_url(proxy.url, socket_timeout=0.2, retry=None) as client:
        client.ping()
        proxy.hang(True)
        with pytest.raises(redis_py.TimeoutError):
            client.ping()
        proxy.hang(False)
        assert client.ping()


WRITER = """
import os, sys
path = sys.argv[1]
for line in sys.stdin:
    try:
        with open(path, "ab") as out:
            out.write(bytes(100_000))
        print("ok", flush=True)
    except OSError as e:
        print(e.errno, flush=True)
"""


@pytest.mark.parametrize("mounts", [True, False])
def test_a_full_disk_refuses_writes_until_it_is_freed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounts: bool
) -> None:
    if not mounts:  # as where the system lets nobody mount
        monkeypatch.setattr(disk_module, "_run", lambda *_: False)
    disk = Disk(tmp_path / "disk")
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(disk.folder / "file")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert writer.stdin is not None
        assert writer.stdout is not None

        def write() -> str:
            assert writer.stdin is not None
            assert writer.stdout is not None
            print(file=writer.stdin, flush=True)
            return writer.stdout.readline().strip()

        assert write() == "ok"
        disk.fill([psutil.Process(writer.pid)])
        assert write() in (str(errno.ENOSPC), str(errno.EFBIG))
        disk.free([psutil.Process(writer.pid)])
        assert write() == "ok"
    finally:
        writer.kill()
        writer.communicate()
        disk.close()
    assert not disk.folder.exists()


def test_a_clock_that_is_set_is_seen_at_once(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "clock")
    code = (
        "import sys, time; from pathlib import Path\n"
        "from herojobs.chaos.clock import follow; from herojobs.job import now_ms\n"
        "follow(Path(sys.argv[1]))\n"
        "for _ in sys.stdin: print(time.time(), now_ms(), flush=True)"
    )
    command = [sys.executable, "-c", code, str(clock.file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for ahead in (0, 3600, -1800, 0):
            clock.set_off(ahead)
            print(file=child.stdin, flush=True)
            seconds, ms = map(float, child.stdout.readline().split())
            assert abs(seconds - time.time() - ahead) < 60
            assert abs(ms / 1000 - seconds) < 60
        child.stdin.close()


def test_a_run_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    driver = subprocess.Popen(
        [sys.executable, "-m", "herojobs", "chaos", "--jobs", "100000", "-f", "none", "--keep", str(kept)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    acknowledged = kept / "acknowledged"
    until(lambda: acknowledged.exists() and acknowledged.stat().st_size)
    family = psutil.Process(driver.pid).children(recursive=True)
    (server,) = [process for process in family if process.name() in ("redis-server", "valkey-server")]
    folders = [Path(server.cwd()), kept / "disk"]
    driver.kill()
    driver.wait()
    _, alive = psutil.wait_procs(family, timeout=40)
    assert len(family) >= 6
    assert not alive
    assert not any(folder.exists() for folder in folders)
    assert str(kept) not in Path("/proc/mounts").read_text()
    assert acknowledged.exists()
