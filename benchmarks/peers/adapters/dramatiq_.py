"""Dramatiq: two processes of eight threads with the Results middleware; 100 threads for waiting jobs; the AsyncIO
middleware for asynchronous ones. No bulk call (a group sends one message a task).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

import dramatiq
from benchmarks.peers import marks
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AsyncIO
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

PACKAGES = ["dramatiq[redis]==2.2.1", "hiredis==3.5.0"]
SHARE = 0.5
broker = RedisBroker(url=os.environ["BENCH_REDIS"])
broker.add_middleware(Results(backend=RedisBackend(url=os.environ["BENCH_REDIS"])))
broker.add_middleware(AsyncIO())
dramatiq.set_broker(broker)
TASKS = {
    "sync": dramatiq.actor(marks.no_op, actor_name="sync", store_results=True),
    "async": dramatiq.actor(marks.async_no_op, actor_name="async_", store_results=True),
    "io": dramatiq.actor(marks.async_wait, actor_name="io", store_results=True),
    "cpu": dramatiq.actor(marks.cpu, actor_name="cpu", store_results=True),
}
_RUN = [sys.executable, "-m", "dramatiq", "benchmarks.peers.adapters.dramatiq_"]
WORKERS = {
    "sync": [[*_RUN, "-p", "2", "-t", "8"]],
    "async": [[*_RUN, "-p", "2", "-t", "8"]],
    "cpu": [[*_RUN, "-p", "2", "-t", "8"]],
    "io": [[*_RUN, "-p", "2", "-t", "50"]],
}


def single(kind: str, count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        TASKS[kind].send()
    return time.perf_counter() - began


bulk = single


def trips(count: int) -> Iterator[float]:
    for _ in range(count):
        began = time.perf_counter()
        TASKS["sync"].send().get_result(block=True, timeout=30_000)
        yield time.perf_counter() - began
