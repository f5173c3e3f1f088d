from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from herojobs.job import Job
from herojobs.live.redis import BlockingRedis, run_sync
from herojobs.names import Queue
from herojobs.schedules import ScheduleBook, Ticker
from herojobs.settings import Settings, load
from herojobs.store import JobStore


class TickerDriver:
    """A ticker with parts of its own, as each WatchDog has it."""

    def __init__(self, settings: Settings) -> None:
        self.book = ScheduleBook(settings)
        self.store = JobStore(settings)
        self.redis = BlockingRedis(settings.redis_url)
        self.ticker = Ticker(self.book, self.store, self.redis, self._apart)
        self.before: Callable[[str], None] = lambda _: None
        """Called with the name of each part of a tick before it happens: a test may raise or do something else."""

    async def _apart(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self.before(function.__name__)
        return function(*arguments)

    def step(self, now: int) -> int:
        return run_sync(self.ticker.step(now))

    def jobs(self, queue: Queue) -> list[Job]:
        """All jobs of a queue, in order."""
        return [job for job in self.store.get_many(queue, range(1, self.store.next_id(queue))) if job is not None]

    def close(self) -> None:
        self.book.close()
        self.store.close()
        run_sync(self.redis.close())


@pytest.fixture
def settings(tmp_path: Path, redis_url: str) -> Settings:
    return load({}, home=tmp_path / "home", redis_url=redis_url)


@pytest.fixture
def tickers(settings: Settings) -> Iterator[Callable[[], TickerDriver]]:
    with ExitStack() as stack:

        def new() -> TickerDriver:
            made = TickerDriver(settings)
            stack.callback(made.close)
            return made

        yield new
