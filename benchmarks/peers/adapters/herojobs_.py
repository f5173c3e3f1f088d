"""HeroJobs: one WatchDog with two workers, default settings: results kept, and every version of a job in OurDB."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from herojobs import HeroJobs, Job

PACKAGES: list[str] = []  # this checkout's environment
SCRIPTS = {"sync": "!!bench.no_op", "async": "!!bench.async_no_op", "io": "!!bench.async_wait", "cpu": "!!bench.cpu"}
_RUN = [sys.executable, "-m", "herojobs", "watchdog", "--workers", "2", "--actors", "benchmarks.peers.actors"]
WORKERS = {kind: [_RUN] for kind in SCRIPTS}


def single(kind: str, count: int) -> float:
    with HeroJobs() as hero:
        began = time.perf_counter()
        for _ in range(count):
            hero.submit(SCRIPTS[kind], circle_id="bench")
        return time.perf_counter() - began


def bulk(kind: str, count: int) -> float:
    with HeroJobs() as hero:
        began = time.perf_counter()
        hero.submit_many(Job(params=SCRIPTS[kind], circle_id="bench") for _ in range(count))
        return time.perf_counter() - began


def trips(count: int) -> Iterator[float]:
    with HeroJobs() as hero:
        for _ in range(count):
            began = time.perf_counter()
            hero.wait(hero.submit(SCRIPTS["sync"], circle_id="bench"), timeout=30)
            yield time.perf_counter() - began
