"""HeroJobs' own speed: `python -m benchmarks.speed`, or `make bench`.

Everything runs on this machine with default settings: the embedded Redis with its append-only file, OurDB with sync
policy `interval`, results kept, one WatchDog with two workers, as processes of their own.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from herojobs import HeroJobs, Job
from herojobs.live import embedded
from herojobs.ourdb import OurDB

NO_OP = "!!fake.return_success"
ASYNC_NO_OP = "!!fake.sleep seconds:0"


def rate(count: int, work: Callable[[], object]) -> float:
    """Return how many of `count` things are done a second."""
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def submit_one_by_one(hero: HeroJobs, count: int) -> float:
    def work() -> None:
        for _ in range(count):
            hero.submit(NO_OP, circle_id="bench", topic="single")

    return rate(count, work)


def submit_many(hero: HeroJobs, count: int, params: str = NO_OP, topic: str = "bulk") -> float:
    jobs = [Job(params=params, circle_id="bench", topic=topic) for _ in range(count)]
    return rate(count, lambda: hero.submit_many(jobs))


def drain(hero: HeroJobs, home: Path, count: int, params: str) -> tuple[float, float]:
    """Return jobs a second and the WatchDog's and workers' CPU microseconds a job for a queue filled before."""
    hero.empty("bench", "single")
    submit_many(hero, count, params, "drain")
    with watchdog(home) as process:
        before = cpu_of_family(process.pid)
        began = time.perf_counter()
        while any(queue.waiting or queue.active for queue in hero.queues("bench")):
            time.sleep(0.01)
        seconds = time.perf_counter() - began
        cpu = cpu_of_family(process.pid) - before
    return count / seconds, cpu / count * 1e6


def latency(hero: HeroJobs, home: Path, count: int) -> list[float]:
    """Return the round trips, submission to result in hand, of jobs sent one after another to an idle system, in ms."""
    trips = []
    with watchdog(home):
        hero.wait(hero.submit(NO_OP, circle_id="bench", topic="latency"), timeout=30)
        for _ in range(count):
            began = time.perf_counter()
            hero.wait(hero.submit(NO_OP, circle_id="bench", topic="latency"), timeout=30)
            trips.append((time.perf_counter() - began) * 1000)
    return sorted(trips)


def ourdb_adds(home: Path, sync: str, count: int) -> float:
    data = b"x" * 400
    with OurDB(home / f"ourdb-{sync}", sync=sync) as db:  # type: ignore[arg-type]

        def work() -> None:
            for _ in range(count):
                db.add(data)

        return rate(count, work)


def ourdb_bulk(home: Path, count: int) -> float:
    with OurDB(home / "ourdb-bulk") as db:
        return rate(count, lambda: db.add_many([b"x" * 400] * count))


@contextmanager
def watchdog(home: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a WatchDog with two workers as a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "herojobs", "watchdog", "--workers", "2"],
        env={**os.environ, "HEROJOBS_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "ready":
            break
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def cpu_of_family(pid: int) -> float:
    """Return the CPU seconds that a process and its children have used."""
    import psutil

    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in family)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures HeroJobs' own speed.")
    parser.add_argument("--runs", type=int, default=3, help="runs of each figure; the median is shown (3)")
    parser.add_argument("--jobs", type=int, default=20_000, help="jobs of a drain (20000)")
    options = parser.parse_args()
    rows: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="hj") as folder:
        home = Path(folder)
        try:
            with HeroJobs(home=home) as hero:
                for _ in range(options.runs):
                    time.sleep(3)  # what the run before has left for the disk
                    trips = latency(hero, home, 500)
                    measured = {
                        "submit, one by one (jobs/s)": submit_one_by_one(hero, 2_000),
                        "submit_many (jobs/s)": submit_many(hero, options.jobs),
                    }
                    hero.empty("bench", "bulk")
                    measured["drain, synchronous (jobs/s)"], cpu = drain(hero, home, options.jobs, NO_OP)
                    measured["  CPU of WatchDog and workers (µs a job)"] = cpu
                    measured["drain, asynchronous (jobs/s)"], cpu = drain(hero, home, options.jobs, ASYNC_NO_OP)
                    measured["  CPU of WatchDog and workers (µs a job), asynchronous"] = cpu
                    measured["round trip, p50 (ms)"] = trips[len(trips) // 2]
                    measured["round trip, p99 (ms)"] = trips[len(trips) * 99 // 100]
                    for sync, count in (("always", 200), ("interval", 5_000), ("never", 5_000)):
                        measured[f"OurDB add, {sync} (records/s)"] = ourdb_adds(home, sync, count)
                    measured["OurDB add_many, 400 bytes (records/s)"] = ourdb_bulk(home, 100_000)
                    for name, figure in measured.items():
                        rows.setdefault(name, []).append(figure)
        finally:
            embedded.stop(home)
    table = Table(title=f"HeroJobs on {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for column in ("figure", "median", "min", "max"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for name, figures in rows.items():
        table.add_row(
            name,
            *(
                f"{figure:,.2f}" if figure < 100 else f"{figure:,.0f}"
                for figure in (statistics.median(figures), min(figures), max(figures))
            ),
        )
    Console().print(table)


if __name__ == "__main__":
    main()
