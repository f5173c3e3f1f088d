"""ArdiQ: two worker processes, concurrency 100, `enqueue_many` for bulk. Synchronous handlers run in its threads."""

from __future__ import annotations

import asyncio
import os
import sys
import time

from ardiq import Ardiq
from benchmarks.peers import marks

PACKAGES = ["ardiq==1.2.0"]
PYTHON = "3.12"
app = Ardiq(redis_url=os.environ["BENCH_REDIS"], queue_name="bench", concurrency=100)
TASKS = {
    "sync": app.task(marks.no_op),
    "async": app.task(marks.async_no_op),
    "io": app.task(marks.async_wait),
    "cpu": app.task(marks.cpu),
}
_RUN = [sys.executable, "-m", "ardiq", "run", "benchmarks.peers.adapters.ardiq_:app", "-q"]
WORKERS = {kind: [[*_RUN, "-w", "2"]] for kind in ("sync", "async", "cpu")} | {"io": [_RUN]}


def single(kind: str, count: int) -> float:
    async def run() -> float:
        began = time.perf_counter()
        for _ in range(count):
            await TASKS[kind].enqueue()
        return time.perf_counter() - began

    return asyncio.run(run())


def bulk(kind: str, count: int) -> float:
    async def run() -> float:
        began = time.perf_counter()
        for start in range(0, count, 1000):
            await app.enqueue_many([TASKS[kind].prepare() for _ in range(min(1000, count - start))])
        return time.perf_counter() - began

    return asyncio.run(run())


def trips(count: int) -> list[float]:
    async def run() -> list[float]:
        found = []
        for _ in range(count):
            began = time.perf_counter()
            job = await TASKS["async"].enqueue()
            await job.result(timeout=30)
            found.append(time.perf_counter() - began)
        return found

    return asyncio.run(run())
