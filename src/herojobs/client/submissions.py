"""The way of jobs in: checked, stored in OurDB, queued in Redis.

All jobs of a call are checked before the first one is stored, and stored before the first one is queued. Then Redis
gets them part by part, and works on one while the next is packed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from herojobs import job as jobs
from herojobs.client.flows import prepare
from herojobs.client.given import as_jobs
from herojobs.errors import (
    Forbidden,
    InvalidJob,
    RedisUnavailable,
    SubmissionUnconfirmed,
    Unauthorized,
    did_you_mean,
)
from herojobs.job import Job, JobStatus, now_ms, validate
from herojobs.live.calls import Submitted, expire_at, submit
from herojobs.live.transport import Redis
from herojobs.names import Queue
from herojobs.ourdb import OurDBError
from herojobs.sessions import Role, Sessions
from herojobs.settings import Settings
from herojobs.store import JobStore
from herojobs.store.keys import KeyedJobs, has_keys

JOBS_A_CALL = 500
"""Jobs that one Redis call submits; more would hold up other clients."""
IF_EXISTS = ("return", "raise")


class Submissions:
    """What a client does to submit jobs; a part of `herojobs.client.core.Core`.

    Args:
        settings: the settings in force.
        redis: where they are queued.
        store: where they are stored.
        keyed: stores those that have keys.
        sessions: who may submit, where the setting `require_session` asks.
    """

    def __init__(self, settings: Settings, redis: Redis, store: JobStore, keyed: KeyedJobs, sessions: Sessions) -> None:
        self._settings = settings
        self._redis = redis
        self._store = store
        self._keyed = keyed
        self._sessions = sessions

    async def submit(self, job: Job, session_key: str = "", if_exists: str = "return") -> Job:
        """Validate a new job, store it, queue it; see `HeroJobs.submit`."""
        if if_exists != "return" or job.after or job.expires_at or has_keys(job) or self._settings.require_session:
            return (await self.submit_many((job,), session_key, if_exists))[0]
        queue = self._prepare(job, now_ms(), session_key)
        redis = self._redis
        await redis.connect()  # while nothing is written yet
        (data,) = self._store.add_many(queue, (job,))
        self._store.remember_spelling(queue, job.circle_id, job.topic)
        try:
            answer = await redis.run(submit(queue, ((job.job_id, data, job.time_scheduled * 1000, job.priority),)))
        except RedisUnavailable as e:
            raise SubmissionUnconfirmed([str(job.ref)], e) from e
        if answer.existing:
            await self._rename(queue, [job], answer)
        return job

    async def submit_many(
        self, given: Iterable[Job | Mapping[str, Any]], session_key: str = "", if_exists: str = "return"
    ) -> list[Job]:
        """Validate all jobs, store them, queue them; see `HeroJobs.submit_many`."""
        if if_exists not in IF_EXISTS:
            raise InvalidJob("if_exists", if_exists, "no such way", did_you_mean(if_exists, IF_EXISTS))
        new = as_jobs(given)
        if len(set(map(id, new))) < len(new):
            raise InvalidJob("jobs", f"{len(new)} jobs", "the same Job object is in it twice", "an object for each job")
        by_queue: dict[Queue, list[Job]] = {}
        now = now_ms()
        for place, job in enumerate(new):
            try:
                queue = self._prepare(job, now, session_key)
            except InvalidJob as e:
                if len(new) > 1:
                    e.place(place)
                raise
            group = by_queue.get(queue)
            if group is None:
                by_queue[queue] = [job]
            else:
                group.append(job)
        if self._settings.require_session:
            await self._check_keys(by_queue)
        await self._redis.connect()  # while nothing is written yet
        instead: dict[int, Job] = {}
        stored = self._stored(by_queue, if_exists == "raise", instead)
        sent: list[tuple[Queue, list[Job]]] = []
        try:
            async with self._redis.pipeline() as pipeline:
                for queue, group, written in stored:
                    for start in range(0, len(group), JOBS_A_CALL):
                        part = group[start : start + JOBS_A_CALL]
                        await pipeline.send(submit(queue, _entries(part, written[start : start + JOBS_A_CALL])))
                        sent.append((queue, part))
                        if expiring := _expiring(part):
                            await pipeline.send(expire_at(queue, expiring))
                            sent.append((queue, []))
                for job in instead.values():
                    if job.status == JobStatus.NEW and not job.time_start:  # perhaps its client died before queueing it
                        await pipeline.send(submit(job.queue, _entries([job], [jobs.encode(job)])))
                        sent.append((job.queue, []))
                answers = await pipeline.results()
        except RedisUnavailable as e:
            raise SubmissionUnconfirmed([str(job.ref) for job in new], e) from e
        for (queue, part), answer in zip(sent, answers, strict=True):
            if part and answer.existing:
                await self._rename(queue, part, answer)
        return [instead.get(id(job), job) for job in new] if instead else new

    def _prepare(self, job: Job, now: int, session_key: str) -> Queue:
        """Check a job and set what its submission sets; return its queue."""
        queue = validate(job, max_params=self._settings.max_params)
        job.created_ms = now
        job.session_key = job.session_key or session_key
        job.time_scheduled = job.time_scheduled or now // 1000
        if job.after:
            prepare(job, self._store)
        return queue

    async def _check_keys(self, by_queue: Mapping[Queue, list[Job]]) -> None:
        """Raise `AccessDenied` unless every job has a key that allows it; the WatchDog would refuse it later."""
        known = await self._sessions.check_many({job.session_key for g in by_queue.values() for job in g}, self._redis)
        for queue, group in by_queue.items():
            for session in {known[job.session_key] for job in group}:
                if session is None:
                    raise Unauthorized("jobs need a valid session key here (setting require_session)")
                if why := session.refusal(Role.SUBMITTER, queue.circle):
                    raise Forbidden(why)

    def _stored(
        self, by_queue: Mapping[Queue, list[Job]], must_be_new: bool, instead: dict[int, Job]
    ) -> list[tuple[Queue, list[Job], list[bytes]]]:
        """Store jobs in OurDB, all or, where a database can't be written, none; return them with their JSON.

        Those whose key another job has aren't stored; that one is noted in `instead`, by the `id` of the object.
        """
        stored: list[tuple[Queue, list[Job], list[bytes]]] = []
        try:
            for queue, group in by_queue.items():
                if any(map(has_keys, group)):
                    kept = self._keyed.add_many(queue, group, must_be_new=must_be_new)
                    instead |= {id(job): each.job for job, each in zip(group, kept, strict=True) if each.job is not job}
                    fresh = [each for job, each in zip(group, kept, strict=True) if each.job is job]
                    stored.append((queue, [each.job for each in fresh], [each.data for each in fresh]))
                else:
                    stored.append((queue, group, self._store.add_many(queue, group)))
                self._store.remember_spelling(queue, group[0].circle_id, group[0].topic)
        except BaseException as e:
            left = []
            for queue, group, _ in stored:
                try:
                    self._store.delete(queue, [job.job_id for job in group])
                except (OurDBError, OSError):
                    left += [str(job.ref) for job in group]
                else:
                    for job in group:
                        job.job_id = 0
            if left:
                raise SubmissionUnconfirmed(left, e) from e
            raise
        return stored

    async def _rename(self, queue: Queue, part: Sequence[Job], answer: Submitted) -> None:
        """Give jobs another id whose Redis key a foreign program, or a history that was lost, has used already."""
        while moved := self._take_back(queue, part, answer):
            ((_, part, written),) = self._stored({queue: moved}, False, {})
            try:
                answer = await self._redis.run(submit(queue, _entries(part, written)))
                if expiring := _expiring(part):
                    await self._redis.run(expire_at(queue, expiring))
            except RedisUnavailable as e:
                raise SubmissionUnconfirmed([str(job.ref) for job in part], e) from e

    def _take_back(self, queue: Queue, part: Sequence[Job], answer: Submitted) -> list[Job]:
        """Delete jobs from OurDB whose id is taken in Redis; return them, without an id."""
        taken = {existing.id for existing in answer.existing}
        moved = [job for job in part if job.job_id in taken and not self._has_run(queue, job)]
        if moved:
            self._store.delete(queue, [job.job_id for job in moved])
        for job in moved:
            job.job_id = 0
        return moved

    def _has_run(self, queue: Queue, job: Job) -> bool:
        """Return whether reconciliation was faster than we and the job has gone on since."""
        return self._store.get(queue, job.job_id).status != JobStatus.NEW


def _entries(part: Sequence[Job], written: Sequence[bytes]) -> list[tuple[int, bytes, int, int]]:
    """Return what Redis is given of jobs: id, JSON, due time in ms, priority."""
    return [
        (job.job_id, data, job.time_scheduled * 1000, job.priority) for job, data in zip(part, written, strict=True)
    ]


def _expiring(part: Sequence[Job]) -> list[tuple[int, int]]:
    return [(job.job_id, job.expires_at * 1000) for job in part if job.expires_at]
