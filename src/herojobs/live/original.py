"""The original's low-level operations on Redis (Redis layout, A3), over any transport, on the one key that B1 leaves.

They move jobs as the original does: without leases, at the risk of whoever calls them. Programs that submit and run
jobs use the client and a WatchDog; these are for tools, tests and programs that talk to the original's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from herojobs import job as jobs
from herojobs.errors import JobNotFound
from herojobs.job import Job, JobStatus, now_ms
from herojobs.live.call import JobKey, job_key
from herojobs.live.transport import PAGE, Redis
from herojobs.names import Queue, Ref


class Queued(NamedTuple):
    """An id in a queue."""

    queue: Queue
    id: JobKey


class Original:
    """The original's operations.

    Args:
        redis: the transport; over a `BlockingRedis`, run each with `run_sync`.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def store(self, job: Job) -> None:
        """Write a job's hash: StoreJob."""
        await self._redis.command("HSET", self._key(job.queue, job.job_id), "job", jobs.encode(job))

    async def get(self, queue: Queue, id: JobKey) -> Job:
        """Return a job: GetJob. Raises JobNotFound, and InvalidJob if its JSON can't be read."""
        data = await self._redis.command("HGET", self._key(queue, id), "job")
        if data is None:
            raise JobNotFound(Ref(queue, id) if isinstance(id, int) else f"{queue}/{id.decode('utf-8', 'replace')}")
        return jobs.decode_foreign(data)

    async def delete(self, queue: Queue, id: JobKey) -> bool:
        """Remove a job's hash, not its id in the queue: DeleteJob. Return whether there was one."""
        return bool(await self._redis.command("DEL", self._key(queue, id)))

    async def enqueue(self, job: Job) -> None:
        """Write a job's hash, then push its id: EnqueueJob."""
        await self.store(job)
        await self._redis.command("RPUSH", self._redis.keys.queue(job.queue), job.job_id)

    async def peek(self, queue: Queue) -> Job | None:
        """Return the job that `fetch` would take: QueueGet."""
        id = await self._redis.command("LINDEX", self._redis.keys.queue(queue), -1)
        return None if id is None else await self.get(queue, job_key(id))

    async def fetch(self, queue: Queue) -> Job | None:
        """Take the newest job, None if the queue is empty: QueueFetch.

        Raises:
            JobNotFound: the id that was taken has no hash; it is out of the queue now, as with the original.
        """
        id = await self._redis.command("RPOP", self._redis.keys.queue(queue))
        return None if id is None else await self.get(queue, job_key(id))

    async def size(self, queue: Queue) -> int:
        """Return how many ids wait: QueueSize."""
        return int(await self._redis.command("LLEN", self._redis.keys.queue(queue)))

    async def empty(self, queue: Queue) -> int:
        """Remove all waiting ids with their hashes: QueueEmpty. Return their number.

        Ids that come in meanwhile stay: unlike the original, this takes out what it has seen, not the whole list.
        """
        removed = 0
        while ids := await self._redis.command("LPOP", self._redis.keys.queue(queue), PAGE):
            await self._redis.command("UNLINK", *(self._key(queue, job_key(id)) for id in ids))
            removed += len(ids)
        return removed

    async def list(self, circle: str | None = None, topic: str | None = None) -> list[Queued]:
        """Return all queued ids with their queues: ListJobs. None stands for every circle or topic."""
        found: list[Queued] = []
        for queue in await self._redis.find_queues():
            if (circle or queue.circle) == queue.circle and (topic or queue.topic) == queue.topic:
                ids = await self._redis.command("LRANGE", self._redis.keys.queue(queue), 0, -1)
                found += [Queued(queue, job_key(id)) for id in ids]
        return found

    async def update_status(self, queue: Queue, id: JobKey, status: JobStatus) -> Job:
        """Change a job's status, and its start or end time if that isn't set yet: UpdateJobStatus."""
        now = now_ms() // 1000

        def change(job: Job) -> None:
            job.status = status.value
            if status is JobStatus.ACTIVE:
                job.time_start = job.time_start or now
            elif job.is_over:
                job.time_end = job.time_end or now

        return await self._update(queue, id, change)

    async def update_result(self, queue: Queue, id: JobKey, result: str) -> Job:
        """End a job as done: UpdateJobResult."""

        def change(job: Job) -> None:
            job.status, job.result, job.time_end = JobStatus.DONE.value, result, now_ms() // 1000

        return await self._update(queue, id, change)

    async def update_error(self, queue: Queue, id: JobKey, error: str) -> Job:
        """End a job as error: UpdateJobError."""

        def change(job: Job) -> None:
            job.status, job.error, job.time_end = JobStatus.ERROR.value, error, now_ms() // 1000

        return await self._update(queue, id, change)

    async def _update(self, queue: Queue, id: JobKey, change: Callable[[Job], None]) -> Job:
        job = await self.get(queue, id)
        change(job)
        await self._redis.command("HSET", self._key(queue, id), "job", jobs.encode(job))
        return job

    def _key(self, queue: Queue, id: JobKey) -> bytes:
        return self._redis.keys.job(queue, "").encode() + (b"%d" % id if isinstance(id, int) else id)
