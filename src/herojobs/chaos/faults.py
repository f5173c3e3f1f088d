"""The kinds of fault, each a function that does it to a stage and tells what it hit."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil

from herojobs.chaos.stage import Stage


class Ended(NamedTuple):
    """The processes that a fault has ended, or cut off from their WatchDog, and when in unix nanoseconds."""

    pids: list[int]
    at: int


class Happened(NamedTuple):
    """A fault that was done: its name, from when to when in unix nanoseconds, and what it ended."""

    name: str
    began: int
    over: int
    ended: Ended


NOTHING = Ended([], 0)
Fault = Callable[[Stage, random.Random], Ended]
"""Does a fault, to its end; returns what it has killed, or cut off, of those that run jobs."""


def worker_kill(stage: Stage, rng: random.Random) -> Ended:
    """SIGKILL a worker, or the guard of one."""
    victims = [process for dog in stage.watchdogs for process in _family(dog.pid)]
    if not victims:
        return NOTHING
    victim = rng.choice(victims)
    ended = Ended([victim.pid, *(child.pid for child in _family(victim.pid))], time.time_ns())
    with contextlib.suppress(psutil.Error):
        victim.kill()
    return ended


def worker_pause(stage: Stage, rng: random.Random) -> Ended:
    """SIGSTOP a worker for a second, then SIGCONT."""
    victims = [process for dog in stage.watchdogs for process in _family(dog.pid)]
    if victims:
        victim = rng.choice(victims)
        with contextlib.suppress(psutil.Error):
            victim.suspend()
            time.sleep(1)
            victim.resume()
    return NOTHING


def watchdog_kill(stage: Stage, rng: random.Random) -> Ended:
    """SIGKILL a WatchDog, and start another."""
    place = rng.randrange(len(stage.watchdogs))
    dog = stage.watchdogs[place]
    ended = Ended([process.pid for process in _family(dog.pid)], time.time_ns())
    dog.kill()
    dog.wait()
    stage.start_watchdog(place)
    return ended


def watchdog_pause(stage: Stage, rng: random.Random) -> Ended:
    """SIGSTOP a WatchDog past its leases, then SIGCONT."""
    dog = rng.choice(stage.watchdogs)
    cut_off = Ended([process.pid for process in _family(dog.pid)], time.time_ns())
    dog.send_signal(signal.SIGSTOP)
    time.sleep(stage.plan.lease + 0.5)
    dog.send_signal(signal.SIGCONT)
    return cut_off


def producer_kill(stage: Stage, rng: random.Random) -> Ended:
    """SIGKILL a producer, and start another."""
    if stage.producers:
        place = rng.randrange(len(stage.producers))
        stage.producers[place].kill()
        stage.producers[place].wait()
        stage.start_producer(place)
    return NOTHING


def redis_kill(stage: Stage, rng: random.Random) -> Ended:
    """SIGKILL Redis, and start it again on its append-only file within a second."""
    stage.redis.kill()
    time.sleep(rng.random())
    stage.redis.start()
    return NOTHING


def redis_wipe(stage: Stage, rng: random.Random) -> Ended:
    """FLUSHALL."""
    stage.redis.command(b"FLUSHALL")
    return NOTHING


def redis_slow(stage: Stage, rng: random.Random) -> Ended:
    """Have Redis answer up to 0.2 s late, for 2 s."""
    stage.proxy.slow_down(rng.uniform(0.02, 0.2))
    time.sleep(2)
    stage.proxy.slow_down(0)
    return NOTHING


def redis_hang(stage: Stage, rng: random.Random) -> Ended:
    """Have Redis take connections and answer nothing, for 1 to 6 s: past the time that a reply may take."""
    stage.proxy.hang(True)
    time.sleep(rng.uniform(1, 6))
    stage.proxy.hang(False)
    return NOTHING


def redis_away(stage: Stage, rng: random.Random) -> Ended:
    """Have connections to Redis broken and refused, for up to 2 s."""
    stage.proxy.go_away()
    time.sleep(rng.uniform(0.2, 2))
    stage.proxy.come_back()
    return NOTHING


def disk_full(stage: Stage, rng: random.Random) -> Ended:
    """Leave no room on the disk of the databases, for up to 2 s."""
    stage.disk.fill(stage.processes())
    time.sleep(rng.uniform(0.2, 2))
    stage.disk.free(stage.processes())
    return NOTHING


def clock_jump(stage: Stage, rng: random.Random) -> Ended:
    """Set the wall clock of a WatchDog up to half a minute forth or an hour back, and after up to 3 s right again."""
    clock = rng.choice(stage.clocks)
    clock.set_off(rng.uniform(1, 30) if rng.random() < 0.5 else -rng.uniform(1, 3600))
    time.sleep(rng.uniform(0.5, 3))
    clock.set_off(0)
    return NOTHING


def torn_files(stage: Stage, rng: random.Random) -> Ended:
    """SIGKILL all that writes a database, cut its derived files and leave half a record at its end; start all again."""
    ended = Ended([process.pid for dog in stage.watchdogs for process in _family(dog.pid)], time.time_ns())
    for process in [*stage.watchdogs, *stage.producers]:
        process.kill()
        process.wait()
    for folder in sorted(stage.settings.circles_dir.glob("*/*/jobsdb")):
        _tear(folder, rng)
    for place in range(len(stage.watchdogs)):
        stage.start_watchdog(place)
    for place in range(len(stage.producers)):
        stage.start_producer(place)
    return ended


FAULTS: dict[str, Fault] = {
    "worker-kill": worker_kill,
    "worker-pause": worker_pause,
    "watchdog-kill": watchdog_kill,
    "watchdog-pause": watchdog_pause,
    "producer-kill": producer_kill,
    "redis-kill": redis_kill,
    "redis-wipe": redis_wipe,
    "redis-slow": redis_slow,
    "redis-hang": redis_hang,
    "redis-away": redis_away,
    "disk-full": disk_full,
    "clock-jump": clock_jump,
    "torn-files": torn_files,
}


def do(name: str, stage: Stage, rng: random.Random) -> Happened:
    """Do a fault and return what happened."""
    began = time.time_ns()
    ended = FAULTS[name](stage, rng)
    return Happened(name, began, time.time_ns(), ended)


def _family(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _tear(folder: Path, rng: random.Random) -> None:
    newest = max(folder.glob("*.db"), default=None, key=lambda path: path.stat().st_mtime_ns)
    if newest is not None and rng.random() < 0.5:
        with open(newest, "ab") as data:
            data.write(rng.randbytes(rng.randrange(1, 40)))
    for name in ("state", "checkpoint"):
        file = folder / "lookup" / name
        if file.exists() and rng.random() < 0.5:
            with open(file, "r+b") as derived:
                derived.truncate(rng.randrange(file.stat().st_size + 1))
