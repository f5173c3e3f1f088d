"""Retention: jobs that have been over for longer than their circle keeps them are deleted, and logs likewise.

OurDB goes first, each job on the condition that it is still as we saw it, so that one that is retried in this moment
stays. Its place in Redis goes after that; should we die in between, it ends there by itself (setting `result_ttl`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from herojobs.client.given import redis_key
from herojobs.errors import InvalidJob, did_you_mean
from herojobs.job import Job, now_ms
from herojobs.live import admin
from herojobs.live.call import JobKey
from herojobs.live.redis import Redis
from herojobs.names import Queue, fixed_name
from herojobs.settings import Settings
from herojobs.store import JobIndex, JobStore
from herojobs.store.jobs import decoded

DAY_MS = 86_400_000
BATCH = 500
STATUSES = ("done", "error")


class Pruned(NamedTuple):
    """What `prune` did: jobs deleted, logs of other jobs deleted, databases compacted."""

    jobs: int = 0
    logs: int = 0
    compacted: int = 0


class Pruner:
    """Deletes what is past its retention.

    Args:
        settings: retentions.
        redis: the transport.
        store: the jobs.
        index: tells which jobs are over.
        apart: calls what takes a while, so that it holds up no event loop.
    """

    def __init__(
        self,
        settings: Settings,
        redis: Redis,
        store: JobStore,
        index: JobIndex,
        apart: Callable[..., Awaitable[Any]],
    ) -> None:
        self._settings = settings
        self._redis = redis
        self._store = store
        self._index = index
        self._apart = apart

    async def prune(
        self,
        circle_id: str | None,
        topic: str | None,
        older_than: float | None,
        status: str | None,
        dry_run: bool,
    ) -> Pruned:
        """Delete jobs and logs; see `HeroJobs.prune`."""
        if status is not None and status not in STATUSES:
            raise InvalidJob("status", status, "only jobs that are over are pruned", did_you_mean(status, STATUSES))
        if older_than is not None and not 0 <= older_than <= 100 * 365 * 86_400:
            raise InvalidJob("older_than", older_than, "out of range", "seconds, 0 to a hundred years")
        circle = None if circle_id is None else fixed_name(circle_id, "circle_id")
        wanted_topic = None if topic is None else fixed_name(topic, "topic")
        jobs = logs = compacted = 0
        for queue in self._store.queues():
            if circle not in (None, queue.circle) or wanted_topic not in (None, queue.topic):
                continue
            kept = self._settings.retention_of(queue.circle) * DAY_MS if older_than is None else older_than * 1000
            if kept or older_than is not None:
                jobs += await self._prune_jobs(queue, now_ms() - int(kept), status, dry_run)
            kept = self._settings.log_retention_of(queue.circle) * DAY_MS if older_than is None and not status else 0
            if kept:
                logs += await self._apart(self._prune_logs, queue, now_ms() - int(kept), dry_run)
            if not dry_run:
                compacted += await self._apart(self._store.compact_if_due, queue)
        return Pruned(jobs, logs, compacted)

    async def _prune_jobs(self, queue: Queue, before: int, status: str | None, dry_run: bool) -> int:
        count = 0
        batches = self._index.over(queue, before, status)
        while ids := await self._apart(next, batches, None):
            for start in range(0, len(ids), BATCH):
                count += await self._prune_batch(queue, ids[start : start + BATCH], before, status, dry_run)
        return count

    async def _prune_batch(self, queue: Queue, ids: list[int], before: int, status: str | None, dry_run: bool) -> int:
        def delete() -> tuple[int, list[JobKey]]:
            doomed = {}
            for id, tip in zip(ids, self._store.tips(queue, ids), strict=True):
                job = tip and decoded(tip.data)
                if tip and job and job.is_over and job.status == (status or job.status) and _ended(job) <= before:
                    job.job_id = id
                    doomed[id] = redis_key(job), tip.position
            if dry_run:
                return len(doomed), []
            deleted = self._store.delete(queue, doomed, [position for _, position in doomed.values()])
            return len(deleted), [doomed[id][0] for id in deleted]

        count, keys = await self._apart(delete)
        if keys:
            await self._redis.run_many([admin.delete(queue, key) for key in keys])
        return int(count)

    def _prune_logs(self, queue: Queue, before: int, dry_run: bool) -> int:
        ids = self._store.old_logs(queue, before / 1000)
        count = 0
        for start in range(0, len(ids), BATCH):
            part = ids[start : start + BATCH]
            for id, job in zip(part, self._store.get_many(queue, part), strict=True):
                if job is not None and not (job.is_over and _ended(job) <= before):
                    continue
                count += 1
                if not dry_run:
                    self._store.log_path(queue, id).unlink(missing_ok=True)
        return count


def _ended(job: Job) -> int:
    """Return when a job ended, in unix milliseconds; other programs may not tell, or only the second."""
    return job.ended_ms or job.time_end * 1000 or job.created_ms or job.time_scheduled * 1000
