"""`HeroJobs.schedules` and `AsyncHeroJobs.schedules`: jobs that are made again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from herojobs.client.given import as_job
from herojobs.job import Job
from herojobs.schedules import Schedule, ScheduleBook
from herojobs.settings import Settings

JobFields = Job | Mapping[str, Any]
"""A new `Job`, or its fields by their Python names."""


class Schedules:
    """The schedules of the home; get it as `HeroJobs.schedules`.

        hero.schedules.add("nightly", "0 3 * * *", Job(params="!!report.send", circle_id="acme"), tz="Europe/Paris")

    Every WatchDog of the home makes the jobs of those that are due, each tick's job once. Arguments that they share:
    `name` names the schedule, `circle_id` its circle, which may be left out if only one circle has that name.
    """

    def __init__(self, settings: Settings, session_key: str, submit: Callable[[list[JobFields]], list[Job]]) -> None:
        self._book = ScheduleBook(settings)
        self._session_key = session_key
        self._submit = submit

    def add(
        self,
        name: str,
        when: str,
        job: JobFields,
        *,
        tz: str = "UTC",
        missed: str = "once",
        replace: bool = False,
    ) -> Schedule:
        """Have a job made at each tick from now on.

        Args:
            name: letters, digits, `.`, `_` and `-`; names it within the job's circle.
            when: five cron fields, six with seconds first, an alias like `@daily`, or `@every 90s`.
            job: what each tick's job is made of.
            tz: IANA name of the time zone that the fields are read in.
            missed: what becomes of ticks at which no WatchDog ran for over a minute: `skip`, `once` (the newest is
                made up for) or `all`.
            replace: take the place of one of the same name.

        Raises:
            InvalidSchedule: an argument is wrong; the error names it.
            InvalidJob: the job is.
            ScheduleConflict: there is one of this name, and `replace` is false.
        """
        return self._book.add(name, when, self._template(job), tz=tz, missed=missed, replace=replace)

    def get(self, name: str, circle_id: str | None = None) -> Schedule:
        """Return a schedule.

        Raises:
            ScheduleNotFound: there is none.
            ScheduleConflict: several circles have one of this name.
        """
        return self._book.get(name, circle_id)

    def pause(self, name: str, circle_id: str | None = None) -> Schedule:
        """Make no jobs until `resume`. Raises as `get`."""
        return self._book.pause(name, circle_id)

    def resume(self, name: str, circle_id: str | None = None) -> Schedule:
        """Make jobs again, from the next tick on; those of the pause aren't made up for. Raises as `get`."""
        return self._book.resume(name, circle_id)

    def run(self, name: str, circle_id: str | None = None) -> Job:
        """Submit its job now, beside its ticks; a paused one too. Raises as `get` and as `HeroJobs.submit`."""
        return self._submit([self._book.get(name, circle_id).make()])[0]

    def remove(self, name: str, circle_id: str | None = None) -> Schedule:
        """Remove it, and return it as it was; jobs that it has made stay. Raises as `get`."""
        return self._book.remove(name, circle_id)

    def close(self) -> None:
        """Close the book; used again, it opens."""
        self._book.close()

    def _template(self, given: JobFields) -> Job:
        job = msgspec.structs.replace(as_job(given))
        job.session_key = job.session_key or self._session_key
        return job

    def list(self, circle_id: str | None = None) -> list[Schedule]:
        """Return the schedules of a circle, or all, by circle and name."""
        return self._book.all(circle_id)


class AsyncSchedules:
    """`Schedules` as coroutines; get it as `AsyncHeroJobs.schedules`."""

    def __init__(
        self, settings: Settings, session_key: str, submit: Callable[[list[JobFields]], Awaitable[list[Job]]]
    ) -> None:
        self._quick = Schedules(settings, session_key, lambda _: [])
        self._submit = submit

    async def add(
        self, name: str, when: str, job: JobFields, *, tz: str = "UTC", missed: str = "once", replace: bool = False
    ) -> Schedule:
        """Have a job made at each tick from now on; see `Schedules.add`."""
        return await asyncio.to_thread(self._quick.add, name, when, job, tz=tz, missed=missed, replace=replace)

    async def get(self, name: str, circle_id: str | None = None) -> Schedule:
        """Return a schedule; see `Schedules.get`."""
        return await asyncio.to_thread(self._quick.get, name, circle_id)

    async def pause(self, name: str, circle_id: str | None = None) -> Schedule:
        """Make no jobs until `resume`; see `Schedules.pause`."""
        return await asyncio.to_thread(self._quick.pause, name, circle_id)

    async def resume(self, name: str, circle_id: str | None = None) -> Schedule:
        """Make jobs again; see `Schedules.resume`."""
        return await asyncio.to_thread(self._quick.resume, name, circle_id)

    async def run(self, name: str, circle_id: str | None = None) -> Job:
        """Submit its job now; see `Schedules.run`."""
        return (await self._submit([(await self.get(name, circle_id)).make()]))[0]

    async def remove(self, name: str, circle_id: str | None = None) -> Schedule:
        """Remove it; see `Schedules.remove`."""
        return await asyncio.to_thread(self._quick.remove, name, circle_id)

    def close(self) -> None:
        """Close the book; used again, it opens."""
        self._quick.close()

    async def list(self, circle_id: str | None = None) -> list[Schedule]:
        """Return the schedules of a circle, or all; see `Schedules.list`."""
        return await asyncio.to_thread(self._quick.list, circle_id)
