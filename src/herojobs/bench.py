"""HeroJobs' own speed, measured on this machine: what `herojobs bench` shows.

Everything runs with default settings in a home of its own: the embedded Redis with its append-only file, OurDB with
sync policy `interval`, results kept, one WatchDog with two workers, as processes of their own.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import psutil
from redis import Redis

from herojobs.client import HeroJobs
from herojobs.job import Job, encode
from herojobs.live import embedded
from herojobs.live.call import script
from herojobs.live.calls import submit
from herojobs.names import Queue
from herojobs.ourdb import OurDB

NO_OP = "!!fake.return_success"
ASYNC_NO_OP = "!!fake.sleep seconds:0"
IN_TURN = 10
"""Calls of each kind before it is the other's turn, where two are compared."""
SETTLE = 3.0
"""Seconds between two runs, for what the one before has left for the disk."""

Sync = Literal["always", "interval", "never"]


class Figure(NamedTuple):
    """What was measured in several runs: a median between the lowest and the highest."""

    name: str
    median: float
    lowest: float
    highest: float


def measure(runs: int, jobs: int, told: Callable[[int], object] = lambda run: None) -> list[Figure]:
    """Return all figures.

    Args:
        runs: how often each is measured.
        jobs: jobs of a drain and of a bulk submission.
        told: called before each run with its number, from 1.
    """
    samples: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="hj") as folder:
        home = Path(folder)
        try:
            with HeroJobs(home=home) as hero:
                for number in range(1, runs + 1):
                    told(number)
                    if number > 1:
                        time.sleep(SETTLE)
                    for name, value in _run(hero, home, jobs).items():
                        samples.setdefault(name, []).append(value)
        finally:
            embedded.stop(home)
    return [Figure(name, statistics.median(values), min(values), max(values)) for name, values in samples.items()]


def _run(hero: HeroJobs, home: Path, jobs: int) -> dict[str, float]:
    trips = _trips(hero, home, min(500, jobs))
    found = {
        "submit, one by one (jobs/s)": _rate(min(2_000, jobs), lambda count: _submit(hero, count)),
        "  beside a bare EVALSHA of the same bytes (x)": _beside_bare(hero, home, min(1_000, jobs)),
        "submit_many (jobs/s)": _submit_many(hero, jobs, NO_OP, "bulk"),
    }
    hero.empty("bench", "bulk")
    hero.empty("bench", "single")
    for kind, params in (("synchronous", NO_OP), ("asynchronous", ASYNC_NO_OP)):
        drained = _drain(hero, home, jobs, params)
        found[f"drain, {kind} (jobs/s)"] = drained.rate
        found[f"  CPU of WatchDog and workers (µs a job), {kind}"] = drained.cpu
        found[f"  memory of WatchDog and workers (MB), {kind}"] = drained.memory
    found["round trip, p50 (ms)"] = trips[len(trips) // 2]
    found["round trip, p99 (ms)"] = trips[len(trips) * 99 // 100]
    for sync, count in zip(get_args(Sync), (200, 5_000, 5_000), strict=True):
        found[f"OurDB add, {sync} (records/s)"] = _ourdb_adds(home, sync, count)
    with OurDB(home / "ourdb-bulk") as db:
        found["OurDB add_many, 400 bytes (records/s)"] = _rate(100_000, lambda count: db.add_many([b"x" * 400] * count))
    return found


def _rate(count: int, work: Callable[[int], object]) -> float:
    began = time.perf_counter()
    work(count)
    return count / (time.perf_counter() - began)


def _submit(hero: HeroJobs, count: int) -> None:
    for _ in range(count):
        hero.submit(NO_OP, circle_id="bench", topic="single")


def _beside_bare(hero: HeroJobs, home: Path, count: int) -> float:
    """Return how fast `submit` is beside redis-py's EVALSHA of the same script and bytes, a few of each in turn."""
    queue, sha = Queue("bench", "bare"), script("submit").sha.decode()
    own, bare = [], []
    like = hero.submit(NO_OP, circle_id="bench", topic="single")
    with Redis(unix_socket_path=str(embedded.socket_path(home))) as redis:
        for first in range(like.job_id + 1, like.job_id + 1 + count, IN_TURN):
            began = time.perf_counter()
            _submit(hero, IN_TURN)
            own.append(time.perf_counter() - began)
            calls = [submit(queue, [(id, encode(like), 0, 0)]).args for id in range(first, first + IN_TURN)]
            began = time.perf_counter()
            for arguments in calls:
                redis.evalsha(sha, 1, f"heroqueue:{queue.key}", *arguments)
            bare.append(time.perf_counter() - began)
        redis.delete(*redis.keys("hero*:bench:bare*"))  # no client knows these jobs
    return statistics.median(bare) / statistics.median(own)


def _submit_many(hero: HeroJobs, count: int, params: str, topic: str) -> float:
    jobs = [Job(params=params, circle_id="bench", topic=topic) for _ in range(count)]
    return _rate(count, lambda _: hero.submit_many(jobs))


class _Drained(NamedTuple):
    """Jobs a second; of WatchDog and workers the CPU in microseconds a job, and the memory in MB (PSS)."""

    rate: float
    cpu: float
    memory: float


def _drain(hero: HeroJobs, home: Path, count: int, params: str) -> _Drained:
    """Drain a queue filled before."""
    _submit_many(hero, count, params, "drain")
    with _watchdog(home) as process:
        before = _cpu_of_family(process.pid)
        began = time.perf_counter()
        while any(queue.waiting or queue.active for queue in hero.queues("bench")):
            time.sleep(0.01)
        seconds = time.perf_counter() - began
        cpu = _cpu_of_family(process.pid) - before
        return _Drained(count / seconds, cpu / count * 1e6, _memory_of_family(process.pid))


def _trips(hero: HeroJobs, home: Path, count: int) -> list[float]:
    """Return the round trips, submission to result in hand, of jobs sent one after another to an idle system, in ms."""
    trips = []
    with _watchdog(home):
        hero.wait(hero.submit(NO_OP, circle_id="bench", topic="trips"), timeout=30)
        for _ in range(count):
            began = time.perf_counter()
            hero.wait(hero.submit(NO_OP, circle_id="bench", topic="trips"), timeout=30)
            trips.append((time.perf_counter() - began) * 1000)
    return sorted(trips)


def _ourdb_adds(home: Path, sync: Sync, count: int) -> float:
    data = b"x" * 400
    with OurDB(home / f"ourdb-{sync}", sync=sync) as db:

        def work(count: int) -> None:
            for _ in range(count):
                db.add(data)

        return _rate(count, work)


@contextmanager
def _watchdog(home: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a WatchDog with two workers as a process of its own."""
    command = [sys.executable, "-m", "herojobs", "--home", str(home), "watchdog", "--workers", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # noqa: S603 - our own command
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "ready":
            break
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _cpu_of_family(pid: int) -> float:
    """Return the CPU seconds that a process and its children have used."""
    return sum(sum(process.cpu_times()[:2]) for process in _family(pid))


def _memory_of_family(pid: int) -> float:
    """Return the megabytes that a process and its children hold, shared pages once where the system tells."""
    infos = [process.memory_full_info() for process in _family(pid)]
    return sum(getattr(info, "pss", info.rss) for info in infos) / 1e6
