"""The WatchDog's part in schedules: have the jobs of what is due made, in time and at no cost while nothing is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from herojobs.job import now_ms
from herojobs.live.redis import AsyncRedis
from herojobs.names import Queue
from herojobs.schedules import ScheduleBook, Ticker
from herojobs.settings import Settings
from herojobs.store import JobStore

log = logging.getLogger("herojobs.watchdog")

LOOK = 1.0
"""Seconds between two looks at the book, in which other processes write; sooner if a tick is due."""
LEAST = 0.02


class Timer:
    """Steps a `Ticker` whenever something is due.

    Args:
        settings: where the home is.
        store: where jobs are stored.
        redis: where they are queued.
        serves: tells whether a queue is one of this WatchDog's.
    """

    def __init__(self, settings: Settings, store: JobStore, redis: AsyncRedis, serves: Callable[[Queue], bool]) -> None:
        self._book = ScheduleBook(settings)
        self._ticker = Ticker(self._book, store, redis, asyncio.to_thread, serves)
        self._trouble = ""

    async def step(self) -> None:
        """Make what is due, then wait for the next tick."""
        try:
            await self._ticker.step()
            next_ms = self._book.next_ms()
        except OSError as e:  # damaged, or its disk is full: jobs run on without schedules
            if str(e) != self._trouble:
                log.error("the schedules in %s can't be read: %s", self._book.path, e)
            self._trouble = str(e)
            next_ms = 0
        pause = (next_ms - now_ms()) / 1000 if next_ms else LOOK
        await asyncio.sleep(min(LOOK, max(LEAST, pause)) if pause > 0 else LOOK / 4)

    def close(self) -> None:
        """Close the book."""
        self._ticker.close()
        self._book.close()
