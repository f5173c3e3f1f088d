"""What stays behind after very many jobs: `python -m benchmarks.endurance --jobs 1000000`.

One WatchDog with two workers runs no-op jobs that are submitted in portions; results stay in Redis for one second.
Told are the keys and the memory of Redis before and after, and the memory of the WatchDog (RSS) and its family (PSS)
after a tenth of the jobs and at the end. Of Redis's memory, what it keeps for its connections, for cached scripts
and for its log of slow commands doesn't count: it depends on who is connected and on the machine's load, not on the
number of jobs, and each has a bound of its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from redis import Redis

from herojobs import HeroJobs, Job
from herojobs.live import embedded

PORTION = 10_000
MOST_WAITING = 20_000
LOOKS = 20
ASIDE = ("mem_clients_normal", "used_memory_scripts", "used_memory_scripts_eval", "mem_aof_buffer")
"""What is taken off; names differ between versions of Redis."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=200_000, help="jobs to run (200000)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hj") as folder:
        home = Path(folder)
        environ = {**os.environ, "HEROJOBS_HOME": folder, "HEROJOBS_RESULT_TTL": "1"}
        command = [sys.executable, "-m", "herojobs", "watchdog", "--workers", "2"]
        watchdog = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            assert watchdog.stdout is not None
            watchdog.stdout.readline()
            with HeroJobs(home=home) as hero, Redis(unix_socket_path=str(embedded.socket_path(home))) as redis:
                _run(hero, redis, watchdog.pid, options.jobs)
        finally:
            watchdog.terminate()
            watchdog.wait(60)
            embedded.stop(home)


def _run(hero: HeroJobs, redis: Redis, pid: int, jobs: int) -> None:
    _portion(hero, 1_000)
    _settle(hero, redis)
    _tell("before", redis, pid)
    began = time.perf_counter()
    for done in range(0, jobs, PORTION):
        if done == jobs // 10 // PORTION * PORTION:
            _tell(f"after {done:,}", redis, pid)
        _portion(hero, min(PORTION, jobs - done))
        while sum(queue.waiting for queue in hero.queues()) > MOST_WAITING - PORTION:
            time.sleep(0.05)
    _settle(hero, redis)
    _tell(f"after {jobs:,}", redis, pid)
    print(f"{jobs / (time.perf_counter() - began):,.0f} jobs/s, submitted and run")


def _portion(hero: HeroJobs, count: int) -> None:
    hero.submit_many(Job(params="!!fake.return_success", circle_id="endurance") for _ in range(count))


def _settle(hero: HeroJobs, redis: Redis) -> None:
    """Wait until everything has run and the results' time in Redis is over."""
    while any(queue.waiting or queue.active for queue in hero.queues()):
        time.sleep(0.1)
    time.sleep(2.5)  # what Redis removes by itself once its time is over
    before = -1
    while (keys := _keys(redis)) != before:
        before = keys
        time.sleep(1)


def _keys(redis: Redis) -> int:
    found: Any = redis.dbsize()
    return int(found)


def _memory(redis: Redis) -> int:
    """Return bytes that Redis uses for what it holds: the least of some looks, since buffers come and go."""
    redis.slowlog_reset()
    found: list[int] = []
    for _ in range(LOOKS):
        memory: Any = redis.info("memory")
        aside = sum(memory.get(name, 0) for name in ASIDE)
        found.append(int(memory["used_memory"]) - aside)
        time.sleep(0.1)
    return min(found)


def _tell(when: str, redis: Redis, pid: int) -> None:
    watchdog = psutil.Process(pid)
    family = [watchdog, *watchdog.children(recursive=True)]
    pss = sum(process.memory_full_info().pss for process in family)
    print(
        f"{when:18} Redis: {_keys(redis):,} keys, {_memory(redis) / 1e6:,.3f} MB;"
        f" WatchDog: {watchdog.memory_info().rss / 1e6:,.1f} MB RSS, with its workers {pss / 1e6:,.1f} MB PSS",
        flush=True,
    )


if __name__ == "__main__":
    main()
