"""The methods of jobs that hang together because they come after each other."""

from __future__ import annotations

from herojobs.job import Job
from herojobs.jsonrpc import Example
from herojobs.jsonrpc.codes import Code
from herojobs.server.caller import Caller
from herojobs.server.methods.jobs import DONE
from herojobs.server.methods.registry import method
from herojobs.server.shapes import RefText, shown_job
from herojobs.sessions import Role


@method("job.flow", Role.VIEWER, errors=(Code.JOB_NOT_FOUND,), example=Example({"ref": "demo/default/1"}, [DONE]))
async def flow(caller: Caller, ref: RefText) -> list[Job]:
    """Return all jobs that hang together with one, by what they come after, in the order of their submission.

    Args:
        ref: one of the jobs
    """
    return [shown_job(job) for job in await caller.backend.core.flows.find(ref)]


@method(
    "job.cancel_flow",
    Role.OPERATOR,
    errors=(Code.JOB_NOT_FOUND, Code.UNAVAILABLE),
    example=Example({"ref": "demo/default/1"}, []),
    changes=True,
)
async def cancel_flow(caller: Caller, ref: RefText) -> list[Job]:
    """Cancel all jobs that hang together with one and aren't over; return them. Those that wait end first.

    Args:
        ref: one of the jobs
    """
    return [shown_job(job) for job in await caller.backend.core.flows.cancel(ref)]
