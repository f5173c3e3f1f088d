"""SAQ: two workers with concurrency 100, jobs kept, results polled every ms. Handlers are
asynchronous; synchronous ones run in a thread.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Any

from benchmarks.peers import marks
from saq import Queue

PACKAGES = ["saq[redis]==0.26.4", "hiredis==3.5.0", "typing_extensions==4.16.0"]
SHARE = 0.5
queue = Queue.from_url(os.environ["BENCH_REDIS"])


async def sync(ctx: dict[str, Any]) -> str:
    return await asyncio.to_thread(marks.no_op)


async def async_(ctx: dict[str, Any]) -> str:
    return await marks.async_no_op()


async def io(ctx: dict[str, Any]) -> str:
    return await marks.async_wait()


async def cpu(ctx: dict[str, Any]) -> str:
    return await asyncio.to_thread(marks.cpu)


settings = {
    "queue": queue,
    "functions": [sync, async_, io, cpu],
    "concurrency": 100,
    "timers": {"sweep": 3600},  # it takes jobs that it has just fetched for lost, when it looks at that moment
}
NAMES = {"sync": "sync", "async": "async_", "io": "io", "cpu": "cpu"}
_RUN = [sys.executable, "-m", "saq", "benchmarks.peers.adapters.saq_.settings", "--quiet"]
WORKERS = {kind: [_RUN, _RUN] for kind in ("sync", "async", "cpu")} | {"io": [_RUN]}


def single(kind: str, count: int) -> float:
    async def run() -> float:
        await queue.connect()
        began = time.perf_counter()
        for _ in range(count):
            await queue.enqueue(NAMES[kind], ttl=3600)
        return time.perf_counter() - began

    return asyncio.run(run())


def bulk(kind: str, count: int) -> float:
    async def run() -> float:
        await queue.connect()
        began = time.perf_counter()
        for start in range(0, count, 100):
            await asyncio.gather(*(queue.enqueue(NAMES[kind], ttl=3600) for _ in range(min(100, count - start))))
        return time.perf_counter() - began

    return asyncio.run(run())


def trips(count: int) -> list[float]:
    async def run() -> list[float]:
        await queue.connect()
        found = []
        for _ in range(count):
            began = time.perf_counter()
            await queue.apply("async_", timeout=30, poll_interval=0.001)
            found.append(time.perf_counter() - began)
        return found

    return asyncio.run(run())
