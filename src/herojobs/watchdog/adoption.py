"""Taking in jobs that aren't ours: pushed by a foreign program, or by an id that leads nowhere (Redis layout, C5, C6).

In the order of what is tried for a claimed id:

    its hash is missing   → OurDB has the job: that counts; else a legacy key has it: adopted; else buried
    its JSON is unreadable → it ends with the reason, under a job of its own; buried if the id is no number
    OurDB has the same job → that counts; a foreign program has only pushed or rewritten it
    OurDB has no such id   → stored under that id, if it was never used
    otherwise              → stored under a fresh id, kept in the hash's field `db`
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import msgspec

from herojobs import job as jobs
from herojobs.errors import HeroJobsError, InvalidJob, JobConflict
from herojobs.job import Job, JobStatus, Reason, now_ms
from herojobs.live.admin import look
from herojobs.live.call import Call, job_key
from herojobs.live.calls import Claimed
from herojobs.live.recovery import adopt, bury
from herojobs.live.transport import Redis
from herojobs.names import Queue, Ref
from herojobs.ourdb import NotFound
from herojobs.store.base import Store, Tip
from herojobs.store.jobs import read

log = logging.getLogger("herojobs.watchdog")


class Adopted(NamedTuple):
    """What came of an adoption.

    Attributes:
        claimed: the claim, with the id that OurDB knows the job by.
        tip: the job in OurDB, None if there is nothing to run or to settle.
        calls: what Redis is to be told.
    """

    claimed: Claimed
    tip: Tip | None
    calls: list[Call[Any]]


class Adoption:
    """Adopts foreign jobs.

    Args:
        store: the durable history.
        redis: where legacy keys are looked up.
    """

    def __init__(self, store: Store, redis: Redis) -> None:
        self._store = store
        self._redis = redis

    async def adopt(self, queue: Queue, token: str, claimed: Claimed) -> Adopted:
        """Make a claimed job ours, so that it is in OurDB like any other."""
        known = self._store.tips(queue, [claimed.db_id])[0]
        data = claimed.job
        if claimed.is_ours:  # OurDB has lost it: what Redis has counts
            data = await self._redis.run(look(queue, job_key(claimed.id)))
        if data is None and known is not None:
            return Adopted(claimed, known, [])
        if data is None:
            data = await self._legacy(queue, claimed)
        if data is None:
            return self._bury(queue, token, claimed, "no program has stored a job under this id")
        try:
            job = jobs.decode_foreign(data)
        except (InvalidJob, ValueError, RecursionError) as e:  # not UTF-8; nested too deeply
            if not claimed.number:
                return self._bury(queue, token, claimed, str(e))
            job = _unreadable(queue, str(e))
        if _queue_of(job) != queue:
            job.circle_id, job.topic = queue
        if known is not None and _same(known.data, job):
            return Adopted(claimed, known, [])
        job.key = ""
        job, tip = self._store_anew(queue, claimed.number if known is None else 0, job, claimed.id)
        if job.job_id != claimed.number:
            log.warning(
                "a foreign job pushed to %s as %s is kept as %s: give other producers a topic of their own",
                queue,
                claimed.id.decode("utf-8", "replace"),
                Ref(queue, job.job_id),
            )
        number = job.job_id
        key = job_key(claimed.id)
        job.job_id = key if isinstance(key, int) else number
        call = adopt(queue, token, key, jobs.encode(job), number)
        return Adopted(claimed._replace(db=b"%d" % number), tip, [call])

    def _store_anew(self, queue: Queue, id: int, job: Job, key: bytes) -> tuple[Job, Tip]:
        """Store a job under an id that nobody has used, else under a fresh one; of one too large, only that it came."""
        try:
            return self._store_whole(queue, id, job, key)
        except InvalidJob as e:
            job = _unreadable(queue, str(e))
            return self._store_whole(queue, id, job, key)

    def _store_whole(self, queue: Queue, id: int, job: Job, key: bytes) -> tuple[Job, Tip]:
        job.job_id = 0
        job.created_ms = job.created_ms or now_ms()
        if id:
            try:
                return job, self._store.put_at(queue, id, job)
            except (JobConflict, NotFound):
                pass
        job.key = key.decode("utf-8", "replace")
        self._store.add_many(queue, [job])
        tip = self._store.tips(queue, [job.job_id])[0]
        assert tip is not None
        return job, tip

    async def _legacy(self, queue: Queue, claimed: Claimed) -> bytes | None:
        """Return the job under the keys of older generations, if it names this very queue."""
        name = claimed.id.decode("utf-8", "replace")
        key = f"jobsmanager:{name}" if claimed.number else f"herojobs:{name}"
        try:
            data = await self._redis.command("HGET", key, "job")
            if data is None or _queue_of(jobs.decode_foreign(data)) != queue:
                return None
        except HeroJobsError:
            return None
        await self._redis.command("DEL", key)
        return bytes(data)

    def _bury(self, queue: Queue, token: str, claimed: Claimed, reason: str) -> Adopted:
        log.warning("an id pushed to %s leads nowhere: %r: %s", queue, claimed.id.decode("utf-8", "replace"), reason)
        return Adopted(claimed, None, [bury(queue, job_key(claimed.id), token, msgspec.json.encode(reason))])


def _same(record: bytes, foreign: Job) -> bool:
    """Return whether a foreign program's JSON is a job that OurDB has: pushed again, or rewritten."""
    try:
        ours = read(record)
    except (InvalidJob, ValueError, RecursionError):
        return False
    return (ours.params, ours.session_key, ours.time_scheduled) == (
        foreign.params,
        foreign.session_key,
        foreign.time_scheduled,
    )


def _queue_of(job: Job) -> Queue | None:
    try:
        return job.queue
    except HeroJobsError:
        return None


def _unreadable(queue: Queue, why: str) -> Job:
    now = now_ms()
    return Job(
        circle_id=queue.circle,
        topic=queue.topic,
        status=JobStatus.ERROR.value,
        reason=Reason.FAILED.value,
        error=f"the job can't be read: {why}",
        time_end=now // 1000,
        created_ms=now,
        ended_ms=now,
    )
