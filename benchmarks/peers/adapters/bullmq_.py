"""BullMQ for Python: two processes of one Worker each, concurrency 100; `addBulk` for bulk. Processors are coroutines:
synchronous handlers run on the loop.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from typing import Any

from benchmarks.peers import marks
from bullmq import Queue, Worker

PACKAGES = ["bullmq==3.4.4", "hiredis==3.5.0"]
SHARE = 0.5
SHARE_OF_TRIPS = 0.5
CONNECTION = {"connection": os.environ["BENCH_REDIS"]}
_RUN = [sys.executable, "-m", "benchmarks.peers.adapters.bullmq_"]
WORKERS = {kind: [_RUN, _RUN] for kind in ("sync", "async", "cpu")} | {"io": [_RUN]}


async def process(job: Any, token: str) -> str:
    if job.name == "sync":
        return marks.no_op()
    if job.name == "async":
        return await marks.async_no_op()
    if job.name == "io":
        return await marks.async_wait()
    return marks.cpu()


async def work() -> None:
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    worker = Worker("bench", process, {**CONNECTION, "concurrency": 100})
    await over.wait()
    await worker.close()


def single(kind: str, count: int) -> float:
    async def run() -> float:
        queue = Queue("bench", CONNECTION)
        began = time.perf_counter()
        for _ in range(count):
            await queue.add(kind, {}, {})
        seconds = time.perf_counter() - began
        await queue.close()
        return seconds

    return asyncio.run(run())


def bulk(kind: str, count: int) -> float:
    async def run() -> float:
        queue = Queue("bench", CONNECTION)
        began = time.perf_counter()
        for start in range(0, count, 1000):
            await queue.addBulk([{"name": kind, "data": {}} for _ in range(min(1000, count - start))])
        seconds = time.perf_counter() - began
        await queue.close()
        return seconds

    return asyncio.run(run())


def trips(count: int) -> list[float]:
    async def run() -> list[float]:
        queue = Queue("bench", CONNECTION)
        found = []
        for _ in range(count):
            began = time.perf_counter()
            job = await queue.add("async", {}, {})
            while not await job.isCompleted():  # noqa: ASYNC110 - it has no call that waits
                await asyncio.sleep(0.001)
            found.append(time.perf_counter() - began)
        await queue.close()
        return found

    return asyncio.run(run())


if __name__ == "__main__":
    asyncio.run(work())
