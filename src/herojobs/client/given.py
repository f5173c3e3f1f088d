"""What callers give a client, made into what it works with: jobs and references."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from herojobs import job as jobs
from herojobs.errors import InvalidJob, InvalidReference
from herojobs.job import After, Job
from herojobs.live.call import JobKey, job_key
from herojobs.names import Ref

T = TypeVar("T")
AnyRef = str | Ref | Job
"""What names a job: `circle/topic/id`, a `Ref`, or the job itself."""


def new_job(
    params: str,
    params_type: str,
    circle_id: str,
    topic: str,
    timeout: int,
    at: int | datetime | None,
    priority: int,
    max_attempts: int | None,
    log: bool,
    tags: Iterable[str],
    parent: str,
    retries: int | None,
    retry_delay: float | None,
    retry_on: Iterable[str] | None,
    idempotency_key: str,
    unique_key: str,
    unique_until: str | int,
    expires_at: int | datetime | None,
    limit_key: str,
    after: Iterable[AnyRef | After],
    on_failure: str,
) -> Job:
    """Return a job made of what `HeroJobs.submit` was given."""
    return Job(
        params=params,
        params_type=str(params_type),
        circle_id=circle_id,
        topic=topic,
        timeout=timeout,
        time_scheduled=0 if at is None else _seconds(at, "at"),
        priority=priority,
        max_attempts=jobs.DEFAULT_MAX_ATTEMPTS if max_attempts is None else max_attempts,
        log=log,
        tags=listed(tags, "tags") if tags else [],
        parent=parent,
        retries=retries,
        retry_delay=retry_delay,
        retry_on=None if retry_on is None else listed(retry_on, "retry_on"),
        idempotency_key=idempotency_key,
        unique_key=unique_key,
        unique_until=unique_until,
        expires_at=0 if expires_at is None else _seconds(expires_at, "expires_at"),
        limit_key=limit_key,
        after=[as_after(each, on_failure) for each in listed(after, "after")] if after else [],
    )


def _seconds(moment: int | datetime, name: str) -> int:
    if isinstance(moment, datetime):
        return int(moment.timestamp())
    if not isinstance(moment, int):
        raise InvalidJob(name, moment, "no time", "unix seconds, whole ones, or a datetime")
    return moment


def as_job(given: Job | Mapping[str, Any]) -> Job:
    """Return a new job from a `Job` that isn't submitted yet, or from its fields by their Python names.

    Raises:
        InvalidJob: it was submitted already, or has a field that doesn't exist or is of a wrong type, or is something
            else.
    """
    if isinstance(given, Job):
        if given.job_id:
            raise InvalidJob("job_id", given.job_id, "this job was submitted already", "a new Job, or `retry`")
        return given
    if not isinstance(given, Mapping):
        raise InvalidJob("job", given, "neither a Job nor its fields by their names")
    try:
        named = {jobs.JSON_NAMES[name]: value for name, value in given.items()}
        return msgspec.convert({"circleid": "default", **named}, Job, strict=True)
    except KeyError as e:
        raise InvalidJob(str(e.args[0]), given[e.args[0]], "a job has no such field") from None
    except msgspec.ValidationError as e:
        shown = {name: jobs.MASK if name == "session_key" else value for name, value in given.items()}
        raise InvalidJob("job", shown, str(e)) from None


def as_jobs(given: Iterable[Job | Mapping[str, Any]]) -> list[Job]:
    """Return new jobs from what `as_job` takes.

    Raises:
        InvalidJob: as `as_job`; the error says which one it is.
    """
    made: list[Job] = []
    try:
        for each in given:
            made.append(as_job(each))  # noqa: PERF401 - an error tells by it how far we got
    except InvalidJob as e:
        e.place(len(made))
        raise
    return made


def as_ref(ref: AnyRef) -> Ref:
    """Return the reference that names a job.

    Raises:
        InvalidReference: the text isn't one, or it is no text.
    """
    if isinstance(ref, Ref):
        return ref
    if isinstance(ref, Job):
        return ref.ref
    if not isinstance(ref, str):
        raise InvalidReference(str(ref), f"it is of type {type(ref).__name__}")
    return Ref.parse(ref)


def listed(given: Iterable[T], name: str) -> list[T]:
    """Return a list of what was given as `name`.

    Raises:
        InvalidJob: it is one thing that would fall to pieces, a text into its letters.
    """
    if isinstance(given, str | bytes | Ref):
        raise InvalidJob(name, str(given), "one alone, not a list", f"[{str(given)!r}]")
    return list(given)


def as_after(given: AnyRef | After, on_failure: str) -> After:
    """Return one of the jobs that another comes after.

    Raises:
        InvalidReference: the text isn't a reference.
    """
    if isinstance(given, After):
        return After(str(Ref.parse(given.ref)), given.on_failure)
    return After(str(as_ref(given)), on_failure)


def redis_key(job: Job) -> JobKey:
    """Return the id by which Redis knows a job."""
    return job_key(job.key.encode()) if job.key else job.job_id
