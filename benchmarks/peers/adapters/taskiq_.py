"""taskiq: two worker processes over taskiq-redis' list broker, result backend with an expiry, up to 100 async tasks at
once, on uvloop. Synchronous handlers run in its thread pool. No bulk call.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from benchmarks.peers import marks
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

PACKAGES = ["taskiq==0.13.0", "taskiq-redis==1.2.4", "hiredis==3.5.0", "uvloop==0.23.0"]
SHARE = 0.5
broker = ListQueueBroker(os.environ["BENCH_REDIS"]).with_result_backend(
    RedisAsyncResultBackend(os.environ["BENCH_REDIS"], result_ex_time=3600)
)
TASKS = {
    "sync": broker.task(task_name="sync")(marks.no_op),
    "async": broker.task(task_name="async")(marks.async_no_op),
    "io": broker.task(task_name="io")(marks.async_wait),
    "cpu": broker.task(task_name="cpu")(marks.cpu),
}
_RUN = [
    *(sys.executable, "-m", "taskiq", "worker", "benchmarks.peers.adapters.taskiq_:broker"),
    *("--max-async-tasks", "100", "--max-prefetch", "100", "--log-level", "WARNING"),
]
WORKERS = {kind: [[*_RUN, "--workers", "2"]] for kind in ("sync", "async", "cpu")} | {"io": [[*_RUN, "--workers", "1"]]}


def single(kind: str, count: int) -> float:
    async def run() -> float:
        await broker.startup()
        began = time.perf_counter()
        for _ in range(count):
            await TASKS[kind].kiq()
        return time.perf_counter() - began

    return asyncio.run(run())


def bulk(kind: str, count: int) -> float:
    async def run() -> float:
        await broker.startup()
        began = time.perf_counter()
        for start in range(0, count, 100):
            await asyncio.gather(*(TASKS[kind].kiq() for _ in range(min(100, count - start))))
        return time.perf_counter() - began

    return asyncio.run(run())


def trips(count: int) -> list[float]:
    async def run() -> list[float]:
        await broker.startup()
        found = []
        for _ in range(count):
            began = time.perf_counter()
            task = await TASKS["async"].kiq()
            await task.wait_result(check_interval=0.001, timeout=30)
            found.append(time.perf_counter() - began)
        return found

    return asyncio.run(run())
