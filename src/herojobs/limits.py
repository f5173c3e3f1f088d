"""Limits: how many jobs of a circle or topic run at once, how many start in a time, and which share a circle gets.

They stand in the setting `limit`, or are changed while WatchDogs run (`herojobs limit set`); what is changed counts
before what is set. Pure functions and values, no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from herojobs.errors import InvalidLimit
from herojobs.names import Queue, queue_name_fix

MAX_JOBS = 1_000_000
MAX_WEIGHT = 1000
MAX_RATE = 10_000
"""Most starts in a rate's window: Redis keeps the time of each of them."""

_UNITS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_RATE = re.compile(r"(\d{1,6}) ?/ ?(\d{0,6}) ?([smhd])")


class Limit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What holds for a circle or a topic; one table of the setting `limit`."""

    jobs: Annotated[int, Meta(ge=0, le=MAX_JOBS)] = 0
    """How many of its jobs run at once, all WatchDogs taken together; 0: any number."""

    rate: str = ""
    """How many of its jobs start in any span of time, like 10/s, 100/m, 5/30s or 1000/h; empty: any number."""

    key_jobs: Annotated[int, Meta(ge=0, le=MAX_JOBS)] = 0
    """Of a topic: how many jobs of one `limit_key` run at once; 0: any number."""

    key_rate: str = ""
    """Of a topic: how many jobs of one `limit_key` start in any span of time; empty: any number."""

    weight: Annotated[int, Meta(ge=1, le=MAX_WEIGHT)] = 1
    """Of a circle: how many jobs it gets started for each one of a circle of weight 1, while both have some
    waiting."""

    def __post_init__(self) -> None:
        for rate in (self.rate, self.key_rate):
            if rate:
                parse_rate(rate)


class Bound(NamedTuple):
    """A limit as the scripts take it: jobs at once, and starts in a window of milliseconds; 0 = any number."""

    jobs: int
    starts: int
    window_ms: int


class Limits:
    """All limits that are in force.

    Args:
        settings: the setting `limit`.
        changed: those changed at run time, which count before, by name.
    """

    def __init__(self, settings: Mapping[str, Limit], changed: Mapping[str, Limit]) -> None:
        self._limits = {limit_name(name): limit for name, limit in settings.items()} | dict(changed)
        self._topics: dict[Queue, Bound | None] = {}
        self._keys: dict[Queue, Bound | None] = {}
        self._circles: dict[str, Bound | None] = {}

    def __bool__(self) -> bool:
        return bool(self._limits)

    def of_topic(self, queue: Queue) -> Bound | None:
        """Return the bound of a queue: that of `circle/topic`, else of `circle/*`, else of `*/*`."""
        if queue not in self._topics:
            limit = self._nearest(str(queue), f"{queue.circle}/*", "*/*")
            self._topics[queue] = _bound(limit.jobs, limit.rate) if limit else None
        return self._topics[queue]

    def of_keys(self, queue: Queue) -> Bound | None:
        """Return the bound of each key within a queue."""
        if queue not in self._keys:
            limit = self._nearest(str(queue), f"{queue.circle}/*", "*/*")
            self._keys[queue] = _bound(limit.key_jobs, limit.key_rate) if limit else None
        return self._keys[queue]

    def of_circle(self, circle: str) -> Bound | None:
        """Return the bound of all topics of a circle taken together: that of the circle, else of `*`."""
        if circle not in self._circles:
            limit = self._nearest(circle, "*")
            self._circles[circle] = _bound(limit.jobs, limit.rate) if limit else None
        return self._circles[circle]

    def weight(self, circle: str) -> int:
        """Return a circle's weight."""
        limit = self._nearest(circle, "*")
        return limit.weight if limit else 1

    def _nearest(self, *names: str) -> Limit | None:
        return next((self._limits[name] for name in names if name in self._limits), None)


def _bound(jobs: int, rate: str) -> Bound | None:
    return Bound(jobs, *(parse_rate(rate) if rate else (0, 0))) if jobs or rate else None


def parse_rate(text: str) -> tuple[int, int]:
    """Return the starts and the window in milliseconds of a rate like 100/m or 5/30s.

    Raises:
        InvalidLimit: it is none.
    """
    match = _RATE.fullmatch(text.strip())
    if not match:
        raise InvalidLimit("rate", text, "no rate", "a number, / and a time, like 10/s, 100/m, 5/30s or 1000/h")
    starts, window = int(match[1]), int(match[2] or 1) * _UNITS[match[3]]
    if not 1 <= starts <= MAX_RATE:
        raise InvalidLimit("rate", text, "out of range", f"1 to {MAX_RATE:,} starts; a shorter time allows more")
    if not 0 < window <= 31 * _UNITS["d"]:
        raise InvalidLimit("rate", text, "out of range", "a time of at most 31 days")
    return starts, window


def limit_name(name: str) -> str:
    """Return the name of a limit as it is kept: `circle`, `circle/topic`, or with `*` for all that have none.

    Raises:
        InvalidLimit: it is none.
    """
    parts = [part.strip() if part.strip() == "*" else queue_name_fix(part) for part in name.split("/")]
    if len(parts) > 2 or not all(parts) or (len(parts) == 2 and parts[0] == "*" and parts[1] != "*"):
        raise InvalidLimit("name", name, "no circle or topic", "circle, circle/topic, circle/*, * or */*")
    return "/".join(parts)


def check_limit(name: str, limit: Limit) -> Limit:
    """Return a limit that makes sense under its name.

    Raises:
        InvalidLimit: it doesn't; the error says why.
    """
    for field in ("jobs", "key_jobs"):
        if not 0 <= getattr(limit, field) <= MAX_JOBS:
            raise InvalidLimit(field, getattr(limit, field), "out of range", f"0 (any number) to {MAX_JOBS:,}")
    if not 1 <= limit.weight <= MAX_WEIGHT:
        raise InvalidLimit("weight", limit.weight, "out of range", f"1 to {MAX_WEIGHT:,}")
    if "/" in limit_name(name) and limit.weight != 1:
        raise InvalidLimit("weight", limit.weight, "only circles have one", "the circle's name")
    if "/" not in limit_name(name) and (limit.key_jobs or limit.key_rate):
        raise InvalidLimit("name", name, "keys are limited within a topic", "circle/topic, circle/* or */*")
    return limit
