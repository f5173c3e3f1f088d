"""The methods of schedules: jobs that are made again and again."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from herojobs.job import Job
from herojobs.jsonrpc import Example
from herojobs.jsonrpc.codes import Code
from herojobs.server.caller import Caller
from herojobs.server.methods.jobs import SHOWN, made
from herojobs.server.methods.registry import method
from herojobs.server.shapes import CircleId, NewJob, Schedule, shown_job, shown_schedule
from herojobs.sessions import Role

_NEW = {"params": "!!fake.return_success", "circle_id": "demo", "topic": "schedules"}
_NAMED = {"name": "yearly", "circle_id": "demo"}
_JOB = SHOWN | _NEW | {"jobid": 0, "circleid": "demo", "time_scheduled": 0, "timeout": 0}
_SHOWN: dict[str, Any] = {
    "circle_id": "demo", "name": "yearly", "when": "@yearly", "tz": "UTC", "missed": "once", "paused": False,
    "next_ms": 1798761600000, "last_ms": 0, "last_ref": "", "made": 0, "skipped": 0, "error": "",
    "created_ms": 1790000000000, "upcoming": [1798761600000],
    "job": {name: value for name, value in _JOB.items() if name not in ("circle_id", "created_ms")},
}  # fmt: skip


@method(
    "schedule.add",
    Role.OPERATOR,
    errors=(Code.JOB_CONFLICT, Code.TOO_LARGE),
    example=Example({"name": "yearly", "when": "@yearly", "job": _NEW}, _SHOWN),
    changes=True,
)
async def add(
    caller: Caller,
    name: str,
    when: str,
    job: NewJob,
    tz: str = "UTC",
    missed: Literal["skip", "once", "all"] = "once",
    replace: bool = False,
) -> Schedule:
    """Have a job made again and again, at each tick from now on.

    Args:
        name: its name within the job's circle: letters, digits, '.', '_' and '-'
        when: five cron fields, six with seconds first, an alias like @daily, or @every 90s
        job: what each tick's job is made of, with the fields of `job.submit`
        tz: the time zone that the fields are read in, like Europe/Paris
        missed: what becomes of ticks while no WatchDog ran
        replace: take the place of one of the same name
    """
    book = caller.backend.book
    found = await asyncio.to_thread(book.add, name, when, made(job, caller), tz=tz, missed=missed, replace=replace)
    return shown_schedule(found)


@method("schedule.list", Role.VIEWER, example=Example({"circle_id": "demo"}, [_SHOWN]))
async def list_schedules(caller: Caller, circle_id: CircleId | None = None) -> list[Schedule]:
    """Return the schedules, by circle and name.

    Args:
        circle_id: of one circle; of all that the session has if not given
    """
    found = await asyncio.to_thread(caller.backend.book.all, circle_id)
    return [shown_schedule(each) for each in found if caller.may_see(each.circle)]


@method("schedule.get", Role.VIEWER, errors=(Code.JOB_NOT_FOUND,), example=Example(_NAMED, _SHOWN))
async def get(caller: Caller, name: str, circle_id: CircleId = "default") -> Schedule:
    """Return a schedule with its next ticks.

    Args:
        name: its name
        circle_id: its circle
    """
    return shown_schedule(await asyncio.to_thread(caller.backend.book.get, name, circle_id), 5)


@method(
    "schedule.pause",
    Role.OPERATOR,
    errors=(Code.JOB_NOT_FOUND,),
    example=Example(_NAMED, _SHOWN | {"paused": True}),
    changes=True,
)
async def pause(caller: Caller, name: str, circle_id: CircleId = "default") -> Schedule:
    """Make no more jobs of a schedule until it is resumed.

    Args:
        name: its name
        circle_id: its circle
    """
    return shown_schedule(await asyncio.to_thread(caller.backend.book.pause, name, circle_id))


@method("schedule.resume", Role.OPERATOR, errors=(Code.JOB_NOT_FOUND,), example=Example(_NAMED, _SHOWN), changes=True)
async def resume(caller: Caller, name: str, circle_id: CircleId = "default") -> Schedule:
    """Make jobs of a schedule again, from the next tick on; those of the pause aren't made up for.

    Args:
        name: its name
        circle_id: its circle
    """
    return shown_schedule(await asyncio.to_thread(caller.backend.book.resume, name, circle_id))


@method(
    "schedule.run",
    Role.OPERATOR,
    errors=(Code.JOB_NOT_FOUND, Code.UNAVAILABLE),
    example=Example(_NAMED, {**_SHOWN["job"], "jobid": 1, "time_scheduled": 1790000000, "tags": ["schedule:yearly"]}),
    changes=True,
)
async def run(caller: Caller, name: str, circle_id: CircleId = "default") -> Job:
    """Submit the job of a schedule now, beside its ticks.

    Args:
        name: its name
        circle_id: its circle
    """
    job = (await asyncio.to_thread(caller.backend.book.get, name, circle_id)).make()
    job.session_key = caller.key
    return shown_job((await caller.backend.core.submit_many([job]))[0])


@method("schedule.remove", Role.OPERATOR, errors=(Code.JOB_NOT_FOUND,), example=Example(_NAMED, _SHOWN), changes=True)
async def remove(caller: Caller, name: str, circle_id: CircleId = "default") -> Schedule:
    """Remove a schedule, and return it as it was; jobs that it has made stay.

    Args:
        name: its name
        circle_id: its circle
    """
    return shown_schedule(await asyncio.to_thread(caller.backend.book.remove, name, circle_id))
