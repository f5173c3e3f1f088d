"""How fast faults are dealt with: `PYTHONPATH=tests python -m chaos.figures`.

Prints, over many tries with real processes: how far jobs that don't end by themselves overrun their timeout, and how
long after the death of a worker, and of a WatchDog, its job runs again.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from herojobs import HeroJobs, Job, WatchDog
from herojobs.live import embedded
from live.servers import RedisServer

NEVER_ENDING = ("!!bad.loop", "!!bad.nap", "!!bad.stubborn", "!!bad.c_call", "!!fake.spin seconds:60", "!!bad.block")
TIMEOUT = 1
LEASE = 15.0


def overruns(given: dict[str, Any], tries: int) -> list[float]:
    """Return the milliseconds that jobs ran over their timeout, by OurDB's record of start and end."""
    with HeroJobs(**given) as hero, WatchDog(**given, workers=2):
        hero.wait(hero.submit("!!core.echo"), 20)
        jobs = [
            Job(params=NEVER_ENDING[n % len(NEVER_ENDING)], circle_id=f"c{n % 3}", timeout=TIMEOUT, max_attempts=1)
            for n in range(tries)
        ]
        found = []
        for job in hero.submit_many(jobs):
            done = hero.wait(job, tries * TIMEOUT * 3 + 30)
            assert done.reason == "timeout", done
            found.append(done.ended_ms - done.started_ms - TIMEOUT * 1000.0)
    return found


def after_worker_kills(given: dict[str, Any], folder: Path, tries: int) -> list[float]:
    """Return the milliseconds from a worker's SIGKILL to the next start of the job it ran."""
    found = []
    with HeroJobs(**given) as hero, WatchDog(**given, workers=1):
        for n in range(tries):
            marks = folder / f"worker{n}"
            job = hero.submit(f"!!good.mark file:'{marks}' seconds:30", max_attempts=5)
            (start,) = starts(marks, 1)
            os.kill(start.pid, signal.SIGKILL)
            killed = time.time()
            found.append((starts(marks, 2)[1].at - killed) * 1000)
            hero.cancel(job)
            hero.wait(job, 10)
    return found


def after_watchdog_kills(given: dict[str, Any], folder: Path, tries: int, lease: float) -> list[float]:
    """Return the milliseconds from a WatchDog's SIGKILL to its job's start at another that runs already."""
    found = []
    env = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "HEROJOBS_HOME": str(given["home"]),
        "HEROJOBS_REDIS_URL": str(given["redis_url"]),
        "HEROJOBS_ACTORS": "support.actors",
        "HEROJOBS_LEASE": str(lease),
        "HEROJOBS_WORKERS": "1",
    }

    def spawn() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "herojobs", "watchdog"],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    with HeroJobs(**given) as hero:
        dogs = [spawn(), spawn()]
        for n in range(tries):
            marks = folder / f"watchdog{n}"
            job = hero.submit(f"!!good.mark file:'{marks}' seconds:60", max_attempts=5, timeout=120)
            (start,) = starts(marks, 1)
            parent = psutil.Process(start.pid).ppid()
            place = next(i for i, dog in enumerate(dogs) if dog.pid == parent)
            dogs[place].kill()
            killed = time.time()
            found.append((starts(marks, 2, lease + 30)[1].at - killed) * 1000)
            hero.cancel(job)
            hero.wait(job, 10)
            dogs[place].wait()
            dogs[place] = spawn()
        for dog in dogs:
            dog.terminate()
        for dog in dogs:
            dog.wait(30)
    return found


class Start:
    """A line of the log that `good.mark` writes."""

    def __init__(self, line: str) -> None:
        _, attempt, pid, at = line.split()
        self.attempt, self.pid, self.at = int(attempt), int(pid), int(at) / 1e9


def starts(marks: Path, count: int, seconds: float = 20) -> list[Start]:
    """Wait for a number of starts, and return them."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if marks.exists() and len(lines := marks.read_text().splitlines()) >= count:
            return [Start(line) for line in lines]
        time.sleep(0.001)
    raise AssertionError(f"no {count} starts within {seconds} s")


def show(what: str, values: list[float]) -> None:
    """Print the distribution of some milliseconds."""
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(f"{what}: median {statistics.median(ordered):.0f} ms, p99 {p99:.0f} ms, most {ordered[-1]:.0f} ms"
          f" ({len(ordered)} tries)")  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=100, help="never-ending jobs; a tenth of it of each kill")
    options = parser.parse_args()
    measures: list[tuple[str, Callable[[dict[str, Any], Path], list[float]]]] = [
        ("over the timeout", lambda given, folder: overruns(given, options.tries)),
        (
            "from a worker's SIGKILL to the next start",
            lambda given, folder: after_worker_kills(given, folder, max(3, options.tries // 5)),
        ),
        (
            f"from a WatchDog's SIGKILL to the next start, lease {LEASE:g} s",
            lambda given, folder: after_watchdog_kills(given, folder, 3, LEASE),
        ),
        (
            "the same, lease 2 s",
            lambda given, folder: after_watchdog_kills(given, folder, max(3, options.tries // 10), 2),
        ),
    ]
    for what, measure in measures:
        server = RedisServer(embedded.find_program())
        try:
            with tempfile.TemporaryDirectory() as folder:
                given = {"home": Path(folder) / "home", "redis_url": server.url, "actors": ("support.actors",)}
                show(what, measure(given, Path(folder)))
        finally:
            server.close()


if __name__ == "__main__":
    main()
