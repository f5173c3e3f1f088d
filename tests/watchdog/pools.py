"""A pool of real workers without Redis and OurDB: what tests of single runs need."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from herojobs.job import Job, encode
from herojobs.names import Queue
from herojobs.settings import load
from herojobs.watchdog.pool import Pool
from herojobs.watchdog.runs import Run


class PoolDriver:
    """Drives a `Pool` as a WatchDog does: ticks it, and collects what comes out."""

    def __init__(self, home: Path, **settings: Any) -> None:
        self.settings = load({}, **({"home": home, "workers": 1, "actors": ["support.actors"]} | settings))
        self._changed = asyncio.Event()
        self._numbers = itertools.count(1)
        self.pool = Pool(asyncio.get_running_loop(), self.settings, self._changed.set)

    async def __aenter__(self) -> PoolDriver:
        await self.pool.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.pool.close()

    def run(self, script: str, timeout: int = 60, circle: str = "c", **fields: Any) -> Run:
        """Return a run of a job, attempt 1; not dispatched yet."""
        number = next(self._numbers)
        job = Job(job_id=number, circle_id=circle, topic="t", params=script, attempts=1, status="active", **fields)
        run = Run(number, Queue(circle, "t"), number, number, f"token{number}", job, timeout)
        run.data = encode(job)
        return run

    def dispatch(self, *runs: Run) -> tuple[Run, ...]:
        self.pool.dispatch(list(runs))
        return runs

    async def until(self, condition: Callable[[], Any], seconds: float = 60) -> None:
        """Tick until a condition holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it didn't happen"
            self.pool.tick()
            self._changed.clear()
            try:
                async with asyncio.timeout(0.02):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def finish(self, *runs: Run, seconds: float = 15) -> None:
        """Tick until runs have left the pool, by an end or back to their queues."""
        await self.until(lambda: not any(run in self.pool.runs() for run in runs), seconds)

    async def warm(self, count: int = 30) -> None:
        """Run short jobs, so that the worker is sent jobs ahead."""
        for _ in range(count):
            await self.finish(*self.dispatch(self.run("!!core.echo")))
        self.pool.ended.clear()

    def log_of(self, run: Run) -> str:
        return "".join(text for of, text in self.pool.output if of is run)
