"""The processes of a run of chaos: Redis behind a proxy, WatchDogs, producers; all of them can be started again."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import psutil

from herojobs.chaos.clock import Clock
from herojobs.chaos.disk import Disk
from herojobs.chaos.guard import Guard, marked
from herojobs.chaos.producer import Orders
from herojobs.chaos.proxy import Proxy
from herojobs.chaos.servers import RedisServer
from herojobs.chaos.ticking import Ticking
from herojobs.live import embedded
from herojobs.settings import Settings, load

MARK = "CHAOS_MARK"
"""Environment variable by which all processes of a run are known."""
ATTEMPTS = 50
"""Attempts that each job has: the faults here are no fault of the jobs."""
ENDS_WITHIN = 60.0
"""Seconds that WatchDogs may take to stop."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a run shall be.

    Attributes:
        jobs: acknowledged jobs after which no more are submitted.
        rate: jobs a second that are submitted.
        seconds: how long a job runs, on average.
        hang_every: one in so many jobs never ends by itself, so it must be ended at its timeout; 0 = none.
        watchdogs: WatchDogs.
        workers: exclusive workers of each.
        producers: processes that submit.
        schedules: schedules that tick, most of them every second.
        lease: the setting `lease` of the WatchDogs.
        faults: kinds of fault to choose from.
        every: seconds from one fault to the next.
        second_starts: share of jobs that may start again though no fault cut them off; without faults none may.
        seed: for all choices.
    """

    jobs: int = 2000
    rate: float = 200.0
    seconds: float = 0.01
    hang_every: int = 200
    watchdogs: int = 2
    workers: int = 2
    producers: int = 2
    schedules: int = 3
    lease: float = 2.0
    faults: tuple[str, ...] = ()
    every: float = 1.0
    second_starts: float = 0.005
    seed: int = 1


class Stage:
    """Starts everything; a context manager that ends everything.

    Args:
        plan: what the run shall be.
        folder: where logs go; None = a temporary folder, removed at the end.

    Attributes:
        watchdogs, producers: the processes, by their place.
        clocks: the wall clocks of the WatchDogs, by their place.
        ticking: the schedules.
        revived: WatchDogs that ended by themselves and were started again.
        left: processes that lived on after all were told to end; known once it is closed.
    """

    def __init__(self, plan: Plan, folder: Path | None = None) -> None:
        self.plan = plan
        self.left = 0
        self.revived = 0
        self._stack = contextlib.ExitStack()
        self._temporary = folder is None
        if folder is None:
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="hj-chaos-")))
        self.folder = folder
        self.marks = folder / "marks"
        self.acknowledged = folder / "acknowledged"
        self._mark = secrets.token_hex(8)
        self._started = 0
        self.watchdogs: list[subprocess.Popen[bytes]] = []
        self.producers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Stage:
        try:
            guard = Guard()
            self._stack.callback(guard.close)
            guard.note_processes(MARK, self._mark)
            if self._temporary:
                guard.note_folder(self.folder)
            guard.note_folder(self.folder / "disk")
            guard.note_disk(self.folder / "disk")
            self.disk = Disk(self.folder / "disk")
            self._stack.callback(self.disk.close)
            options = ("--appendonly", "yes", "--appendfsync", "everysec")
            self.redis = RedisServer(embedded.find_program(), *options)
            self._stack.callback(self.redis.close)
            guard.note_server(self.redis.folder)
            self.proxy = Proxy(self.redis.socket)
            self._stack.callback(self.proxy.close)
            self._life, held = os.pipe()  # closes should we be killed: then all that we have started ends
            for end in (self._life, held):
                self._stack.callback(os.close, end)
            self._log = self._stack.enter_context(open(self.folder / "log", "ab"))
            self._stack.callback(self._end_all)
            self.settings: Settings = load({}, home=self.disk.folder / "home", redis_url=self.redis.url)
            self.clocks = [Clock(self.folder / f"clock{place}") for place in range(self.plan.watchdogs)]
            self.ticking = Ticking(self.settings, self.marks, self.plan.schedules, ATTEMPTS)
            self._stack.callback(self.ticking.close)
            self.ticking.start()
            for place in range(self.plan.watchdogs):
                self.start_watchdog(place)
            for place in range(self.plan.producers):
                self.start_producer(place)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start_watchdog(self, place: int) -> None:
        """Start a WatchDog, in the place of an earlier one."""
        command = ["watchdog", "--workers", str(self.plan.workers), "--ends-with", str(self._life)]
        clock = str(self.clocks[place].file)
        _put(self.watchdogs, place, self._start(["-m", "herojobs.chaos.clock", clock, *command]))

    def start_producer(self, place: int) -> None:
        """Start a producer, in the place of an earlier one."""
        plan = self.plan
        orders = Orders(
            str(self.marks),
            str(self.acknowledged),
            self._life,
            plan.rate / plan.producers,
            plan.hang_every,
            plan.seconds,
            ATTEMPTS,
            plan.seed * 1000 + self._started,
        )
        command = ["-m", "herojobs.chaos.producer", msgspec.json.encode(orders).decode()]
        _put(self.producers, place, self._start(command))

    def revive(self) -> int:
        """Start WatchDogs again that ended by themselves, as whatever supervises them would; return how many."""
        ended = [place for place, dog in enumerate(self.watchdogs) if dog.poll() is not None]
        for place in ended:
            self.start_watchdog(place)
        return len(ended)

    def stop_submitting(self) -> None:
        """End the producers, in whatever they do, and the ticking."""
        self.ticking.stop()
        for producer in self.producers:
            producer.kill()
            producer.wait()
        self.producers.clear()

    def stop_watchdogs(self) -> None:
        """End the WatchDogs as an operator would."""
        for dog in self.watchdogs:
            dog.terminate()
        for dog in self.watchdogs:
            try:
                dog.wait(ENDS_WITHIN)
            except subprocess.TimeoutExpired:
                self.left += 1
                dog.kill()
                dog.wait()
        self.watchdogs.clear()
        self.left += len(self.processes())

    def processes(self) -> list[psutil.Process]:
        """Return all processes of this run that are alive."""
        return list(marked(MARK, self._mark))

    def acknowledged_refs(self) -> list[str]:
        """Return the references of all jobs that were acknowledged so far."""
        return self.acknowledged.read_text().split()[::2] if self.acknowledged.exists() else []

    def note(self, text: str) -> None:
        """Write a line to the log that all processes write to."""
        self._log.write(f"{text}\n".encode())
        self._log.flush()

    def _start(self, arguments: list[str]) -> subprocess.Popen[bytes]:
        self._started += 1
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HEROJOBS_")},
            MARK: self._mark,
            "HEROJOBS_HOME": str(self.settings.home),
            "HEROJOBS_REDIS_URL": self.proxy.url,
            "HEROJOBS_ACTORS": "herojobs.chaos.actors",
            "HEROJOBS_LEASE": str(self.plan.lease),
            "HEROJOBS_RECONCILE_INTERVAL": "1",
            "HEROJOBS_STOP_TIMEOUT": "5",
        }
        return subprocess.Popen(  # noqa: S603 - our own modules
            [sys.executable, *arguments],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=(self._life,),
        )

    def _end_all(self) -> None:
        for process in [*self.producers, *self.watchdogs]:
            process.kill()
            process.wait()
        for stray in self.processes():
            with contextlib.suppress(psutil.Error):
                stray.kill()


def _put(processes: list[subprocess.Popen[bytes]], place: int, process: subprocess.Popen[bytes]) -> None:
    processes[place : place + 1] = [process]
