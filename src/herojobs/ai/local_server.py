"""The local model's process: `python -m herojobs.ai.local_server`, started by `herojobs.ai.local`."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

LOOK = 0.5
"""Seconds between two looks whether it is still needed."""
COUNTERS = ("prompt_tokens_total", "tokens_predicted_total", "requests_processing", "requests_deferred")


def main(arguments: list[str]) -> None:
    """Serve a model until nobody needs it.

    Args:
        arguments: home, model file, threads, slots, context, idle seconds, and the descriptor of a pipe that hears
            where it listens, or why it doesn't.
    """
    home, weights = Path(arguments[0]), arguments[1]
    threads, slots, context = (int(each) for each in arguments[2:5])
    idle, tell = float(arguments[5]), int(arguments[6])
    if os.fork():
        os._exit(0)  # so that nobody has to wait for its end
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    folder = home / "var" / "ai"
    place = folder / "local.json"
    try:
        server, data = _serve(weights, threads, slots, context)
        written = folder / f"local.json.{os.getpid()}"
        with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
        written.rename(place)
        os.write(tell, data)
    except Exception as e:
        os.write(tell, f"{type(e).__name__}: {e}".encode())
        os._exit(1)
    os.close(tell)
    with contextlib.suppress(SystemExit):
        _wait(server, folder / "users.lock", idle)
    with contextlib.suppress(OSError):
        if place.read_bytes() == data:  # nobody has started another meanwhile
            place.unlink()
    os._exit(0)  # the engine's own end takes seconds


def _serve(weights: str, threads: int, slots: int, context: int) -> tuple[Any, bytes]:
    """Start the engine's server; return it, and its address as JSON."""
    import xllamacpp

    key = secrets.token_urlsafe(24)
    params = xllamacpp.CommonParams()
    params.model.path = weights
    params.model_alias = {"local"}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]
    params.ui = False
    params.offline = True
    params.cors_origins = "http://127.0.0.1"  # no page's origin: without a port, and none is served here
    params.cors_credentials = False
    params.endpoint_slots = False
    params.endpoint_metrics = True
    params.n_parallel = slots
    params.n_ctx = context * slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.cache_ram_mib = 0
    params.sampling.temp = 0.0
    params.sampling.penalty_repeat = 1.1  # without it so small a model goes round in circles
    params.verbosity = -1
    server = xllamacpp.Server(params)
    return server, msgspec.json.encode({"url": server.listening_address, "key": key, "pid": os.getpid()})


def _wait(server: Any, users: Path, idle: float) -> None:
    """Return when it is no longer needed."""
    last, seen = time.monotonic(), ""
    while True:
        time.sleep(LOOK)
        if not _is_used(users):
            return
        counters = [line for line in server.handle_metrics().splitlines() if line.startswith("llamacpp:")]
        now = " ".join(line for line in counters if line.split()[0].removeprefix("llamacpp:") in COUNTERS)
        busy = any(line.startswith("llamacpp:requests_processing") and not line.endswith(" 0") for line in counters)
        if now != seen or busy:
            last, seen = time.monotonic(), now
        elif time.monotonic() - last > idle:
            return


def _is_used(users: Path) -> bool:
    """Return whether some process holds the lock of users."""
    try:
        lock = os.open(users, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False  # the home is gone
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit


if __name__ == "__main__":
    main(sys.argv[1:])
