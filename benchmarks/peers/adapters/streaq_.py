"""streaQ: two workers on asyncio with concurrency and prefetch of 100, `enqueue_many` for bulk. Synchronous ones run in
threads.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from benchmarks.peers import marks
from streaq import Worker

PACKAGES = ["streaq==7.2.0"]
SHARE = 0.5
SHARE_OF_TRIPS = 0.2
worker = Worker(redis_url=os.environ["BENCH_REDIS"], concurrency=100, anyio_backend="asyncio")
TASKS = {
    "sync": worker.task(marks.no_op),
    "async": worker.task(marks.async_no_op),
    "io": worker.task(marks.async_wait),
    "cpu": worker.task(marks.cpu),
}
_RUN = [sys.executable, "-m", "benchmarks.peers.adapters.streaq_"]
WORKERS = {kind: [_RUN, _RUN] for kind in ("sync", "async", "cpu")} | {"io": [_RUN]}


def single(kind: str, count: int) -> float:
    async def run() -> float:
        async with worker:
            began = time.perf_counter()
            for _ in range(count):
                await TASKS[kind].enqueue()
            return time.perf_counter() - began

    return asyncio.run(run())


def bulk(kind: str, count: int) -> float:
    async def run() -> float:
        async with worker:
            began = time.perf_counter()
            await worker.enqueue_many([TASKS[kind].enqueue() for _ in range(count)])
            return time.perf_counter() - began

    return asyncio.run(run())


def trips(count: int) -> list[float]:
    async def run() -> list[float]:
        found = []
        async with worker:
            for _ in range(count):
                began = time.perf_counter()
                task = await TASKS["async"].enqueue()
                await task.result(timeout=30)
                found.append(time.perf_counter() - began)
        return found

    return asyncio.run(run())


if __name__ == "__main__":
    worker.run_sync()  # its command would log two lines a task
