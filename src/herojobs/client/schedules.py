"""`HeroJobs.schedules` and `AsyncHeroJobs.schedules`: jobs that are made again and again.

`LocalSchedules` keeps them in the home's book, `RemoteSchedules` asks a server; both are coroutines, over which the two
faces lie.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from herojobs.client.given import as_job
from herojobs.errors import InvalidSchedule
from herojobs.job import Job
from herojobs.live.transport import run_sync
from herojobs.schedules import Missed, Schedule, ScheduleBook

if TYPE_CHECKING:
    from herojobs.settings import Settings

JobFields = Job | Mapping[str, Any]
"""A new `Job`, or its fields by their Python names."""


class LocalSchedules:
    """The schedules of the home.

    Args:
        settings: where the home is.
        apart: calls what may wait for a disk or a lock.
        submit: submits jobs.
    """

    def __init__(
        self,
        settings: Settings,
        apart: Callable[..., Awaitable[Any]],
        submit: Callable[[list[Job]], Awaitable[list[Job]]],
    ) -> None:
        self._book = ScheduleBook(settings)
        self._apart = apart
        self._submit = submit

    async def add(self, name: str, when: str, job: Job, tz: str, missed: str, replace: bool) -> Schedule:
        """Have a job made at each tick from now on."""
        return await self._do(self._book.add, name, when, job, tz=tz, missed=missed, replace=replace)

    async def get(self, name: str, circle_id: str | None) -> Schedule:
        """Return a schedule."""
        return await self._do(self._book.get, name, circle_id)

    async def pause(self, name: str, circle_id: str | None) -> Schedule:
        """Make no jobs until `resume`."""
        return await self._do(self._book.pause, name, circle_id)

    async def resume(self, name: str, circle_id: str | None) -> Schedule:
        """Make jobs again."""
        return await self._do(self._book.resume, name, circle_id)

    async def run(self, name: str, circle_id: str | None) -> Job:
        """Submit its job now."""
        return (await self._submit([(await self.get(name, circle_id)).make()]))[0]

    async def remove(self, name: str, circle_id: str | None) -> Schedule:
        """Remove it."""
        return await self._do(self._book.remove, name, circle_id)

    async def find(self, circle_id: str | None) -> list[Schedule]:
        """Return the schedules of a circle, or all."""
        found: list[Schedule] = await self._apart(self._book.all, circle_id)
        return found

    def close(self) -> None:
        """Close the book; used again, it opens."""
        self._book.close()

    async def _do(self, function: Callable[..., Schedule], *args: Any, **kwargs: Any) -> Schedule:
        schedule: Schedule = await self._apart(function, *args, **kwargs)
        return schedule


class ShownSchedule(msgspec.Struct):
    """A schedule as the server shows it; times are unix ms, 0 = none, `error` kept the tick that is due from a job."""

    circle_id: str
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

    def schedule(self) -> Schedule:
        """Return it as the local client gives it."""
        fields = msgspec.structs.asdict(self)
        return Schedule(circle=fields.pop("circle_id"), **fields, id=0, taken_ms=0)


class RemoteSchedules:
    """The schedules of a server's home.

    Args:
        call: calls a method: its name, parameters, and the type of its result.
        plain: makes of a job what `job.submit` takes.
    """

    def __init__(
        self, call: Callable[[str, dict[str, Any], Any], Awaitable[Any]], plain: Callable[[Job], dict[str, Any]]
    ) -> None:
        self._call = call
        self._plain = plain

    async def add(self, name: str, when: str, job: Job, tz: str, missed: str, replace: bool) -> Schedule:
        """Have a job made at each tick from now on."""
        if missed not in [each.value for each in Missed]:
            raise InvalidSchedule("missed", missed, "no such way", "skip, once or all")
        given = {
            "name": name, "when": when, "job": self._plain(job), "tz": tz, "missed": missed, "replace": replace,
        }  # fmt: skip
        return await self._one("add", given)

    async def get(self, name: str, circle_id: str | None) -> Schedule:
        """Return a schedule."""
        return await self._one("get", await self._named(name, circle_id))

    async def pause(self, name: str, circle_id: str | None) -> Schedule:
        """Make no jobs until `resume`."""
        return await self._one("pause", await self._named(name, circle_id))

    async def resume(self, name: str, circle_id: str | None) -> Schedule:
        """Make jobs again."""
        return await self._one("resume", await self._named(name, circle_id))

    async def run(self, name: str, circle_id: str | None) -> Job:
        """Submit its job now."""
        job: Job = await self._call("schedule.run", await self._named(name, circle_id), Job)
        return job

    async def remove(self, name: str, circle_id: str | None) -> Schedule:
        """Remove it."""
        return await self._one("remove", await self._named(name, circle_id))

    async def find(self, circle_id: str | None) -> list[Schedule]:
        """Return the schedules of a circle, or all that the session sees."""
        given = {} if circle_id is None else {"circle_id": circle_id}
        shown: list[ShownSchedule] = await self._call("schedule.list", given, list[ShownSchedule])
        return [each.schedule() for each in shown]

    def close(self) -> None:
        """Do nothing: the client closes its connections."""

    async def _one(self, what: str, given: dict[str, Any]) -> Schedule:
        shown: ShownSchedule = await self._call(f"schedule.{what}", given, ShownSchedule)
        return shown.schedule()

    async def _named(self, name: str, circle_id: str | None) -> dict[str, Any]:
        """Return the parameters that name a schedule; its circle, if it wasn't given, where only one has that name."""
        if circle_id is None:
            circles = [each.circle for each in await self.find(None) if each.name == name]
            circle_id = circles[0] if len(circles) == 1 else None
        return {"name": name} if circle_id is None else {"name": name, "circle_id": circle_id}


