"""What circles use of AI models, summed in Redis: one hash a circle and day (UTC), docs/redis.md.

A hash `heroai:<circle>:<yyyy-mm-dd>` has fields `<model>:<what>`, and the same under the model `*` for all models
together. Costs are in millionths of a USD, as integers, so that sums stay exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from typing import NamedTuple

from redis.exceptions import RedisError

from herojobs.live.transport import Command, Redis
from herojobs.live.trouble import refused

KEPT = 400
"""Days that sums are kept."""

ALL = "*"
_COUNTS = ("jobs", "requests", "input", "cached", "output", "tools", "cost", "unpriced")


class Used(NamedTuple):
    """What was used. Sums of them add up.

    Attributes:
        jobs: jobs that ended.
        requests: requests that the provider answered.
        input: tokens sent, cached ones among them.
        cached: tokens sent that were in the provider's cache.
        output: tokens received.
        tools: tool calls.
        cost: millionths of a USD.
        unpriced: requests whose cost isn't known, so that `cost` is less than what was paid.
    """

    jobs: int = 0
    requests: int = 0
    input: int = 0
    cached: int = 0
    output: int = 0
    tools: int = 0
    cost: int = 0
    unpriced: int = 0

    @property
    def tokens(self) -> int:
        """Tokens sent and received."""
        return self.input + self.output

    @property
    def usd(self) -> float | None:
        """The cost in USD; None where nothing is known of it."""
        return None if self.unpriced and not self.cost else self.cost / 1e6

    def plus(self, other: Used) -> Used:
        """Return the sum of two."""
        return Used(*(a + b for a, b in zip(self, other, strict=True)))


class Need(NamedTuple):
    """What a request may use: tokens, and millionths of a USD."""

    tokens: int
    cost: int


class Limits(NamedTuple):
    """What a circle may use in a day: tokens, and millionths of a USD; 0 = no limit."""

    tokens: int
    cost: int


def today() -> date:
    """Return the day that counts now: UTC's."""
    return datetime.now(UTC).date()


def key(redis: Redis, circle: str, day: date) -> str:
    """Return the name of a circle's hash of a day."""
    name = f"{{{circle}}}" if redis.keys.cluster else circle
    return f"heroai:{name}:{day.isoformat()}"


def _held(redis: Redis, circle: str) -> str:
    name = f"{{{circle}}}" if redis.keys.cluster else circle
    return f"heroai:{name}:held"


async def hold(redis: Redis, circle: str, request: str, need: Need, limits: Limits, seconds: float) -> tuple[bool, int]:
    """Reserve what a request may use, unless a limit leaves no room for it beside the sums and what others reserved.

    Args:
        redis: who keeps it.
        circle: the circle, its name fixed.
        request: names the request; one that has reserved something reserves this in its place.
        need: what it may use.
        limits: the circle's.
        seconds: how long the reservation lasts unless it is given back, by `add` or `give_back`.

    Returns:
        whether it is reserved, and how many others have reserved something.

    Raises:
        RedisUnavailable: Redis can't be reached.
    """
    script = files("herojobs.live").joinpath("hold_usage.lua").read_text("utf-8")
    names = key(redis, circle, today()), _held(redis, circle)
    granted, others = await redis.command("EVAL", script, 2, *names, request, *need, *limits, int(seconds * 1000))
    return bool(granted), int(others)


async def give_back(redis: Redis, circle: str, request: str) -> None:
    """Give back what a request has reserved; raises as `hold`."""
    await redis.command("HDEL", _held(redis, circle), request)


async def add(redis: Redis, circle: str, model: str, used: Used, request: str) -> None:
    """Add to a circle's sums of today, and give back what the request has reserved.

    Raises:
        RedisUnavailable: Redis can't be reached.
    """
    name = key(redis, circle, today())
    commands: list[Command] = []
    for what, value in zip(_COUNTS, used, strict=True):
        if value:
            commands += [("HINCRBY", name, f"{each}:{what}", value) for each in (model, ALL)]
    commands += [("EXPIRE", name, KEPT * 86_400), ("HDEL", _held(redis, circle), request)]
    replies = await redis.exchange(commands)
    for reply in replies:
        if isinstance(reply, RedisError):
            raise refused(redis.address, name, reply)


async def spent_today(redis: Redis, circle: str) -> Used:
    """Return what a circle has used today.

    Raises:
        RedisUnavailable: Redis can't be reached.
    """
    return _by_model(await redis.command("HGETALL", key(redis, circle, today()))).get(ALL, Used())


async def read(redis: Redis, circle: str, days: int) -> dict[date, dict[str, Used]]:
    """Return a circle's sums of the last days, today's among them, by day and model; `*` is all models.

    Raises:
        RedisUnavailable: Redis can't be reached.
    """
    wanted = [today() - timedelta(days=back) for back in range(days)]
    replies = await redis.exchange([("HGETALL", key(redis, circle, day)) for day in wanted], True)
    for reply in replies:
        if isinstance(reply, RedisError):
            raise refused(redis.address, "HGETALL", reply)
    return {day: found for day, reply in zip(wanted, replies, strict=True) if (found := _by_model(reply))}


async def circles(redis: Redis) -> list[str]:
    """Return the circles that have sums, sorted.

    Raises:
        RedisUnavailable: Redis can't be reached.
    """
    found = set()
    cursor: bytes | int = 0
    while True:
        cursor, keys = await redis.command("SCAN", cursor, "MATCH", "heroai:*", "COUNT", 1000)
        found |= {each.decode("utf-8", "replace").split(":")[1].strip("{}") for each in keys}
        if int(cursor) == 0:
            return sorted(found)


def _by_model(reply: Sequence[bytes]) -> dict[str, Used]:
    sums: dict[str, dict[str, int]] = {}
    fields: Mapping[bytes, bytes] = dict(zip(reply[::2], reply[1::2], strict=True))
    for field, value in fields.items():
        model, _, what = field.decode("utf-8", "replace").rpartition(":")
        if what in _COUNTS:
            sums.setdefault(model, {})[what] = int(value)
    return {model: Used(**counts) for model, counts in sums.items()}
