"""Celery: prefork pool, prefetch multiplier raised for short tasks, gossip, mingle and heartbeat off, as its
optimisation guide advises; threads for waiting jobs. It has no asynchronous handlers and no bulk call (a group sends
one message a task).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

from benchmarks.peers import marks
from celery import Celery, group

PACKAGES = ["celery[redis]==5.7.0", "redis==8.1.0", "hiredis==3.5.0"]
SHARE = 0.25
app = Celery("bench", broker=os.environ["BENCH_REDIS"], backend=os.environ["BENCH_REDIS"])
app.conf.update(
    worker_prefetch_multiplier=64,
    worker_log_color=False,
    task_acks_late=False,
    broker_connection_retry_on_startup=True,
    result_expires=3600,
)
TASKS = {
    "sync": app.task(marks.no_op, name="sync"),
    "io": app.task(marks.wait, name="io"),
    "cpu": app.task(marks.cpu, name="cpu"),
}
_RUN = [
    *(sys.executable, "-m", "celery", "-A", "benchmarks.peers.adapters.celery_", "worker", "-l", "WARNING"),
    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
]
WORKERS = {
    "sync": [[*_RUN, "-P", "prefork", "-c", "2"]],
    "cpu": [[*_RUN, "-P", "prefork", "-c", "2"]],
    "io": [[*_RUN, "-P", "threads", "-c", "100", "--prefetch-multiplier", "1"]],
}


def single(kind: str, count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        TASKS[kind].delay()
    return time.perf_counter() - began


def bulk(kind: str, count: int) -> float:
    began = time.perf_counter()
    group(TASKS[kind].s() for _ in range(count)).apply_async()
    return time.perf_counter() - began


def trips(count: int) -> Iterator[float]:
    for _ in range(count):
        began = time.perf_counter()
        TASKS["sync"].delay().get(timeout=30)
        yield time.perf_counter() - began
