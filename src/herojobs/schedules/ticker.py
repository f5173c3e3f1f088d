"""Makes the jobs of ticks that are due, each once, with any number of processes at it.

    take     the book notes who is at the tick and the id that its job gets
    put      OurDB stores the job under that id, unless the id was used: by another at the same tick, whose job this
             is then, or by some other job, and another id is taken
    submit   Redis gets it; repeated, that changes nothing
    advance  the book goes on to the next tick

Whoever dies between two of these leaves the tick to the next one, who comes after `TAKEOVER` and ends at the same job.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from itertools import islice, takewhile
from typing import Any, NamedTuple

from herojobs import job as jobs
from herojobs.errors import HeroJobsError, JobConflict, JobExists
from herojobs.job import Job, now_ms
from herojobs.live.calls import submit
from herojobs.live.transport import Redis
from herojobs.names import Queue
from herojobs.ourdb import OurDBError
from herojobs.schedules.book import Missed, Schedule, ScheduleBook
from herojobs.store import JobStore
from herojobs.store.base import Tip
from herojobs.store.jobs import decoded
from herojobs.store.keys import KeyedJobs

log = logging.getLogger("herojobs.schedules")

Apart = Callable[..., Awaitable[Any]]
"""Calls a function with arguments where it may wait for a disk or a lock: `asyncio.to_thread`, or at once."""

LATE = 60_000
"""Milliseconds after which a tick that wasn't made counts as missed."""
TAKEOVER = 5_000
"""Milliseconds that whoever took a tick has for it, before another one makes it."""
TICKS_A_STEP = 100
"""Ticks of one schedule that a step makes at most, so that a long catching up holds nothing up."""


