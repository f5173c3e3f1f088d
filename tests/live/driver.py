"""Drives both transports alike."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

from herojobs.live.call import Call
from herojobs.live.redis import AsyncRedis, Redis, run_sync

T = TypeVar("T")
R = TypeVar("R", bound=Redis)


class Driver(Generic[R]):
    """Runs coroutines of a transport to their end, with an event loop if it needs one."""

    def __init__(self, redis: R) -> None:
        self.redis = redis
        self._loop = asyncio.new_event_loop() if isinstance(redis, AsyncRedis) else None

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(coroutine) if self._loop else run_sync(coroutine)

    def run(self, call: Call[T]) -> T:
        return self.do(self.redis.run(call))

    def command(self, *words: str | bytes | int) -> Any:
        return self.do(self.redis.command(*words))

    def close(self) -> None:
        self.do(self.redis.close())
        if self._loop:
            self._loop.close()
