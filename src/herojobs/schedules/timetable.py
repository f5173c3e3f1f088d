"""When a schedule is due: five or six cron fields in a time zone, an alias like `@daily`, or `@every 90s`.

The fields and what happens at changes of the clocks are those of Debian's cron (cron(8), crontab(5)), as the library
cronsim has them. A time that the clocks skip is due right after the change, one that they repeat is due once; but an
expression whose minute or hour field begins with `*`, and one with seconds, follows the elapsed time instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

from herojobs.errors import InvalidSchedule, did_you_mean

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
FORM = (
    "five fields like '*/5 * * * *', six with seconds first, @hourly, @daily, @weekly, @monthly, @yearly or @every 90s"
)

_EVERY = re.compile(r"@every\s+(\d{1,9})([smhd])")


class Timetable:
    """The ticks of one schedule.

    Args:
        when: cron fields, an alias or `@every N` with a unit of s, m, h or d.
        tz: the time zone that the fields are read in, by its IANA name.
        anchor_ms: unix milliseconds that the intervals of `@every` are counted from.

    Raises:
        InvalidSchedule: the expression is wrong or never due, or there is no such time zone.
    """

    def __init__(self, when: str, tz: str = "UTC", anchor_ms: int = 0) -> None:
        self._zone = _zone(tz)
        self._anchor = anchor_ms // 1000
        self._every = 0
        text = " ".join(when.split())
        every = _EVERY.fullmatch(text)
        if every:
            self._every = int(every[1]) * UNITS[every[2]]
            if not self._every:
                raise InvalidSchedule("when", when, "an interval of nothing", "at least @every 1s")
            return
        if text.startswith("@") and text not in ALIASES:
            raise InvalidSchedule("when", when, "no such alias", did_you_mean(text, [*ALIASES, "@every 90s"]))
        self._fields = ALIASES.get(text, text)
        try:
            next(CronSim(self._fields, datetime(2026, 1, 1, tzinfo=UTC)))
        except CronSimError as e:
            raise InvalidSchedule("when", when, _problem(e), FORM) from None
        except StopIteration:
            raise InvalidSchedule("when", when, "no date ever meets it", FORM) from None

    def next_after(self, ms: int) -> int:
        """Return the first tick after a moment, both in unix milliseconds; ticks are on whole seconds."""
        return next(self.ticks(ms))

    def ticks(self, ms: int) -> Iterator[int]:
        """Yield the ticks after a moment, in unix milliseconds."""
        second = ms // 1000
        if self._every:
            tick = self._anchor + ((second - self._anchor) // self._every + 1) * self._every
            while True:
                yield tick * 1000
                tick += self._every
        for moment in CronSim(self._fields, datetime.fromtimestamp(second, self._zone)):
            tick = int(moment.timestamp())
            if (
                tick > second
            ):  # in the hour that clocks repeat, cronsim may name the first pass when we are in the second
                second = tick
                yield tick * 1000

    def latest(self, until_ms: int, after_ms: int) -> int:
        """Return the newest tick up to a moment and after another one, in unix milliseconds; 0 if there is none.

        Looks back over spans that double, so that a long time without a WatchDog costs little.
        """
        span = 60_000
        while True:
            start = max(after_ms, until_ms - span)
            newest = 0
            for tick in self.ticks(start):
                if tick > until_ms:
                    break
                newest = tick
            if newest or start == after_ms:
                return newest
            span *= 2

    def local(self, ms: int) -> datetime:
        """Return a moment as its time zone has it."""
        return datetime.fromtimestamp(ms / 1000, self._zone)

    def upcoming(self, ms: int, count: int) -> list[int]:
        """Return the next ticks after a moment, in unix milliseconds."""
        return list(islice(self.ticks(ms), count))


@lru_cache(maxsize=1024)
def timetable(when: str, tz: str, anchor_ms: int) -> Timetable:
    """Return the timetable of an expression; made once for each."""
    return Timetable(when, tz, anchor_ms)


def _zone(name: str) -> tzinfo:
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = available_timezones()
        if not known:
            raise InvalidSchedule("tz", name, "this system has no time zones", "UTC, or install tzdata") from None
        near = did_you_mean(name, known)
        hint = near if near.startswith("did you") else "an IANA name like Europe/Paris"
        raise InvalidSchedule("tz", name, "no such time zone", hint) from None


def _problem(error: CronSimError) -> str:
    text = str(error)
    return text.replace("Bad ", "wrong ") if text.startswith("Bad ") else text.lower()
