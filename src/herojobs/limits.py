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

    weight: Annotated[int, Meta(ge=1, le=MAX_WEIGHT)] = 1
    """Of a circle: how many jobs it gets started for each one of a circle of weight 1, while both have some
    waiting."""

    def __post_init__(self) -> None:
        if self.rate:
            parse_rate(self.rate)


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
        self._circles: dict[str, Bound | None] = {}

    def __bool__(self) -> bool:
        return bool(self._limits)

    def of_topic(self, queue: Queue) -> Bound | None:
        """Return the bound of a queue: that of `circle/topic`, else of `circle/*`, else of `*/*`."""
        if queue not in self._topics:
            self._topics[queue] = self._bound(str(queue), f"{queue.circle}/*", "*/*")
        return self._topics[queue]

    def of_circle(self, circle: str) -> Bound | None:
        """Return the bound of all topics of a circle taken together: that of the circle, else of `*`."""
        if circle not in self._circles:
            self._circles[circle] = self._bound(circle, "*")
        return self._circles[circle]

    def weight(self, circle: str) -> int:
        """Return a circle's weight."""
        limit = self._limits.get(circle) or self._limits.get("*")
        return limit.weight if limit else 1

    def _bound(self, *names: str) -> Bound | None:
        limit = next((self._limits[name] for name in names if name in self._limits), None)
        if limit is None or not (limit.jobs or limit.rate):
            return None
        return Bound(limit.jobs, *(parse_rate(limit.rate) if limit.rate else (0, 0)))


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
    if not 0 <= limit.jobs <= MAX_JOBS:
        raise InvalidLimit("jobs", limit.jobs, "out of range", f"0 (any number) to {MAX_JOBS:,}")
    if not 1 <= limit.weight <= MAX_WEIGHT:
        raise InvalidLimit("weight", limit.weight, "out of range", f"1 to {MAX_WEIGHT:,}")
    if "/" in limit_name(name) and limit.weight != 1:
        raise InvalidLimit("weight", limit.weight, "only circles have one", "the circle's name")
    return limit
