"""mayu: two processes (a Python with the global lock) and prefetch 16; 50, thus as many at once, for waiting jobs. No
bulk call.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

from benchmarks.peers import marks
from mayu import App

PACKAGES = ["mayu==0.2.5"]
PYTHON = "3.13"
SHARE_OF_TRIPS = 0.5
app = App(broker=os.environ["BENCH_REDIS"], result_ttl=3600)
TASKS = {
    "sync": app.task(marks.no_op),
    "async": app.task(marks.async_no_op),
    "io": app.task(marks.async_wait),
    "cpu": app.task(marks.cpu),
}
_RUN = [
    *(sys.executable, "-m", "mayu", "worker", "benchmarks.peers.adapters.mayu_:app", "--log-level", "WARNING"),
    *("--mode", "process", "--processes", "2", "--prefetch-multiplier"),
]
WORKERS = {kind: [[*_RUN, "16"]] for kind in ("sync", "async", "cpu")} | {"io": [[*_RUN, "50"]]}


def single(kind: str, count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        TASKS[kind].send()
    return time.perf_counter() - began


bulk = single


def trips(count: int) -> Iterator[float]:
    for _ in range(count):
        began = time.perf_counter()
        TASKS["async"].send().result(timeout=30)
        yield time.perf_counter() - began
