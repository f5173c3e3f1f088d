"""RQ: a pool of two SimpleWorkers, which run jobs in the worker itself in place of a fork a job: its documented way
to more speed, without the protection. No asynchronous handlers.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

from benchmarks.peers import marks
from redis import Redis
from rq import Queue

PACKAGES = ["rq==3.0.0", "hiredis==3.5.0"]
SHARE = 0.1
queue = Queue(connection=Redis.from_url(os.environ["BENCH_REDIS"]))
TASKS = {"sync": marks.no_op, "io": marks.wait, "cpu": marks.cpu}
_RUN = [
    *(os.path.join(os.path.dirname(sys.executable), "rq"), "worker-pool", "-n", "2", "-w", "rq.SimpleWorker"),
    *("-q", "-u", os.environ["BENCH_REDIS"]),
]
WORKERS = {kind: [_RUN] for kind in ("sync", "cpu")}


def single(kind: str, count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        queue.enqueue(TASKS[kind])
    return time.perf_counter() - began


def bulk(kind: str, count: int) -> float:
    began = time.perf_counter()
    queue.enqueue_many([Queue.prepare_data(TASKS[kind]) for _ in range(count)])
    return time.perf_counter() - began


def trips(count: int) -> Iterator[float]:
    for _ in range(count):
        began = time.perf_counter()
        queue.enqueue(TASKS["sync"]).latest_result(timeout=30)
        yield time.perf_counter() - began
