"""The feed: every queue's events, heard over one connection and handed to whoever asked for them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from herojobs.errors import RedisUnavailable
from herojobs.live.events import Event, decode_events
from herojobs.live.redis import AsyncRedis
from herojobs.names import Queue

log = logging.getLogger("herojobs.server")

PAUSE = 0.5
"""Seconds between two tries to listen again."""

Listener = Callable[[Queue, list[Event]], None]


class Feed:
    """Listens to all events; an asynchronous context manager.

    Args:
        redis: the connection to listen over.

    Attributes:
        gaps: how often events were missed since Redis was away.
    """

    def __init__(self, redis: AsyncRedis) -> None:
        self._redis = redis
        self._listeners: set[Listener] = set()
        self._task: asyncio.Task[None] | None = None
        self.gaps = 0
        self.on_gap: set[Callable[[], None]] = set()

    async def __aenter__(self) -> Feed:
        listening = asyncio.Event()
        self._task = asyncio.create_task(self._run(listening))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await listening.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def add(self, listener: Listener) -> None:
        """Have a function called with each queue's events as they come; it must be quick."""
        self._listeners.add(listener)

    def remove(self, listener: Listener) -> None:
        """Stop calling a function."""
        self._listeners.discard(listener)

    async def _run(self, listening: asyncio.Event) -> None:
        while True:
            try:
                async for queue, message in self._redis.all_events(listening.set):
                    if not self._listeners:
                        continue
                    events = decode_events(message)
                    for listener in tuple(self._listeners):
                        listener(queue, events)
            except RedisUnavailable as e:
                log.debug("events: %s", e)
                self.gaps += 1
                for told in tuple(self.on_gap):
                    told()
                await asyncio.sleep(PAUSE)