SchedulesCore = LocalSchedules | RemoteSchedules


class Schedules:
    """The schedules of the home, or of a server's; get it as `HeroJobs.schedules`.

        hero.schedules.add("nightly", "0 3 * * *", Job(params="!!report.send", circle_id="acme"), tz="Europe/Paris")

    Every WatchDog of the home makes the jobs of those that are due, each tick's job once. Arguments that they share:
    `name` names the schedule, `circle_id` its circle, which may be left out if only one circle has that name.
    """

    def __init__(self, core: SchedulesCore, session_key: str) -> None:
        self._core = core
        self._session_key = session_key

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
        return run_sync(self._core.add(name, when, _template(job, self._session_key), tz, missed, replace))

    def get(self, name: str, circle_id: str | None = None) -> Schedule:
        """Return a schedule.

        Raises:
            ScheduleNotFound: there is none.
            ScheduleConflict: several circles have one of this name.
        """
        return run_sync(self._core.get(name, circle_id))

    def pause(self, name: str, circle_id: str | None = None) -> Schedule:
        """Make no jobs until `resume`. Raises as `get`."""
        return run_sync(self._core.pause(name, circle_id))

    def resume(self, name: str, circle_id: str | None = None) -> Schedule:
        """Make jobs again, from the next tick on; those of the pause aren't made up for. Raises as `get`."""
        return run_sync(self._core.resume(name, circle_id))

    def run(self, name: str, circle_id: str | None = None) -> Job:
        """Submit its job now, beside its ticks; a paused one too. Raises as `get` and as `HeroJobs.submit`."""
        return run_sync(self._core.run(name, circle_id))

    def remove(self, name: str, circle_id: str | None = None) -> Schedule:
        """Remove it, and return it as it was; jobs that it has made stay. Raises as `get`."""
        return run_sync(self._core.remove(name, circle_id))

    def close(self) -> None:
        """Close the book; used again, it opens."""
        self._core.close()

    def list(self, circle_id: str | None = None) -> list[Schedule]:
        """Return the schedules of a circle, or all, by circle and name."""
        return run_sync(self._core.find(circle_id))


class AsyncSchedules:
    """`Schedules` as coroutines; get it as `AsyncHeroJobs.schedules`."""

    def __init__(self, core: SchedulesCore, session_key: str) -> None:
        self._core = core
        self._session_key = session_key

    async def add(
        self, name: str, when: str, job: JobFields, *, tz: str = "UTC", missed: str = "once", replace: bool = False
    ) -> Schedule:
        """Have a job made at each tick from now on; see `Schedules.add`."""
        return await self._core.add(name, when, _template(job, self._session_key), tz, missed, replace)

    async def get(self, name: str, circle_id: str | None = None) -> Schedule:
        """Return a schedule; see `Schedules.get`."""
        return await self._core.get(name, circle_id)

    async def pause(self, name: str, circle_id: str | None = None) -> Schedule:
        """Make no jobs until `resume`; see `Schedules.pause`."""
        return await self._core.pause(name, circle_id)

    async def resume(self, name: str, circle_id: str | None = None) -> Schedule:
        """Make jobs again; see `Schedules.resume`."""
        return await self._core.resume(name, circle_id)

    async def run(self, name: str, circle_id: str | None = None) -> Job:
        """Submit its job now; see `Schedules.run`."""
        return await self._core.run(name, circle_id)

    async def remove(self, name: str, circle_id: str | None = None) -> Schedule:
        """Remove it; see `Schedules.remove`."""
        return await self._core.remove(name, circle_id)

    def close(self) -> None:
        """Close the book; used again, it opens."""
        self._core.close()

    async def list(self, circle_id: str | None = None) -> list[Schedule]:
        """Return the schedules of a circle, or all; see `Schedules.list`."""
        return await self._core.find(circle_id)


def _template(given: JobFields, session_key: str) -> Job:
    job = msgspec.structs.replace(as_job(given))
    job.session_key = job.session_key or session_key
    return job
