"""Procrastinate: jobs in PostgreSQL, not in Redis. Two workers with concurrency 100 that are notified of new jobs,
`batch_defer` for bulk; synchronous handlers run in threads. PostgreSQL answers before its log is on the disk
(synchronous_commit off), as the others' Redis does. It keeps no results: a round trip ends when the job's status does.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from typing import Any

from benchmarks.peers import marks
from procrastinate import App, PsycopgConnector
from procrastinate.jobs import Status

PACKAGES = ["procrastinate==3.10.0", "psycopg[binary,pool]==3.3.9"]
SERVER = "postgres"
SHARE = 0.1
app = App(connector=PsycopgConnector(conninfo=os.environ["BENCH_POSTGRES"]))
TASKS: dict[str, Any] = {
    "sync": app.task(name="sync")(marks.no_op),
    "async": app.task(name="async")(marks.async_no_op),
    "io": app.task(name="io")(marks.async_wait),
    "cpu": app.task(name="cpu")(marks.cpu),
}
_RUN = [sys.executable, "-m", "benchmarks.peers.adapters.procrastinate_"]
WORKERS = {kind: [_RUN, _RUN] for kind in ("sync", "async", "cpu")} | {"io": [_RUN]}


def reset() -> None:
    with app.open():
        app.connector.get_sync_connector().execute_query("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        app.schema_manager.apply_schema()


def single(kind: str, count: int) -> float:
    with app.open():
        began = time.perf_counter()
        for _ in range(count):
            TASKS[kind].defer()
        return time.perf_counter() - began


def bulk(kind: str, count: int) -> float:
    with app.open():
        began = time.perf_counter()
        for start in range(0, count, 1000):
            TASKS[kind].batch_defer(*({} for _ in range(min(1000, count - start))))
        return time.perf_counter() - began


def trips(count: int) -> list[float]:
    async def run() -> list[float]:
        found = []
        async with app.open_async():
            for _ in range(count):
                began = time.perf_counter()
                number = await TASKS["async"].defer_async()
                while await app.job_manager.get_job_status_async(number) != Status.SUCCEEDED:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
                found.append(time.perf_counter() - began)
        return found

    return asyncio.run(run())


async def work() -> None:
    async with app.open_async():
        worker = asyncio.ensure_future(app.run_worker_async(concurrency=100, install_signal_handlers=False))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.cancel)
        await worker


if __name__ == "__main__":
    asyncio.run(work())
