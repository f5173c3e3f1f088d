"""arq: two workers, a short poll delay, many jobs at once. Handlers are asynchronous; synchronous ones run in its
executor.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings
from benchmarks.peers import marks

PACKAGES = ["arq==0.28.0"]
SHARE = 0.5
SETTINGS = RedisSettings.from_dsn(os.environ["BENCH_REDIS"])


async def sync(ctx: dict[str, Any]) -> str:
    return await asyncio.get_running_loop().run_in_executor(None, marks.no_op)


async def async_(ctx: dict[str, Any]) -> str:
    return await marks.async_no_op()


async def io(ctx: dict[str, Any]) -> str:
    return await marks.async_wait()


async def cpu(ctx: dict[str, Any]) -> str:
    return await asyncio.get_running_loop().run_in_executor(None, marks.cpu)


class WorkerSettings:
    functions = [sync, async_, io, cpu]  # noqa: RUF012 - as its documentation writes it
    redis_settings = SETTINGS
    max_jobs = 100
    poll_delay = 0.01
    keep_result = 3600
    allow_abort_jobs = False


NAMES = {"sync": "sync", "async": "async_", "io": "io", "cpu": "cpu"}
_RUN = [sys.executable, "-m", "arq", "benchmarks.peers.adapters.arq_.WorkerSettings"]
WORKERS = {kind: [_RUN, _RUN] for kind in ("sync", "async", "cpu")} | {"io": [_RUN]}


def single(kind: str, count: int) -> float:
    async def run() -> float:
        pool = await create_pool(SETTINGS)
        began = time.perf_counter()
        for _ in range(count):
            await pool.enqueue_job(NAMES[kind])
        return time.perf_counter() - began

    return asyncio.run(run())


def bulk(kind: str, count: int) -> float:
    async def run() -> float:
        pool = await create_pool(SETTINGS)
        began = time.perf_counter()
        for start in range(0, count, 100):
            await asyncio.gather(*(pool.enqueue_job(NAMES[kind]) for _ in range(min(100, count - start))))
        return time.perf_counter() - began

    return asyncio.run(run())


def trips(count: int) -> list[float]:
    async def run() -> list[float]:
        pool = await create_pool(SETTINGS)
        found = []
        for _ in range(count):
            began = time.perf_counter()
            job = await pool.enqueue_job("async_")
            assert job is not None
            await job.result(timeout=30, poll_delay=0.001)
            found.append(time.perf_counter() - began)
        return found

    return asyncio.run(run())
