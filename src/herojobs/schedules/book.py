"""The book of schedules: a SQLite database in the home folder, shared by all processes of the home.

Every change is one statement that names what it was based on, so any number of processes may work on it. A row also
holds the tick that is being made: its due time and, once reserved, the id that its job gets (see `ticker`).
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from herojobs import job as jobs
from herojobs.errors import InvalidSchedule, ScheduleConflict, ScheduleNotFound
from herojobs.job import Job, now_ms, validate
from herojobs.names import queue_name_fix
from herojobs.schedules.timetable import Timetable, timetable
from herojobs.settings import Settings, make_home
from herojobs.store.sqlite import trouble_told

BUSY = 10.0
"""Seconds to wait for another process that writes."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_TABLE = """
CREATE TABLE IF NOT EXISTS schedule (
    circle TEXT NOT NULL, name TEXT NOT NULL, plan BLOB NOT NULL, job BLOB NOT NULL,
    paused INTEGER NOT NULL DEFAULT 0, next_ms INTEGER NOT NULL,
    id INTEGER NOT NULL DEFAULT 0, taken_ms INTEGER NOT NULL DEFAULT 0,
    last_ms INTEGER NOT NULL DEFAULT 0, last_ref TEXT NOT NULL DEFAULT '', made INTEGER NOT NULL DEFAULT 0,
    missed INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (circle, name)
) WITHOUT ROWID
"""
_SELECT = """
SELECT circle, name, plan, job, paused, next_ms, id, taken_ms, last_ms, last_ref, made, missed, error FROM schedule"""


class Missed(StrEnum):
    """What becomes of ticks at whose time no WatchDog ran."""

    SKIP = "skip"  # nothing
    ONCE = "once"  # the newest of them is made up for
    ALL = "all"  # each of them is


class Plan(msgspec.Struct, frozen=True):
    """What a schedule says about its times, as the book keeps it."""

    when: str
    tz: str
    missed: Missed
    created_ms: int


class Schedule(NamedTuple):
    """A schedule as it is now.

    Attributes:
        circle: its circle, the name fixed; with `name` it names the schedule.
        name: letters, digits, `.`, `_` and `-`.
        when: cron fields, an alias or an interval; see `Timetable`.
        tz: the time zone of the fields.
        missed: what becomes of missed ticks.
        job: what each tick's job is made of.
        paused: whether it makes no jobs for now.
        next_ms: the next tick, unix milliseconds.
        last_ms: the latest tick that a job was made for, 0 = none yet.
        last_ref: that job.
        made: jobs made so far by ticks.
        skipped: ticks that were missed and not made up for.
        error: what kept the tick that is due from being made, empty if nothing.
        created_ms: when it was added or replaced, unix milliseconds.
        id: the id reserved for the job of the tick `next_ms`, 0 = none yet.
        taken_ms: when a WatchDog began to make that tick, 0 = none has.
    """

    circle: str
    name: str
    when: str
    tz: str
    missed: Missed
    job: Job
    paused: bool
    next_ms: int
    last_ms: int
    last_ref: str
    made: int
    skipped: int
    error: str
    created_ms: int
    id: int
    taken_ms: int

    @property
    def timetable(self) -> Timetable:
        """Its ticks."""
        return timetable(self.when, self.tz, self.created_ms)

    def upcoming(self, count: int, now: int = 0) -> list[int]:
        """Return the next ticks, unix milliseconds; what a paused schedule would make."""
        return self.timetable.upcoming(now or now_ms(), count)

    def key(self, tick_ms: int) -> str:
        """What the job of a tick carries as `Job.schedule`: the same whoever makes it."""
        return f"{self.name}@{tick_ms // 1000}"

    def make(self, tick_ms: int = 0) -> Job:
        """Return the job of a tick, or one for now (0) that belongs to no tick; not submitted yet."""
        job = msgspec.structs.replace(self.job, tags=[*self.job.tags, f"schedule:{self.name}"])
        if tick_ms:
            job.schedule = self.key(tick_ms)
            job.time_scheduled = tick_ms // 1000
            job.created_ms = now_ms()
        return job


class ScheduleBook:
    """All schedules of a home. Safe for threads; every method is quick.

    Every method raises OSError if the file can't be read or changed: the disk is full, say, or it is damaged.

    Args:
        settings: where the home is.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.path: Path = settings.home / "var" / "schedules.sqlite3"
        self._db: sqlite3.Connection | None = None
        self._lock = threading.RLock()

    def add(
        self,
        name: str,
        when: str,
        job: Job,
        *,
        tz: str = "UTC",
        missed: str = Missed.ONCE,
        replace: bool = False,
        now: int = 0,
    ) -> Schedule:
        """Add a schedule; its first tick is the first one after now. See `herojobs.client.Schedules.add`.

        Raises:
            InvalidSchedule: the name, `when`, `tz` or `missed` is wrong.
            InvalidJob: the job is.
            ScheduleConflict: there is one of this name in the circle, and `replace` is false.
        """
        if not _NAME.fullmatch(name):
            raise InvalidSchedule("name", name, "no name", "letters, digits, '.', '_' and '-', at most 100")
        if missed not in [each.value for each in Missed]:
            raise InvalidSchedule("missed", missed, "no such way", "skip, once or all")
        if job.job_id:
            raise InvalidSchedule("job", str(job.ref), "it was submitted already", "a new Job")
        for field in ("time_scheduled", "expires_at", "idempotency_key", "after"):
            if getattr(job, field):
                raise InvalidSchedule("job", getattr(job, field), f"its {field} is set, which fits one tick only")
        queue = validate(job, max_params=self.settings.max_params)
        now = now or now_ms()
        plan = Plan(when, tz, Missed(missed), now)
        first = Timetable(when, tz, now).next_after(now)
        row = (queue.circle, name, msgspec.json.encode(plan), jobs.encode(job), first)
        verb = "INSERT OR REPLACE" if replace else "INSERT"
        try:
            self._change(f"{verb} INTO schedule (circle, name, plan, job, next_ms) VALUES (?, ?, ?, ?, ?)", row)
        except sqlite3.IntegrityError:
            raise ScheduleConflict(
                f"there is a schedule {name!r} in circle {queue.circle} already; replace it, or take another name"
            ) from None
        return self.get(name, queue.circle)

    def get(self, name: str, circle: str | None = None) -> Schedule:
        """Return a schedule; the circle may be left out if only one has a schedule of this name.

        Raises:
            ScheduleNotFound: there is none.
            ScheduleConflict: several circles have one.
        """
        fixed = None if circle is None else queue_name_fix(circle)
        found = [each for each in self.all(fixed) if each.name == name]
        if not found:
            raise ScheduleNotFound(name, fixed, [each.name for each in self.all(fixed)])
        if len(found) > 1:
            circles = ", ".join(each.circle for each in found)
            raise ScheduleConflict(f"several circles have a schedule {name!r}: {circles}; say which")
        return found[0]

    def all(self, circle: str | None = None) -> list[Schedule]:
        """Return the schedules of a circle, or all, by circle and name."""
        where, values = ("", ()) if circle is None else (" WHERE circle = ?", (queue_name_fix(circle),))
        return self._read(_SELECT + where + " ORDER BY circle, name", values)

    def pause(self, name: str, circle: str | None = None) -> Schedule:
        """Make no jobs until `resume`. Raises as `get`."""
        found = self.get(name, circle)
        self._change("UPDATE schedule SET paused = 1 WHERE circle = ? AND name = ?", found[:2])
        return self.get(name, found.circle)

    def resume(self, name: str, circle: str | None = None, now: int = 0) -> Schedule:
        """Make jobs again, from the next tick on: those of the pause aren't made up for. Raises as `get`."""
        found = self.get(name, circle)
        following = found.timetable.next_after(now or now_ms())
        self._change(
            "UPDATE schedule SET paused = 0, next_ms = ?, id = 0, taken_ms = 0, error = ''"
            " WHERE circle = ? AND name = ? AND paused = 1",
            (following, *found[:2]),
        )
        return self.get(name, found.circle)

    def remove(self, name: str, circle: str | None = None) -> Schedule:
        """Remove a schedule; jobs that it has made stay. Return it as it was. Raises as `get`."""
        found = self.get(name, circle)
        self._change("DELETE FROM schedule WHERE circle = ? AND name = ?", found[:2])
        return found

    # for the ticker

    def due(self, now: int) -> list[Schedule]:
        """Return the schedules with a tick up to now."""
        return self._read(_SELECT + " WHERE paused = 0 AND next_ms <= ? ORDER BY next_ms", (now,))

    def next_ms(self) -> int:
        """Return when the next tick of any schedule is, unix milliseconds, 0 = there is none."""
        db = self._opened(make=False)
        if db is None:
            return 0
        with self._lock, trouble_told(self.path):
            (found,) = db.execute("SELECT min(next_ms) FROM schedule WHERE paused = 0").fetchone()
        return int(found or 0)

    def take(self, schedule: Schedule, id: int, now: int) -> bool:
        """Begin to make the tick `next_ms` and reserve its job's id; return whether nobody else did meanwhile."""
        return self._change(
            "UPDATE schedule SET id = ?, taken_ms = ? WHERE circle = ? AND name = ? AND paused = 0"
            " AND next_ms = ? AND id = ? AND taken_ms = ?",
            (id, now, *schedule[:2], schedule.next_ms, schedule.id, schedule.taken_ms),
        )

    def advance(self, schedule: Schedule, next_ms: int, *, ref: str = "", skipped: int = 0) -> bool:
        """Go on to another tick: the one `next_ms` has its job `ref`, or was passed over.

        Returns:
            whether the schedule was still at that tick.
        """
        return self._change(
            "UPDATE schedule SET last_ms = iif(? = '', last_ms, next_ms), made = made + (? <> ''),"
            " last_ref = iif(? = '', last_ref, ?), missed = missed + ?, next_ms = ?, id = 0, taken_ms = 0, error = ''"
            " WHERE circle = ? AND name = ? AND next_ms = ? AND id = ?",
            (ref, ref, ref, ref, skipped, next_ms, *schedule[:2], schedule.next_ms, schedule.id),
        )

    def note_error(self, schedule: Schedule, error: str) -> None:
        """Keep what went wrong with the tick that is due, for those who look."""
        self._change(
            "UPDATE schedule SET error = ? WHERE circle = ? AND name = ? AND error <> ?",
            (error, *schedule[:2], error),
        )

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    def _read(self, sql: str, values: Sequence[Any]) -> list[Schedule]:
        db = self._opened(make=False)
        if db is None:
            return []
        with self._lock, trouble_told(self.path):
            return [_schedule(row) for row in db.execute(sql, tuple(values)).fetchall()]

    def _change(self, sql: str, values: Sequence[Any]) -> bool:
        db = self._opened(make=True)
        assert db is not None
        with self._lock, trouble_told(self.path), db:
            return db.execute(sql, tuple(values)).rowcount > 0

    def _opened(self, *, make: bool) -> sqlite3.Connection | None:
        """Return the database; None if nobody has made one yet and we shouldn't."""
        with self._lock, trouble_told(self.path):
            if self._db is not None:
                return self._db
            if not self.path.exists():
                if not make:
                    return None
                make_home(self.settings.home)
                self.path.parent.mkdir(parents=True, exist_ok=True)
                os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))  # jobs may hold session keys
            db = sqlite3.connect(self.path, timeout=BUSY, check_same_thread=False)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute(_TABLE)
            db.commit()
            self._db = db
            return db


def _schedule(row: Sequence[Any]) -> Schedule:
    circle, name, plan_json, job, paused, next_ms, id, taken_ms, last_ms, last_ref, made, skipped, error = row
    plan = msgspec.json.decode(plan_json, type=Plan)
    return Schedule(
        circle=circle,
        name=name,
        when=plan.when,
        tz=plan.tz,
        missed=plan.missed,
        job=jobs.decode(job),
        paused=bool(paused),
        next_ms=next_ms,
        last_ms=last_ms,
        last_ref=last_ref,
        made=made,
        skipped=skipped,
        error=error,
        created_ms=plan.created_ms,
        id=id,
        taken_ms=taken_ms,
    )
