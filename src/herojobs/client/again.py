"""Running jobs once more: one that is over, all that failed, or a copy with changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from herojobs import job as jobs
from herojobs.client.given import AnyRef, as_job, as_ref, redis_key
from herojobs.errors import (
    InvalidJob,
    JobConflict,
    JobExists,
    JobNotFound,
    RedisUnavailable,
    SubmissionUnconfirmed,
    did_you_mean,
)
from herojobs.job import Job, JobStatus, Reason, now_ms
from herojobs.live import admin
from herojobs.live.transport import Redis
from herojobs.names import Queue, Ref
from herojobs.store import Found, JobIndex, JobStore, Position, Put
from herojobs.store.keys import KeyedJobs

AT_ONCE = 500
"""Jobs that one look at the index and one Redis call take."""
LEFT_ALONE = frozenset({Reason.CANCELLED, Reason.REMOVED, Reason.EXPIRED})
"""Reasons of jobs that shouldn't run any more: `retry_many` takes them only if it is asked for them."""

SubmitMany = Callable[[Iterable[Job], str], Awaitable[list[Job]]]


class Again:
    """What a client does to run jobs once more; a part of `herojobs.client.core.Core`."""

    def __init__(
        self,
        redis: Redis,
        store: JobStore,
        keyed: KeyedJobs,
        index: JobIndex,
        submit_many: SubmitMany,
        apart: Callable[..., Awaitable[Any]],
    ) -> None:
        self._apart = apart
        self._redis = redis
        self._store = store
        self._keyed = keyed
        self._index = index
        self._submit_many = submit_many

    async def retry(self, ref: AnyRef) -> Job:
        """Queue a job again that is over; see `HeroJobs.retry`."""
        queue, number = as_ref(ref)
        job, position = self._store.tip(queue, number)
        if not job.is_over and job.reason != Reason.RETRYING:
            raise JobConflict(f"{Ref(queue, number)} isn't over, it is {job.status}")
        await self._redis.connect()
        if not await self._queue_again(queue, [(job, Put(number, _renewed(job), position))]):
            raise JobConflict(f"{Ref(queue, number)} was changed by someone else in this moment")
        return job

    async def retry_many(
        self,
        circle_id: str | None,
        topic: str | None,
        reason: str | None,
        kind: str | None,
        tag: str | None,
        since: datetime | None,
        until: datetime | None,
    ) -> list[Ref]:
        """Queue all jobs again that ended in error and meet the conditions; see `HeroJobs.retry_many`."""
        if reason is not None and reason not in (known := [each.value for each in Reason]):
            raise InvalidJob("reason", reason, "no such reason", did_you_mean(reason, known))
        await self._redis.connect()
        queued: list[Ref] = []
        cursor: str | None = None
        while True:
            found: Found = await self._apart(
                self._index.find,
                circle=circle_id,
                topic=topic,
                status=JobStatus.ERROR.value,
                reason=reason,
                kind=kind,
                tag=tag,
                since=None if since is None else int(since.timestamp() * 1000),
                until=None if until is None else int(until.timestamp() * 1000),
                limit=AT_ONCE,
                before=cursor,
                fresh=cursor is None,
            )
            wanted: dict[Queue, list[int]] = {}
            for job in reversed(found.jobs):  # the oldest of them first, as they were submitted
                if job.status == JobStatus.ERROR and (reason is not None or job.reason not in LEFT_ALONE):
                    wanted.setdefault(job.queue, []).append(job.job_id)
            for queue, numbers in wanted.items():
                queued += await self._retry_some(queue, numbers)
            cursor = found.cursor
            if cursor is None:
                return queued

    async def duplicate(self, ref: AnyRef, changes: Mapping[str, Any], session_key: str) -> Job:
        """Submit a copy of a job with changes; see `HeroJobs.duplicate`."""
        queue, number = as_ref(ref)
        job = self._store.get(queue, number)
        for name in changes:
            if name not in COPIED:
                raise InvalidJob(name, changes[name], "can't be set", did_you_mean(name, COPIED))
        copied = {name: getattr(job, name) for name in COPIED if name not in ONE_JOBS_OWN}
        return (await self._submit_many([as_job(copied | dict(changes))], session_key))[0]

    async def _retry_some(self, queue: Queue, numbers: list[int]) -> list[Ref]:
        entries: list[tuple[Job, Put]] = []
        queued: list[Ref] = []
        for number in numbers:
            with suppress(JobNotFound):  # deleted since the index saw it
                job, position = self._store.tip(queue, number)
                if job.status == JobStatus.ERROR:
                    entry = (job, Put(number, _renewed(job), position))
                    if job.unique_key:  # one at a time: another job may have its key by now
                        with suppress(JobExists):
                            queued += await self._queue_again(queue, [entry])
                    else:
                        entries.append(entry)
        return queued + await self._queue_again(queue, entries)

    async def _queue_again(self, queue: Queue, entries: list[tuple[Job, Put]]) -> list[Ref]:
        """Store jobs as new and queue them; return those that nobody else has changed since they were read."""
        positions = self._put(queue, entries)
        accepted = [entry for entry, position in zip(entries, positions, strict=True) if position is not None]
        refs = [Ref(queue, put.id) for _, put in accepted]
        try:
            await self._redis.run_many(
                [admin.retry(queue, redis_key(job), put.data, job.priority) for job, put in accepted]
            )
        except RedisUnavailable as e:
            raise SubmissionUnconfirmed([str(ref) for ref in refs], e) from e
        return refs

    def _put(self, queue: Queue, entries: list[tuple[Job, Put]]) -> list[Position | None]:
        puts = [put for _, put in entries]
        if not any(job.unique_key for job, _ in entries):
            return self._store.put_many(queue, puts)
        with self._store.writing(queue):
            for job, _ in entries:
                self._keyed.take(queue, job)
            return self._store.put_many(queue, puts)


COPIED = (
    "session_key", "circle_id", "topic", "params", "params_type", "timeout", "log", "max_attempts", "priority", "tags",
    "retries", "retry_delay", "retry_on", "limit_key", "expires_at", "idempotency_key", "unique_key", "unique_until",
)  # fmt: skip
"""Fields that can be changed in a duplicate; it takes them over, but for the following."""
ONE_JOBS_OWN = frozenset({"expires_at", "idempotency_key", "unique_key", "unique_until"})


def _renewed(job: Job) -> bytes:
    """Make a job new that is over; return its JSON."""
    job.status, job.reason, job.error, job.result = JobStatus.NEW.value, "", "", ""
    job.error_detail, job.usage = {}, {}
    job.cancelled_while = ""
    job.attempts = job.signal = job.time_start = job.time_end = job.started_ms = job.ended_ms = job.retried = 0
    job.expires_at = 0  # whoever asks for it now wants it
    job.time_scheduled = now_ms() // 1000
    return jobs.encode(job)
