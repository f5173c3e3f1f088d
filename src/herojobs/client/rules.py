"""Changing the rules of the home: what is paused, and what has limits."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import msgspec

from herojobs.errors import InvalidLimit, RedisUnavailable, did_you_mean
from herojobs.limits import Limit, check_limit, limit_name
from herojobs.live.transport import Redis
from herojobs.names import Queue
from herojobs.settings import Settings
from herojobs.store.rules import RuleFile, Rules, rule_name


class RuleBook:
    """What a client does about rules; a part of `herojobs.client.core.Core`.

    Args:
        settings: the settings in force.
        file: where they are kept.
        redis: where WatchDogs are told that they changed.
    """

    def __init__(self, settings: Settings, file: RuleFile, redis: Redis) -> None:
        self._settings = settings
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

    async def limits(self) -> dict[str, Limit]:
        """Return the limits in force; see `HeroJobs.limits`."""
        return self._in_force()

    def _in_force(self) -> dict[str, Limit]:
        set_ = {limit_name(name): limit for name, limit in self._settings.limit.items()}
        return dict(sorted((set_ | self._file.read().limits).items()))

    async def set_limit(
        self,
        name: str,
        jobs: int | None,
        rate: str | None,
        key_jobs: int | None,
        key_rate: str | None,
        weight: int | None,
    ) -> Limit:
        """Change a limit; see `HeroJobs.set_limit`."""
        fixed = limit_name(name)
        given = {"jobs": jobs, "rate": rate, "key_jobs": key_jobs, "key_rate": key_rate, "weight": weight}
        changes = {field: value for field, value in given.items() if value is not None}

        def make(rules: Rules) -> Rules:
            before = rules.limits.get(fixed) or self._in_force().get(fixed) or Limit()
            made[fixed] = check_limit(fixed, msgspec.structs.replace(before, **changes))
            return msgspec.structs.replace(rules, limits=rules.limits | made)

        made: dict[str, Limit] = {}
        await self._change("x", None, make)
        return made[fixed]

    async def remove_limit(self, name: str) -> None:
        """Undo `set_limit`; see `HeroJobs.remove_limit`."""
        fixed = limit_name(name)

        def make(rules: Rules) -> Rules:
            if fixed not in rules.limits:
                where = "it stands in the settings" if fixed in self._in_force() else "there is none of this name"
                raise InvalidLimit("name", name, where, did_you_mean(fixed, rules.limits))
            return msgspec.structs.replace(
                rules, limits={each: limit for each, limit in rules.limits.items() if each != fixed}
            )

        await self._change("x", None, make)

    async def _change(self, circle_id: str, topic: str | None, make: Callable[[Rules], Rules]) -> None:
        self._file.change(make)
        with suppress(RedisUnavailable):  # without it they claim nothing, and they look into the file by themselves
            await self._redis.tell_watchdogs(Queue.of(circle_id, topic or "x"), "rules")
