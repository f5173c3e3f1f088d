"""Foreign jobs: how a claimed job that another program wrote becomes one of ours. Pure helpers, no I/O.

What a WatchDog does with each job of a claim that isn't `is_ours`, before it runs it (Redis layout, B1, C5, C6):

1. No JSON (`claimed.job is None`): look in OurDB under `claimed.db_id`; what is there and not over is adopted from
   there. Else `HGET` field `job` of each of `legacy_keys(claimed.id)` and pass it to `read_legacy`. Nothing found:
   `calls.bury` with the reason.
2. `read(claimed, queue)` gives the job; `InvalidJob` means that it can't be read: finish the claim with `unreadable`,
   status error, so that its producer sees the reason in the hash, and `calls.bury` if the id is no number.
3. `place(job, claimed.number, stored, highest)` tells where OurDB gets it: under its own id, nowhere as it has the very
   job, or under a fresh id. For a fresh one tell in the log that two programs give out the same ids, and that a topic
   of its own for the foreign one helps.
4. OurDB first, then `calls.adopt(queue, token, key, hash_json(job, key), db_id)`; False: the claim was lost. A job that
   was found under a legacy key is removed there once this is done.
5. A cancel that was requested meanwhile shows in the answer to `start` or `extend`.
"""

from __future__ import annotations

import re
from enum import Enum

from herojobs import job as jobs
from herojobs.errors import HeroJobsError, InvalidJob
from herojobs.job import Job, JobStatus, ParamsType, Reason, now_ms
from herojobs.live.call import JobKey
from herojobs.live.calls import Claimed
from herojobs.names import Queue

_UUID = re.compile(rb"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Place(Enum):
    """Where OurDB gets an adopted job."""

    ITS_OWN_ID = "its own id"
    THERE_ALREADY = "there already"
    FRESH_ID = "fresh id"


def same_job(one: Job, other: Job) -> bool:
    """Return whether two jobs of the same id are one job in two states: what a producer gave at submission is equal."""
    return (
        one.params == other.params
        and one.session_key == other.session_key
        and one.time_scheduled == other.time_scheduled
    )


def place(job: Job, number: int, stored: Job | None, highest: int) -> Place:
    """Return where OurDB gets a foreign job.

    Args:
        job: the job.
        number: the id it was pushed with, 0 if that is none.
        stored: what OurDB has under that id, None if nothing.
        highest: highest id that OurDB can hold.
    """
    if stored is not None and same_job(job, stored):
        return Place.THERE_ALREADY
    if stored is None and 0 < number <= highest:
        return Place.ITS_OWN_ID
    return Place.FRESH_ID


def read(claimed: Claimed, queue: Queue) -> Job:
    """Return the job in a claimed hash as it starts with us: new, its attempts not counted yet.

    Circle and topic are the key's; the spelling of the JSON is kept if it comes to the same names.

    Raises:
        InvalidJob: the JSON can't be read; the error says where.
    """
    return _fresh(jobs.decode_foreign(claimed.job or b""), claimed.number, queue)


def legacy_keys(id: bytes) -> list[str]:
    """Return the keys that older generations keep a job under, whose id was pushed without a hash."""
    text = id.decode("utf-8", "replace")
    if _UUID.fullmatch(id):
        return [f"herojobs:{text}"]
    return [f"jobsmanager:{text}"] if id.isdigit() else []


def read_legacy(data: bytes, id: bytes, queue: Queue) -> Job | None:
    """Return the job found under a legacy key, None if it isn't this queue's or can't be read.

    Numbers are unique within a queue only, so their keys may hold another queue's job (Redis layout, B1).
    """
    try:
        job = jobs.decode_foreign(data)
        if Queue.of(job.circle_id, job.topic) != queue:
            return None
    except HeroJobsError:
        return None
    return _fresh(job, int(id) if id.isdigit() else 0, queue)


def unreadable(error: InvalidJob, claimed: Claimed, queue: Queue) -> Job:
    """Return what stands in the hash of a job that can't be read: ended, with the reason."""
    now = now_ms()
    return Job(
        job_id=claimed.number,
        circle_id=queue.circle,
        topic=queue.topic,
        params=(claimed.job or b"")[:10_000].decode("utf-8", "replace"),
        params_type=ParamsType.OPENRPC.value,
        status=JobStatus.ERROR.value,
        time_scheduled=now // 1000,
        time_end=now // 1000,
        ended_ms=now,
        reason=Reason.FAILED.value,
        error=f"this job can't be read: {error}",
    )


def hash_json(job: Job, key: JobKey) -> bytes:
    """Return the job's JSON for its hash, where `jobid` is the key's id, whatever OurDB knows the job by."""
    number, job.job_id = job.job_id, key if isinstance(key, int) and key <= jobs.MAX_ID else job.job_id
    try:
        return jobs.encode(job)
    finally:
        job.job_id = number


def _fresh(job: Job, number: int, queue: Queue) -> Job:
    """Make a job that was read start anew; what only ours write is never believed from outside."""
    try:
        matches = Queue.of(job.circle_id, job.topic) == queue
    except HeroJobsError:
        matches = False
    if not matches:
        job.circle_id, job.topic = queue
    job.job_id = number
    job.status = JobStatus.NEW.value
    job.created_ms = now_ms()
    job.time_scheduled = job.time_scheduled or job.created_ms // 1000
    job.time_start = job.time_end = job.attempts = job.signal = job.started_ms = job.ended_ms = 0
    job.reason = job.error = job.result = ""
    job.priority = min(max(job.priority, 0), jobs.MAX_PRIORITY)
    job.max_attempts = min(max(job.max_attempts, 1), jobs.MAX_ATTEMPTS)
    return job
