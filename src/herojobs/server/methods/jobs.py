"""The methods of one job or many."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from msgspec import Meta

from herojobs.errors import JobConflict
from herojobs.job import DEFAULT_MAX_ATTEMPTS, After, Job, JobStatus
from herojobs.jsonrpc import Example
from herojobs.jsonrpc.codes import Code
from herojobs.live.admin import Progress
from herojobs.names import Ref
from herojobs.server.caller import Caller
from herojobs.server.methods.registry import method
from herojobs.server.pages import page
from herojobs.server.shapes import CircleId, JobPage, Limit, LogPart, Millis, NewJob, RefText, Topic, shown_job
from herojobs.sessions import Role

LONGEST_WAIT = 60.0
"""Seconds that one `job.wait` lasts at most: proxies end connections that are silent for longer."""
MOST_LOG = 256 * 1024
"""Bytes of a log that one `job.log` answers at most."""

IfExists = Literal["return", "raise"]

_SCRIPT = "!!fake.return_success message:'This is a test job'"
LATER = 4_102_444_800  # 2100-01-01
SHOWN = {
    "jobid": 1, "sessionkey": "", "circleid": "demo", "topic": "default", "params": _SCRIPT,
    "params_type": "heroscript", "timeout": 10, "status": "new", "time_scheduled": 1790000000, "time_start": 0,
    "time_end": 0, "error": "", "result": "", "log": False, "created_ms": 1790000000000,
}  # fmt: skip
DONE = SHOWN | {
    "status": "done", "time_start": 1790000000, "time_end": 1790000000, "result": "This is a test job", "attempts": 1,
    "reason": "done", "started_ms": 1790000000010, "ended_ms": 1790000000012,
}  # fmt: skip
SECOND = SHOWN | {"jobid": 2, "time_scheduled": LATER}
CANCELLED = SECOND | {"status": "error", "reason": "cancelled", "error": "cancelled before it started"}


def made(new: NewJob, caller: Caller) -> Job:
    """Return the job that a caller asks for."""
    return Job(
        params=new.params,
        params_type=new.params_type,
        circle_id=new.circle_id,
        topic=new.topic,
        timeout=new.timeout,
        time_scheduled=new.run_at,
        max_attempts=new.max_attempts,
        priority=new.priority,
        log=new.log,
        tags=new.tags,
        parent=new.parent,
        retries=new.retries,
        retry_delay=new.retry_delay,
        retry_on=new.retry_on,
        idempotency_key=new.idempotency_key,
        unique_key=new.unique_key,
        unique_until=new.unique_until,
        expires_at=new.expires_at,
        limit_key=new.limit_key,
        after=new.after,
        session_key=caller.key,
    )


@method(
    "job.submit",
    Role.SUBMITTER,
    errors=(Code.UNAVAILABLE, Code.TOO_LARGE),
    example=Example({"params": _SCRIPT, "params_type": "heroscript", "circle_id": "demo"}, SHOWN),
    changes=True,
)
async def submit(
    caller: Caller,
    params: str,
    params_type: str = "heroscript",
    circle_id: CircleId = "default",
    topic: Topic = "default",
    timeout: int = 0,
    run_at: int = 0,
    max_attempts: int = DEFAULT_MAX_ATTEMPTS,
    unique_key: str = "",
    priority: int = 0,
    log: bool = False,
    tags: list[str] = [],  # noqa: B006 - it is read, never changed
    parent: str = "",
    retries: int | None = None,
    retry_delay: float | None = None,
    retry_on: list[str] | None = None,
    idempotency_key: str = "",
    unique_until: str | int = "",
    expires_at: int = 0,
    limit_key: str = "",
    after: list[After] = [],  # noqa: B006 - it is read, never changed
    if_exists: IfExists = "return",
) -> Job:
    """Store a job and queue it: once it is answered, the job is durable and will run.

    Args:
        params: the script, call or prompt
        params_type: its kind: heroscript, rhaiscript, openrpc, ai, or a plug-in's
        circle_id: the tenant
        topic: the queue within the circle
        timeout: seconds it may run; 0 = the server's default
        run_at: unix seconds when it may start, at the earliest; 0 = now
        max_attempts: how often it may be started when its worker dies
        priority: 0 to 9; jobs of a higher one start first within their queue
        log: whether its output is kept
        tags: free labels to find it by
        parent: name of the job that submits this one
        retries: how many more times it is tried when its content fails; null = by the server's settings
        retry_delay: seconds before the first retry, doubled for each further one
        retry_on: what is retried: reasons (failed, timeout ...) and texts that occur in the error
        idempotency_key: if a job with this key was submitted to this queue lately, that one is the answer
        unique_key: likewise while a job with this key is there, as long as `unique_until` says
        unique_until: finished: until that job is over; started; or seconds since its submission
        expires_at: unix seconds; a job that hasn't started by then ends, with reason expired; 0 = never
        limit_key: what it counts for where its topic limits keys: a customer, say
        after: jobs of the circle that must be over before it runs, each with what becomes of it if that one fails
        if_exists: what happens if its key is taken: return the job that has it, or raise
    """
    new = NewJob(
        params=params,
        params_type=params_type,
        circle_id=circle_id,
        topic=topic,
        timeout=timeout,
        run_at=run_at,
        max_attempts=max_attempts,
        priority=priority,
        log=log,
        tags=tags,
        parent=parent,
        retries=retries,
        retry_delay=retry_delay,
        retry_on=retry_on,
        idempotency_key=idempotency_key,
        unique_key=unique_key,
        unique_until=unique_until,
        expires_at=expires_at,
        limit_key=limit_key,
        after=after,
    )
    if if_exists == "raise":
        return shown_job((await caller.backend.core.submit_many([made(new, caller)], if_exists=if_exists))[0])
    return shown_job(await caller.backend.submissions.submit(made(new, caller)))


@method(
    "job.submit_many",
    Role.SUBMITTER,
    errors=(Code.UNAVAILABLE, Code.TOO_LARGE),
    example=Example({"jobs": [{"params": _SCRIPT, "circle_id": "demo", "run_at": LATER}] * 3}, [SECOND]),
    changes=True,
)
async def submit_many(
    caller: Caller,
    jobs: Annotated[list[NewJob], Meta(min_length=1, max_length=10_000)],
    if_exists: IfExists = "return",
) -> list[Job]:
    """Store and queue many jobs, all or none; the answer has them in their order.

    Args:
        jobs: the jobs, with the fields of `job.submit`
        if_exists: what happens if a job's key is taken: return the job that has it, or raise, which refuses all
    """
    submitted = await caller.backend.core.submit_many([made(new, caller) for new in jobs], if_exists=if_exists)
    return [shown_job(job) for job in submitted]


@method(
    "job.get",
    Role.VIEWER,
    errors=(Code.JOB_NOT_FOUND,),
    example=Example({"ref": "demo/default/1"}, SHOWN),
    aliases={"guid": "ref"},
)
async def get(caller: Caller, ref: RefText) -> Job:
    """Return a job as it is now.

    Args:
        ref: the job
    """
    return shown_job(await caller.backend.core.get(ref))


@method(
    "job.wait",
    Role.VIEWER,
    errors=(Code.JOB_NOT_FOUND, Code.WAIT_TIMEOUT, Code.UNAVAILABLE),
    example=Example({"ref": "demo/default/1", "timeout": 30}, DONE),
    aliases={"guid": "ref"},
)
async def wait(caller: Caller, ref: RefText, timeout: Annotated[float, Meta(ge=0)] = 30.0) -> Job:
    """Wait until a job is over, well or not, and return it; error 1006 if it isn't by then: call again.

    Args:
        ref: the job
        timeout: seconds to wait; more than 60 count as 60
    """
    waiting = asyncio.ensure_future(caller.backend.core.wait(ref, min(timeout, LONGEST_WAIT)))
    job = await caller.backend.unless_stopping(waiting, caller.is_over)
    caller.check_again()
    return shown_job(job)


@method(
    "job.list",
    Role.VIEWER,
    example=Example({"circle_id": "demo", "topic": "default"}, {"jobs": [DONE], "cursor": None}),
)
async def list_jobs(
    caller: Caller,
    circle_id: CircleId | None = None,
    topic: Topic | None = None,
    status: str | None = None,
    params_type: str | None = None,
    session_key: str | None = None,
    limit: Limit = 100,
    cursor: str | None = None,
    reason: str | None = None,
    tag: str | None = None,
    text: str | None = None,
    since: Millis | None = None,
    until: Millis | None = None,
) -> JobPage:
    """Return a page of jobs that meet every condition given, the newest submission first.

    Args:
        circle_id: their circle; all that the session has if not given
        topic: their topic
        status: new, active, done or error
        params_type: their kind
        session_key: the key that submitted them
        limit: most jobs to return; fewer come where they are large, and a cursor
        cursor: `cursor` of the page before
        reason: why they ended: done, failed, timeout, cancelled ...
        tag: one of their tags
        text: words in their params, result or error
        since: submitted at or after this
        until: submitted before this
    """
    jobs, rest = await caller.backend.in_thread(
        lambda: page(
            caller.backend.index,
            limit,
            cursor,
            circle=caller.circles if circle_id is None else circle_id,
            topic=topic,
            status=status,
            kind=params_type,
            session_key=session_key,
            reason=reason,
            tag=tag,
            text=text,
            since=since,
            until=until,
        )
    )
    return JobPage([shown_job(job) for job in jobs], rest)


@method(
    "job.history",
    Role.VIEWER,
    errors=(Code.JOB_NOT_FOUND,),
    example=Example({"ref": "demo/default/1"}, [SHOWN, DONE]),
    aliases={"guid": "ref"},
)
async def history(caller: Caller, ref: RefText) -> list[Job]:
    """Return every version of a job that is kept, the oldest first.

    Args:
        ref: the job
    """
    return [shown_job(job) for job in await caller.backend.core.history(ref)]


@method(
    "job.log",
    Role.VIEWER,
    errors=(Code.JOB_NOT_FOUND,),
    example=Example({"ref": "demo/default/1"}, {"text": "", "next": 0}),
    aliases={"guid": "ref"},
)
async def log_of(caller: Caller, ref: RefText, after: Annotated[int, Meta(ge=0, le=1 << 53)] = 0) -> LogPart:
    """Return what is kept of a job's output, from a position on; GET /jobs/{circle}/{topic}/{id}/log follows it live.

    Args:
        ref: the job
        after: the byte offset to begin at: 0, then `next` of the answer before
    """
    name = _ref(ref)
    await caller.backend.core.get(name)
    text, end = log_part(caller, name, after)
    return LogPart(text, end)


@method(
    "job.progress",
    Role.VIEWER,
    errors=(Code.JOB_NOT_FOUND, Code.UNAVAILABLE),
    example=Example({"ref": "demo/default/1"}, None),
)
async def progress(caller: Caller, ref: RefText) -> Progress | None:
    """Return how far a running job has said it is: percent, text, and when it said so; null if it hasn't.

    Args:
        ref: the job
    """
    return await caller.backend.core.progress(ref)


@method(
    "job.cancel",
    Role.OPERATOR,
    errors=(Code.JOB_NOT_FOUND, Code.JOB_CONFLICT, Code.UNAVAILABLE),
    example=Example({"ref": "demo/default/2"}, CANCELLED),
    changes=True,
    aliases={"guid": "ref"},
)
async def cancel(caller: Caller, ref: RefText) -> Job:
    """Cancel a job: a waiting one ends at once, a running one is interrupted and, if it doesn't stop, killed.

    Args:
        ref: the job
    """
    return shown_job(await caller.backend.core.cancel(ref))


@method(
    "job.retry",
    Role.OPERATOR,
    errors=(Code.JOB_NOT_FOUND, Code.JOB_CONFLICT, Code.UNAVAILABLE),
    example=Example({"ref": "demo/default/2"}, SECOND),
    changes=True,
    aliases={"guid": "ref"},
)
async def retry(caller: Caller, ref: RefText) -> Job:
    """Queue a job again that is over, under the same name; what it was stays in its history.

    Args:
        ref: the job
    """
    return shown_job(await caller.backend.core.again.retry(ref))


@method(
    "job.delete",
    Role.OPERATOR,
    errors=(Code.JOB_NOT_FOUND, Code.JOB_CONFLICT, Code.UNAVAILABLE),
    example=Example({"ref": "demo/default/3"}, True),
    changes=True,
    aliases={"guid": "ref"},
)
async def delete(caller: Caller, ref: RefText) -> bool:
    """Remove a job for good, with its whole history.

    Args:
        ref: the job
    """
    await caller.backend.core.delete(ref)
    return True


def log_part(caller: Caller, ref: Ref, after: int) -> tuple[str, int]:
    """Return the kept output of a job from a byte offset on, cut between characters, and where it ends."""
    try:
        with caller.backend.store.log_path(*ref).open("rb") as file:
            file.seek(after)
            data = file.read(MOST_LOG)
    except FileNotFoundError:
        return "", after
    cut = len(data)
    for back in range(1, min(4, len(data)) + 1):  # a character whose last bytes aren't there yet
        byte = data[-back]
        if byte & 0xC0 != 0x80:
            needed = 1 if byte < 0x80 else 2 if byte >> 5 == 6 else 3 if byte >> 4 == 14 else 4
            if needed > back and byte >= 0xC0:
                cut -= back
            break
    return data[:cut].decode("utf-8", "replace"), after + cut


def _ref(ref: Any) -> Ref:
    """Return a reference, which the check of access has made of the text."""
    assert isinstance(ref, Ref)
    return ref


def is_new(job: Job) -> None:
    """Refuse to change a job that isn't waiting any more.

    Raises:
        JobConflict: it isn't new.
    """
    if job.status != JobStatus.NEW:
        raise JobConflict(f"{job.ref} is {job.status}; only a new job can be changed")
