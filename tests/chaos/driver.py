"""Faults on real processes: WatchDogs, workers and Redis are killed, stopped and wiped while jobs run.

Starts are written by the jobs themselves, append-only, with their attempt; ends are read from OurDB's chains of
versions. `Chaos.verdict` puts them together.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from herojobs import HeroJobs, Job
from herojobs.errors import RedisUnavailable, SubmissionUnconfirmed
from herojobs.settings import load
from herojobs.store import JobStore
from live.servers import RedisServer

SETTINGS = {"HEROJOBS_LEASE": "2", "HEROJOBS_RECONCILE_INTERVAL": "1", "HEROJOBS_ACTORS": "support.actors"}


@dataclass
class Verdict:
    """What a run of chaos showed."""

    jobs: int
    lost: list[str]
    second_ends: list[str]
    groundless_ends: list[str]
    """Jobs whose end doesn't follow their start: it wasn't the last version, or no run was under way."""
    never_started: list[str]
    """Jobs that are done, though the log of starts, which they write themselves, doesn't have them."""
    second_starts: int
    states: Counter[str] = field(default_factory=Counter)


class Chaos:
    """WatchDogs over a Redis with an append-only file, and what can be done to them."""

    def __init__(self, folder: Path, program: str, watchdogs: int, seed: int) -> None:
        self.rng = random.Random(seed)
        self.redis = RedisServer(program, "--appendonly", "yes", "--appendfsync", "everysec")
        self.home = folder / "home"
        self.starts = folder / "starts"
        self.refs: list[str] = []
        self._env = {
            **os.environ,
            **SETTINGS,
            "HEROJOBS_HOME": str(self.home),
            "HEROJOBS_REDIS_URL": self.redis.url,
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }
        self._watchdogs = [self._start() for _ in range(watchdogs)]

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "herojobs", "watchdog", "--workers", "2"],
            env=self._env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    # producing

    def submit(self, hero: HeroJobs, count: int) -> None:
        """Submit jobs in a batch; those of a refused batch weren't acknowledged and don't count."""
        script = f"!!good.mark file:'{self.starts}' seconds:0.005"
        circles = ("a", "b", "c")
        jobs = [
            Job(params=script, circle_id=self.rng.choice(circles), timeout=30, max_attempts=50) for _ in range(count)
        ]
        try:
            self.refs += [str(job.ref) for job in hero.submit_many(jobs)]
        except SubmissionUnconfirmed as e:
            self.refs += e.refs  # they are stored, so they must run
        except RedisUnavailable:
            time.sleep(0.05)

    # faults

    def kill_worker(self) -> None:
        """SIGKILL a worker."""
        workers = [child for dog in self._watchdogs for child in _children(dog.pid)]
        if workers:
            with contextlib.suppress(psutil.Error):
                self.rng.choice(workers).kill()

    def kill_watchdog(self) -> None:
        """SIGKILL a WatchDog, and start another."""
        place = self.rng.randrange(len(self._watchdogs))
        self._watchdogs[place].kill()
        self._watchdogs[place].wait()
        self._watchdogs[place] = self._start()

    def pause_watchdog(self) -> None:
        """SIGSTOP a WatchDog past its leases, then SIGCONT."""
        dog = self.rng.choice(self._watchdogs)
        dog.send_signal(signal.SIGSTOP)
        time.sleep(float(SETTINGS["HEROJOBS_LEASE"]) + 0.5)
        dog.send_signal(signal.SIGCONT)

    def kill_redis(self) -> None:
        """SIGKILL Redis and start it again on its append-only file."""
        self.redis.kill()
        self.redis.start()

    def wipe_redis(self) -> None:
        """FLUSHALL."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.redis.socket))
            connection.sendall(b"FLUSHALL\r\n")
            connection.recv(100)

    def faults(self) -> list[Callable[[], None]]:
        """Return all kinds of fault."""
        return [
            self.kill_worker,
            self.kill_worker,
            self.kill_watchdog,
            self.pause_watchdog,
            self.kill_redis,
            self.wipe_redis,
        ]

    # the end

    def wait_until_over(self, seconds: float) -> None:
        """Wait until every acknowledged job is over, or the time is."""
        deadline = time.monotonic() + seconds
        store = JobStore(load({}, home=self.home))
        left = list(dict.fromkeys(self.refs))
        while left and time.monotonic() < deadline:
            time.sleep(0.2)
            left = [ref for ref in left if not _is_over(store, ref)]
        store.close()

    def verdict(self) -> Verdict:
        """Return what became of every acknowledged job."""
        from herojobs.names import Ref

        store = JobStore(load({}, home=self.home))
        runs = Counter(line.split()[0] for line in self.starts.read_text().splitlines())
        lost, second_ends, groundless_ends, never_started = [], [], [], []
        states = Counter[str]()
        for ref in dict.fromkeys(self.refs):
            parsed = Ref.parse(ref)
            history = store.history(*parsed)
            states[f"{history[-1].status} {history[-1].reason}"] += 1
            if not history[-1].is_over:
                lost.append(ref)
            if sum(version.is_over for version in history) > 1:
                second_ends.append(ref)
            if [version.status for version in history][-2:] != ["active", "done"]:
                groundless_ends.append(ref)
            if not runs[ref]:
                never_started.append(ref)
        store.close()
        again = sum(count - 1 for count in runs.values())
        return Verdict(len(self.refs), lost, second_ends, groundless_ends, never_started, again, states)

    def close(self) -> None:
        """End everything that was started."""
        for dog in self._watchdogs:
            dog.send_signal(signal.SIGCONT)
            dog.terminate()
        for dog in self._watchdogs:
            try:
                dog.wait(20)
            except subprocess.TimeoutExpired:
                dog.kill()
                dog.wait()
        self.redis.close()


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children()
    except psutil.Error:
        return []


def _is_over(store: JobStore, ref: str) -> bool:
    from herojobs.names import Ref

    return store.get(*Ref.parse(ref)).is_over
