"""Changing the rules of the home: which circles and topics are paused."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import msgspec

from herojobs.errors import RedisUnavailable
from herojobs.live.transport import Redis
from herojobs.names import Queue
from herojobs.store.rules import RuleFile, Rules, rule_name


class RuleBook:
    """What a client does about rules; a part of `herojobs.client.core.Core`.

    Args:
        file: where they are kept.
        redis: where WatchDogs are told that they changed.
    """

    def __init__(self, file: RuleFile, redis: Redis) -> None:
        self._file = file
        self._redis = redis

    def read(self) -> Rules:
        """Return the rules as they are now."""
        return self._file.read()

    async def pause(self, circle_id: str, topic: str | None) -> None:
        """Have no more jobs of a circle or topic start; see `HeroJobs.pause`."""
        name = rule_name(circle_id, topic)
        await self._change(circle_id, topic, lambda rules: msgspec.structs.replace(rules, paused=rules.paused | {name}))

    async def resume(self, circle_id: str, topic: str | None) -> None:
        """Have jobs of a circle or topic start again; see `HeroJobs.resume`."""
        name = rule_name(circle_id, topic)
        await self._change(circle_id, topic, lambda rules: msgspec.structs.replace(rules, paused=rules.paused - {name}))

    async def _change(self, circle_id: str, topic: str | None, make: Callable[[Rules], Rules]) -> None:
        self._file.change(make)
        with suppress(RedisUnavailable):  # without it they claim nothing, and they look into the file by themselves
            await self._redis.tell_watchdogs(Queue.of(circle_id, topic or "x"), "rules")
