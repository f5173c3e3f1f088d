"""Where a drained job's microseconds go: CPU of each process, and of each step in the WatchDog.

    python -m benchmarks.drain --jobs 20000 --write

The first table is of real drains: CPU of the WatchDog, its workers and Redis a job. The second one runs the WatchDog's
steps by themselves, in this process and without Redis and workers, so that their times are those of a quiet machine.
All are the best of several rounds: the least that the code costs; what other programs take from a machine only adds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks import page
from herojobs import HeroJobs, Job
from herojobs.bench import ASYNC_NO_OP, NO_OP
from herojobs.frames import FrameReader, Over, Start, decode_from_worker, frame
from herojobs.live import embedded
from herojobs.live.calls import Claimed
from herojobs.live.line import packed
from herojobs.live.redis import AsyncRedis
from herojobs.names import Queue
from herojobs.outcome import Done
from herojobs.settings import load
from herojobs.store import JobStore
from herojobs.store.base import Position, Put, Tip
from herojobs.watchdog.life import Life

ROUNDS = 3
BATCH = 200
SETTLE = 4.0
"""Seconds that a WatchDog gets to start all it needs, and to read the history, before jobs may run."""
Times = dict[str, float]


def measure_drain(home: Path, jobs: int, params: str) -> Times:
    """Return CPU microseconds a job of each process in one drain."""
    with HeroJobs(home=home) as hero:
        hero.pause("drain")
        hero.submit_many([Job(params=params, circle_id="drain") for _ in range(jobs)])
        redis = int((home / "var" / "redis" / "redis.pid").read_text())
        command = [sys.executable, "-m", "herojobs", "--home", str(home), "watchdog", "--workers", "2"]
        watchdog = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            assert watchdog.stdout is not None
            watchdog.stdout.readline()  # `ready`
            time.sleep(SETTLE)
            before = _cpu(watchdog.pid, redis)
            hero.resume("drain")
            while any(queue.waiting or queue.active for queue in hero.queues("drain")):
                time.sleep(0.02)
            after = _cpu(watchdog.pid, redis)
        finally:
            watchdog.terminate()
            watchdog.wait(60)
    return {name: (after[name] - before[name]) / jobs * 1e6 for name in after}


def _cpu(watchdog: int, redis: int) -> Times:
    workers = psutil.Process(watchdog).children(recursive=True)
    return {
        "WatchDog": _seconds(watchdog),
        "workers": sum(_seconds(each.pid) for each in workers),
        "Redis": _seconds(redis),
    }


def _seconds(pid: int) -> float:
    """Return CPU seconds of a process, to the nanosecond (proc(5), schedstat)."""
    tasks = Path(f"/proc/{pid}/task")
    return sum(int((tasks / task / "schedstat").read_text().split()[0]) for task in os.listdir(tasks)) / 1e9


class Clock:
    """Adds up the CPU time of this thread by step."""

    def __init__(self) -> None:
        self.times: Times = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a block; what is timed within it counts for itself alone."""
        outside = sum(self.times.values())
        began = time.thread_time()
        yield
        took = time.thread_time() - began - (sum(self.times.values()) - outside)
        self.times[name] = self.times.get(name, 0.0) + took


class TimedStore(JobStore):
    """A store whose looks and writes are timed."""

    clock: Clock
    state = ""

    def tips(self, queue: Queue, ids: Sequence[int]) -> list[Tip | None]:
        """As `JobStore.tips`."""
        with self.clock.step("OurDB: read what was claimed"):
            return super().tips(queue, ids)

    def put_many(self, queue: Queue, puts: Sequence[Put], lock_timeout: float | None = None) -> list[Position | None]:
        """As `JobStore.put_many`."""
        with self.clock.step(f"OurDB: write `{self.state}`"):
            return super().put_many(queue, puts, lock_timeout)


async def measure_steps(home: Path, jobs: int) -> Times:
    """Return CPU microseconds a job of the WatchDog's steps, in batches of `BATCH`."""
    settings = load({}, home=home)
    queue = Queue("drain", "steps")
    store = TimedStore(settings)
    store.clock = clock = Clock()

    async def write(queue: Queue, puts: list[Put]) -> list[Position | None]:
        return store.put_many(queue, puts, 0)

    life = Life(store, settings, AsyncRedis("redis://localhost"), "host-12345-abcdef", write)
    number = store.next_id(queue) if store.has(queue) else 1
    for _ in range(0, jobs, BATCH):
        store.add_many(queue, [Job(params=NO_OP, circle_id="drain", topic="steps") for _ in range(BATCH)])
        claimed = [Claimed(b"%d" % (number + i), 1) for i in range(BATCH)]
        number += BATCH
        store.state = "active"
        with clock.step("claim: make runs of jobs"):
            runs, _ = await life.accept(queue, life.token(), claimed)
        with clock.step("dispatch: frames to workers"):
            frame([Start(run.number, run.data, run.ref, run.job.alone, 1.0) for run in runs])
        answers = b"".join(frame([Over(run.number, "done", "ok", "", 5)]) for run in runs)
        with clock.step("frames from workers"):
            ends = [end for payload in FrameReader().feed(answers) for end in decode_from_worker(payload)]
            for run, end in zip(runs, ends, strict=True):
                assert isinstance(end, Over)
                run.outcome = Done(end.text)
        store.state = "done"
        with clock.step("end: write outcomes into jobs"):
            calls = await life.end(runs)
        with clock.step("finish: pack for Redis"):
            packed([("EVALSHA", b"0" * 40, 1, b"heroqueue:drain:steps", *call.args) for call in calls])
    store.close()
    return {name: seconds / jobs * 1e6 for name, seconds in clock.times.items()}


def _best(rounds: int, measure: Callable[[], Times]) -> Times:
    """Return the least of each figure."""
    found = [measure() for _ in range(rounds)]
    return {name: min(each[name] for each in found) for name in found[0]}


def main() -> None:
    """Print both tables, and write them to the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=20_000, help="jobs of a drain")
    parser.add_argument("--write", action="store_true", help="write the tables to docs/")
    options = parser.parse_args()
    jobs: int = options.jobs
    with tempfile.TemporaryDirectory(prefix="hj") as folder:
        home = Path(folder)
        try:
            sync = _best(ROUNDS, lambda: measure_drain(home, jobs, NO_OP))
            concurrent = _best(ROUNDS, lambda: measure_drain(home, jobs, ASYNC_NO_OP))
            steps = _best(ROUNDS, lambda: asyncio.run(measure_steps(home, jobs // BATCH * BATCH)))
        finally:
            embedded.stop(home)
    lines = [f"Best of {ROUNDS} drains of {jobs:,} jobs each.", ""]
    lines += ["| CPU, µs a job | synchronous | asynchronous |", "|---|---:|---:|"]
    lines += [f"| {name} | {sync[name]:.1f} | {concurrent[name]:.1f} |" for name in sync]
    lines += [f"| all | {sum(sync.values()):.1f} | {sum(concurrent.values()):.1f} |", ""]
    lines += ["| step of the WatchDog | µs a job |", "|---|---:|"]
    lines += [f"| {name} | {value:.2f} |" for name, value in steps.items()]
    rest = sync["WatchDog"] - sum(steps.values())
    lines.append(f"| the rest: sockets, event loop, Redis' answers, what it does beside | {rest:.1f} |")
    print("\n".join(lines))
    if options.write:
        page.put("drain", lines)


if __name__ == "__main__":
    main()
