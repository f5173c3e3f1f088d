"""Names that older Hero programs call: the same jobs under the names of their job manager API."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from herojobs import job as jobs
from herojobs.errors import Forbidden, InvalidJob, JobConflict
from herojobs.job import Job
from herojobs.jsonrpc import Example
from herojobs.jsonrpc.codes import Code
from herojobs.live.original import Original
from herojobs.server.caller import Caller
from herojobs.server.methods.jobs import CANCELLED, LATER, SHOWN, is_new
from herojobs.server.methods.registry import method
from herojobs.server.shapes import RefText, shown_job
from herojobs.sessions import Role
from herojobs.store.base import Put

_TEMPLATE = SHOWN | {"jobid": 0, "params": "", "circleid": "default", "timeout": 0}
_LATER = {"circleid": "demo", "topic": "older", "params": SHOWN["params"], "params_type": "heroscript",
          "time_scheduled": LATER}  # fmt: skip
OLD_STATUSES = {"created": "new", "scheduled": "new", "planned": "new", "running": "active", "ok": "done"}
"""Statuses of the older API, and which of ours they mean."""


@method("job.new", Role.VIEWER, example=Example({}, _TEMPLATE))
def new(caller: Caller) -> Job:
    """Return a job to be filled in and given to `job.set`; nothing is stored."""
    return Job(circle_id="default")


@method(
    "job.set",
    Role.SUBMITTER,
    errors=(Code.JOB_NOT_FOUND, Code.JOB_CONFLICT, Code.UNAVAILABLE),
    example=Example({"job": _LATER}, SHOWN),
    changes=True,
)
async def set_job(caller: Caller, job: Job) -> Job:
    """Submit a job, or, if it has a `jobid`, change one that is still new.

    Args:
        job: the job, with the members that stored jobs have
    """
    new = msgspec.structs.replace(job, circle_id=job.circle_id or "default")
    if not job.job_id:
        fresh = Job(
            **{name: getattr(new, name) for name in CHANGEABLE},
            circle_id=new.circle_id,
            topic=new.topic,
            session_key=caller.key,
        )
        return shown_job(await caller.backend.submissions.submit(fresh))
    queue = jobs.validate(new, max_params=caller.backend.settings.max_params)
    stored, position = caller.backend.store.tip(queue, job.job_id)
    is_new(stored)
    assert caller.session is not None
    if caller.session.role < Role.OPERATOR and stored.session_key != caller.key:
        raise Forbidden(f"{stored.ref} is another session's; {caller.session.refusal(Role.OPERATOR)}")
    if (stored.time_scheduled, stored.priority) != (new.time_scheduled, new.priority):
        raise InvalidJob("time_scheduled", new.time_scheduled, "time and priority of a queued job can't change")
    for name in CHANGEABLE:
        setattr(stored, name, getattr(new, name))
    stored.session_key = caller.key  # whoever says what runs answers for it
    if caller.backend.store.put_many(queue, [Put(job.job_id, jobs.encode(stored), position)])[0] is None:
        raise JobConflict(f"{stored.ref} was started or changed in this moment")
    await Original(caller.backend.redis).store(stored)  # for who reads Redis; WatchDogs take it from OurDB
    return shown_job(stored)


CHANGEABLE = ("params", "params_type", "timeout", "time_scheduled", "max_attempts", "priority", "log", "tags", "parent")


@method(
    "job.update_status",
    Role.OPERATOR,
    errors=(Code.JOB_NOT_FOUND, Code.JOB_CONFLICT, Code.UNAVAILABLE),
    example=Example({"ref": "demo/older/1", "status": "error"}, CANCELLED | {"jobid": 1, "topic": "older"}),
    changes=True,
    aliases={"guid": "ref"},
)
async def update_status(
    caller: Caller, ref: RefText, status: Annotated[str, Meta(description="new, active, done or error")]
) -> Job:
    """Change a job's status as far as that has a meaning: `error` cancels a job, `new` queues one again that is over.

    Args:
        ref: the job
        status: its status from now on; the older names created, planned, running and ok are taken too
    """
    wanted = OLD_STATUSES.get(status, status)
    if wanted not in tuple(jobs.JobStatus):
        raise InvalidJob("status", status, "no such status", "new, active, done or error")
    core = caller.backend.core
    job = await core.get(ref)
    if job.status == wanted:
        return shown_job(job)
    if wanted == "error":
        return shown_job(await core.cancel(ref))
    if wanted == "new":
        return shown_job(await core.again.retry(ref))
    raise JobConflict(f"{job.ref} is {job.status}: only who runs it can make it {wanted} (worker.claim, worker.finish)")
