"""A guard against getting slower: counts that don't depend on the machine's mood, against those of a stored baseline.

`make bench-check` counts, for a job: calls of Python functions while submitting and in the WatchDog, commands and bytes
that Redis sees while submitting and while a WatchDog runs jobs, and bytes written to OurDB.
`python -m benchmarks.check --write` renews the baseline, after a change that is meant to cost more, or costs less.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis import Redis

from benchmarks import counted
from herojobs import HeroJobs, Job, WatchDog
from herojobs.live import embedded

BASELINE = Path(__file__).with_name("baseline.json")
JOBS = 4_000
ALLOWED = 1.1
"""How many times the baseline a count may be; batches form a little differently in each run."""
TRIES = 3
"""How often is counted, as long as something seems to cost more: on a busy machine batches are smaller for a moment."""


def count() -> dict[str, float]:
    """Return all counts, for one job."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="hj") as folder:
        home = Path(folder)
        try:
            with HeroJobs(home=home) as hero, Redis(unix_socket_path=str(embedded.socket_path(home))) as redis:
                hero.submit("!!fake.return_success", circle_id="check")  # opens everything
                jobs = [Job(params="!!fake.return_success", circle_id="check") for _ in range(JOBS)]
                size = _ourdb_bytes(home)
                with _redis_work(redis, found, "submit_many"):
                    found["submit_many: calls of functions"] = _calls(lambda: hero.submit_many(jobs)) / JOBS
                found["submit_many: bytes in OurDB"] = (_ourdb_bytes(home) - size) / JOBS
                found["submit: calls of functions"] = (
                    _calls(lambda: [hero.submit("!!fake.return_success", circle_id="check") for _ in range(100)]) / 100
                )
                size = _ourdb_bytes(home)
                with _redis_work(redis, found, "run"), WatchDog(settings=hero.settings, workers=2):
                    hero.wait(f"check/default/{JOBS + 101}", timeout=60)
                found["run: bytes in OurDB"] = (_ourdb_bytes(home) - size) / JOBS
                found["run: calls of functions in the WatchDog"] = _watchdog_calls(hero, home) / JOBS
        finally:
            embedded.stop(home)
    return {name: round(value, 2) for name, value in sorted(found.items())}


def _watchdog_calls(hero: HeroJobs, home: Path) -> int:
    """Return how many calls a WatchDog makes for a backlog of `JOBS`, from when it may begin."""
    hero.pause("calls")
    last = hero.submit_many(Job(params="!!fake.return_success", circle_id="calls") for _ in range(JOBS))[-1]
    file = home / "calls"
    command = [sys.executable, "-m", "benchmarks.counted", str(file), "--home", str(home), "watchdog", "--workers", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        while process.stdout.readline() not in ("ready\n", ""):
            pass
        before = counted.read(file)
        hero.resume("calls")
        hero.wait(last, timeout=60)
        return counted.read(file) - before
    finally:
        process.terminate()
        process.wait(30)


def _calls(work: Callable[[], object]) -> int:
    """Return how many calls of Python functions, and of C functions from Python, some work makes."""
    total = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal total
        if event in ("call", "c_call"):
            total += 1

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return total


@contextmanager
def _redis_work(redis: Redis, found: dict[str, float], name: str) -> Iterator[None]:
    before = _redis_counts(redis)
    yield
    for what, value in _redis_counts(redis).items():
        found[f"{name}: Redis {what}"] = (value - before[what]) / JOBS


def _redis_counts(redis: Redis) -> dict[str, float]:
    commands: Any = redis.info("commandstats")
    stats: Any = redis.info("stats")
    return {
        "commands": sum(each["calls"] for each in commands.values()),
        "bytes in": stats["total_net_input_bytes"],
        "bytes out": stats["total_net_output_bytes"],
    }


def _ourdb_bytes(home: Path) -> int:
    return sum(path.stat().st_size for path in (home / "var" / "circles").rglob("*.db"))


def main() -> int:
    """Compare with the baseline; return 1 if something costs more than it did."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="make what is counted now the baseline")
    options = parser.parse_args()
    if options.write:
        lowest = count()
        for _ in range(TRIES - 1):
            lowest = _lower(lowest, count())
        BASELINE.write_text(json.dumps(lowest, indent=2) + "\n")
        return 0
    baseline: dict[str, float] = json.loads(BASELINE.read_text())
    found = count()
    for _ in range(TRIES - 1):
        if not _worse(found, baseline):
            break
        found = _lower(found, count())
    worse = _worse(found, baseline)
    for name, value in found.items():
        before = baseline.get(name, 0.0)
        change = f"{value / before:.2f} x" if before else "new, renew the baseline"
        print(f"{name:42}{before:>10.2f}{value:>10.2f}  {change}{'  more than allowed' if name in worse else ''}")
    return 1 if worse else 0


def _lower(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    return {name: min(value, other[name]) for name, value in one.items()}


def _worse(found: dict[str, float], baseline: dict[str, float]) -> set[str]:
    """Return the names of the counts that are higher than allowed."""
    return {name for name, value in found.items() if value > baseline.get(name, 0.0) * ALLOWED}


if __name__ == "__main__":
    sys.exit(main())
