"""Whether memory stays flat: `python -m benchmarks.memory`.

One WatchDog with two workers drains no-op jobs, first synchronous ones, then asynchronous ones; told is what it and its
workers hold together (PSS, thus shared pages once) after each tenth of them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks import page
from herojobs import HeroJobs, Job
from herojobs.live import embedded

JOBS = {"synchronous": "!!fake.return_success", "asynchronous": "!!fake.sleep seconds:0"}
PORTION = 5_000
MOST_WAITING = 20_000
TENTHS = 10


def family_pss(pid: int) -> float:
    """Return the megabytes that a process and its descendants hold."""
    process = psutil.Process(pid)
    return sum(each.memory_full_info().pss for each in [process, *process.children(recursive=True)]) / 1e6


def samples(hero: HeroJobs, pid: int, params: str, jobs: int) -> list[float]:
    """Run jobs; return the memory after each tenth of them."""
    found = []
    submitted = 0
    for tenth in range(1, TENTHS + 1):
        until = jobs * tenth // TENTHS
        while True:
            waiting = sum(queue.waiting + queue.active for queue in hero.queues())
            if submitted < jobs and waiting <= MOST_WAITING - PORTION:
                count = min(PORTION, jobs - submitted)
                hero.submit_many(Job(params=params, circle_id="memory") for _ in range(count))
                submitted += count
            elif submitted - waiting >= until:
                break
            else:
                time.sleep(0.05)
        found.append(family_pss(pid))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=100_000, help="jobs of each sort (100000)")
    parser.add_argument("--write", action="store_true", help="write the table to docs/")
    options = parser.parse_args()
    jobs: int = options.jobs
    lines = ["| jobs |" + "".join(f" {jobs * tenth // TENTHS:,} |" for tenth in range(1, TENTHS + 1))]
    lines.append("|---|" + "---:|" * TENTHS)
    with tempfile.TemporaryDirectory(prefix="hj") as folder:
        home = Path(folder)
        command = [sys.executable, "-m", "herojobs", "watchdog", "--workers", "2"]
        environ = {**os.environ, "HEROJOBS_HOME": folder, "HEROJOBS_RESULT_TTL": "60"}
        watchdog = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            assert watchdog.stdout is not None
            watchdog.stdout.readline()
            with HeroJobs(home=home) as hero:
                for sort, params in JOBS.items():
                    found = samples(hero, watchdog.pid, params, jobs)
                    lines.append(f"| {sort} |" + "".join(f" {each:.1f} MB |" for each in found))
        finally:
            watchdog.terminate()
            watchdog.wait(60)
            embedded.stop(home)
    print("\n".join(lines))
    if options.write:
        page.put("memory", lines)


if __name__ == "__main__":
    main()