class Ticker:
    """Makes what is due.

    Args:
        book: the schedules.
        store: where jobs are stored.
        redis: where they are queued.
        apart: calls what may wait for a disk or a lock, so that it holds up nobody.
        serves: tells whether a queue is one of ours; schedules of others are left to others.
    """

    def __init__(
        self,
        book: ScheduleBook,
        store: JobStore,
        redis: Redis,
        apart: Apart,
        serves: Callable[[Queue], bool] = lambda _: True,
    ) -> None:
        self._book = book
        self._store = store
        self._redis = redis
        self._apart = apart
        self._serves = serves
        self._keyed = KeyedJobs(book.settings, store)

    async def step(self, now: int = 0) -> int:
        """Make all that is due; return the number of jobs made.

        Args:
            now: the time, unix milliseconds; 0 = the clock's.
        """
        now = now or now_ms()
        first = self._book.next_ms()
        if not first or first > now:
            return 0
        made = 0
        for schedule in self._book.due(now):
            if not self._serves(schedule.job.queue):
                continue
            try:
                made += await self._catch_up(schedule, now)
            except (HeroJobsError, OurDBError, OSError) as e:  # the others must have their turn
                if schedule.error != str(e):
                    log.error("schedule %s of circle %s can't make its job: %s", schedule.name, schedule.circle, e)
                await self._apart(self._book.note_error, schedule, str(e))
        return made

    async def _catch_up(self, schedule: Schedule, now: int) -> int:
        made = 0
        current: Schedule | None = schedule
        for _ in range(TICKS_A_STEP):
            if current is None or current.paused or current.next_ms > now:
                break
            if 0 <= now - current.taken_ms < TAKEOVER and current.taken_ms:
                break  # somebody is at it
            made += await self._tick(current, now)
            current = self._again(current)
        return made

    async def _tick(self, schedule: Schedule, now: int) -> int:
        """Make or pass over the tick that is due; return 1 if a job was made."""
        following = schedule.timetable.next_after(schedule.next_ms)
        if not schedule.id:  # else its job may be there already: it is made, whatever the rule
            wanted = _first_wanted(schedule, now)
            if wanted != schedule.next_ms:
                await self._apart(self._pass_over, schedule, wanted)
                return 0
        stored: _Stored | None = await self._apart(self._store_job, schedule, now)
        if stored is None:
            return 0
        job = stored.job
        entry = (job.job_id, stored.data, job.time_scheduled * 1000, job.priority)
        await self._redis.run(submit(schedule.job.queue, [entry]))
        await self._apart(self._finish, stored, following)
        return int(stored.fresh)

    def _pass_over(self, schedule: Schedule, wanted: int) -> None:
        self._book.advance(schedule, wanted, skipped=_count_until(schedule, wanted))

    def _finish(self, stored: _Stored, following: int) -> None:
        self._book.advance(stored.schedule, following, ref=str(stored.job.ref))

    def _store_job(self, schedule: Schedule, now: int) -> _Stored | None:
        """Take the tick and store its job; None if another one has taken it."""
        taken = self._take(schedule, now)
        return taken and self._put(taken)

    def _take(self, schedule: Schedule, now: int) -> Schedule | None:
        """Reserve the id of the tick's job; None if another one has just taken the tick."""
        id = schedule.id or self._store.next_id(schedule.job.queue)
        if self._book.take(schedule, id, now):
            return schedule._replace(id=id, taken_ms=now)
        return None

    def _put(self, schedule: Schedule) -> _Stored | None:
        """Store the tick's job under its id; None if another one has come to the tick's end meanwhile."""
        queue = schedule.job.queue
        current: Schedule | None = schedule
        while current is not None:
            job = schedule.make(schedule.next_ms)
            try:
                tip = self._store_at(queue, current.id, job)
                self._store.remember_spelling(queue, job.circle_id, job.topic)
                return _Stored(current, job, tip.data, True)
            except JobExists:  # the job of an earlier tick has the unique key still
                self._book.advance(current, schedule.timetable.next_after(schedule.next_ms), skipped=1)
                return None
            except JobConflict:
                pass
            found = self._store.tips(queue, [current.id])[0]
            there = decoded(found.data) if found is not None else None
            if there is not None and there.schedule == schedule.key(schedule.next_ms):
                there.job_id = current.id
                return _Stored(current, there, jobs.encode(there), False)
            id = self._store.next_id(queue)  # some other job came by this id first
            if self._book.take(current, id, current.taken_ms):
                current = current._replace(id=id)
            else:
                current = self._again(current)
                if current is not None and current.next_ms != schedule.next_ms:
                    current = None
        return None

    def _store_at(self, queue: Queue, id: int, job: Job) -> Tip:
        """Store a job under an id that was never used.

        Raises:
            JobConflict: it was used.
            JobExists: another job has its unique key.
        """
        if not job.unique_key:
            return self._store.put_at(queue, id, job)
        with self._store.writing(queue):
            job.job_id = id
            self._keyed.take(queue, job)
            return self._store.put_at(queue, id, job)

    def close(self) -> None:
        """Close the files of unique keys."""
        self._keyed.close()

    def _again(self, schedule: Schedule) -> Schedule | None:
        """Return a schedule as it is now, None if it was removed."""
        found = [each for each in self._book.all(schedule.circle) if each.name == schedule.name]
        return found[0] if found else None


class _Stored(NamedTuple):
    """A tick's job in OurDB; `fresh` if we put it there."""

    schedule: Schedule
    job: Job
    data: bytes
    fresh: bool


def _first_wanted(schedule: Schedule, now: int) -> int:
    """Return the first tick from the one that is due on that shall have a job; ticks over `LATE` ago were missed."""
    if schedule.missed == Missed.ALL or now - schedule.next_ms <= LATE:
        return schedule.next_ms
    in_time = schedule.timetable.next_after(now - LATE - 1)
    if schedule.missed == Missed.ONCE and in_time > now:
        return schedule.timetable.latest(now, schedule.next_ms) or schedule.next_ms
    return in_time


def _count_until(schedule: Schedule, end_ms: int) -> int:
    """Return how many ticks there are from the one that is due up to another one, without it; 10,000 at most."""
    ticks = takewhile(lambda tick: tick < end_ms, schedule.timetable.ticks(schedule.next_ms))
    return 1 + sum(1 for _ in islice(ticks, 9_999))
