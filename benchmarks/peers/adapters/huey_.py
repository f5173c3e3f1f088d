"""Huey: two worker processes, threads for waiting jobs, a short blocking pop in place of polling. No asynchronous
handlers and no bulk call.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

from benchmarks.peers import marks
from huey import RedisHuey

PACKAGES = ["huey==3.5.4", "redis==8.1.0", "hiredis==3.5.0"]
huey = RedisHuey("bench", url=os.environ["BENCH_REDIS"], blocking=True, results=True)
TASKS = {
    "sync": huey.task(name="sync")(marks.no_op),
    "io": huey.task(name="io")(marks.wait),
    "cpu": huey.task(name="cpu")(marks.cpu),
}
_RUN = [
    *(os.path.join(os.path.dirname(sys.executable), "huey_consumer"), "benchmarks.peers.adapters.huey_.huey"),
    *("-n", "-q"),
]
WORKERS = {
    "sync": [[*_RUN, "-k", "process", "-w", "2"]],
    "cpu": [[*_RUN, "-k", "process", "-w", "2"]],
    "io": [[*_RUN, "-k", "thread", "-w", "100"]],
}


def single(kind: str, count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        TASKS[kind]()
    return time.perf_counter() - began


bulk = single


def trips(count: int) -> Iterator[float]:
    for _ in range(count):
        began = time.perf_counter()
        TASKS["sync"]().get(blocking=True, max_delay=0.001)
        yield time.perf_counter() - began
