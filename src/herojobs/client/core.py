"""The way of a job in: one implementation for the synchronous and the asynchronous client.

Everything here is written as coroutines over a `Redis` transport. The asynchronous client awaits them; the synchronous
one gives them a transport that never suspends and runs each in one step (`herojobs.live.redis.run_sync`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from herojobs import job as jobs
from herojobs.client.again import Again
from herojobs.client.flows import Flows
from herojobs.client.given import AnyRef, as_ref, redis_key
from herojobs.client.prune import Pruner
from herojobs.client.rules import RuleBook
from herojobs.client.submissions import JOBS_A_CALL, Submissions
from herojobs.errors import (
    JobConflict,
    JobNotFound,
    WaitTimeout,
)
from herojobs.job import Job, JobStatus, Reason, now_ms
from herojobs.live import admin
from herojobs.live.admin import Progress
from herojobs.live.redis import Redis
from herojobs.names import Queue, Ref
from herojobs.sessions import Sessions
from herojobs.settings import Settings
from herojobs.store import Found, JobIndex, JobStore, Put
from herojobs.store.keys import KeyedJobs
from herojobs.store.rules import RuleFile

RECHECK = 1.0
"""Seconds after which `wait` looks at the job itself, should an event have been lost with a connection."""

LAST_WORDS = 0.1
"""Seconds that `follow` waits for more of a job that is over: OurDB has its end before its last words are published."""


class QueueInfo(NamedTuple):
    """A queue and how many jobs are where.

    `scheduled` ones wait for their time, `held` ones for other jobs; those of a `paused` queue don't start.
    """

    circle: str
    topic: str
    waiting: int
    scheduled: int
    active: int
    paused: bool = False
    held: int = 0


class Core:
    """What a client does, over any transport.

    Args:
        settings: the settings in force.
        redis: the transport.
        store: the durable history.
        index: the index of it, for questions over many jobs.
        sessions: who may submit, where the setting `require_session` asks.
        apart: calls what may take a while, so that it holds up no event loop: `asyncio.to_thread`, or at once.
    """

    def __init__(
        self,
        settings: Settings,
        redis: Redis,
        store: JobStore,
        index: JobIndex,
        sessions: Sessions,
        apart: Callable[..., Awaitable[Any]] = asyncio.to_thread,
    ) -> None:
        self._settings = settings
        self._redis = redis
        self._store = store
        self._index = index
        self._sessions = sessions
        self._apart = apart
        self._keyed = KeyedJobs(settings, store)
        submissions = Submissions(settings, redis, store, self._keyed, sessions)
        self.submit, self.submit_many = submissions.submit, submissions.submit_many
        self.again = Again(redis, store, self._keyed, index, self.submit_many, apart)
        """What runs jobs once more."""
        self.flows = Flows(store, index, self.submit_many, self.cancel, apart)
        """Jobs that come after others."""
        self.pruner = Pruner(settings, redis, store, index, apart)
        """What deletes jobs past their retention."""
        self.rules = RuleBook(settings, RuleFile(settings.home), redis)
        """What is paused and limited."""

    def close(self) -> None:
        """Close what only the core has open."""
        self._keyed.close()

    # looking

    async def get(self, ref: AnyRef) -> Job:
        """Return a job as it is now; see `HeroJobs.get`."""
        queue, number = as_ref(ref)
        try:
            return self._store.get(queue, number)
        except JobNotFound:
            pass
        data = await self._redis.run(admin.look(queue, number))  # a foreign program's, not yet adopted
        if data is None:
            raise JobNotFound(Ref(queue, number))
        return jobs.decode_foreign(data)

    async def wait(self, ref: AnyRef, timeout: float | None) -> Job:
        """Return a job once it is over; see `HeroJobs.wait`."""
        queue, number = as_ref(ref)
        deadline = None if timeout is None else time.monotonic() + timeout
        async with self._redis.end_of(queue, number) as end:
            while True:
                job = await self.get(ref)
                if job.is_over:
                    return job
                pause = RECHECK if deadline is None else min(RECHECK, deadline - time.monotonic())
                if pause <= 0:
                    raise WaitTimeout(f"{Ref(queue, number)} is {job.status} after {timeout:g} s")
                await end.next(pause)

    async def find(
        self,
        circle_id: str | None,
        topic: str | None,
        status: str | None,
        kind: str | None,
        reason: str | None,
        tag: str | None,
        text: str | None,
        since: datetime | None,
        until: datetime | None,
        limit: int,
        before: str | None,
    ) -> Found:
        """Return a page of jobs; see `HeroJobs.find`."""
        found: Found = await self._apart(
            self._index.find,
            circle=circle_id,
            topic=topic,
            status=status,
            kind=kind,
            reason=reason,
            tag=tag,
            text=text,
            since=None if since is None else int(since.timestamp() * 1000),
            until=None if until is None else int(until.timestamp() * 1000),
            limit=limit,
            before=before,
        )
        return found

    async def paused(self) -> list[str]:
        """Return what is paused; see `HeroJobs.paused`."""
        return sorted(self.rules.read().paused)

    async def progress(self, ref: AnyRef) -> Progress | None:
        """Return how far a running job says it is; see `HeroJobs.progress`."""
        queue, number = as_ref(ref)
        key = redis_key(self._store.get(queue, number))
        return await self._redis.run(admin.progress_of(queue, key))

    async def history(self, ref: AnyRef) -> list[Job]:
        """Return all versions of a job, the oldest first."""
        queue, number = as_ref(ref)
        return self._store.history(queue, number)

    async def log(self, ref: AnyRef) -> str:
        """Return what is kept of a job's output; see `HeroJobs.log`."""
        queue, number = as_ref(ref)
        self._store.get(queue, number)
        try:
            return self._store.log_path(queue, number).read_text("utf-8", "replace")
        except FileNotFoundError:
            return ""

    async def follow(self, ref: AnyRef) -> AsyncGenerator[str]:
        """Yield a job's output until it is over; see `HeroJobs.follow`."""
        queue, number = as_ref(ref)
        keeps = (await self.get(ref)).log
        path = self._store.log_path(queue, number)
        seen = 0
        async with self._redis.log_lines(queue, number) as lines:
            while True:
                over = (await self.get(ref)).is_over
                text = await lines.next(LAST_WORDS if over else RECHECK / 4 if seen or not keeps else 0.0)
                if keeps:  # what is published is in the file already: read there, it comes once and whole
                    data = _from(path, seen)
                    seen += len(data)
                    if data:
                        yield data.decode("utf-8", "replace")
                elif text is not None:
                    yield text
                if over and text is None:
                    return

    async def queues(self, circle_id: str | None) -> list[QueueInfo]:
        """Return the queues that there are; see `HeroJobs.queues`."""
        known = set(self._store.queues()) | set(await self._redis.find_queues())
        wanted = sorted(
            queue for queue in known if circle_id is None or queue.circle == Queue.of(circle_id, "x").circle
        )
        rules = self.rules.read()
        counts = await self._redis.run_many([admin.counts(queue) for queue in wanted])
        return [
            QueueInfo(
                queue.circle,
                queue.topic,
                each.waiting + each.priority,
                each.scheduled,
                each.leased,
                rules.is_paused(queue),
                each.held,
            )
            for queue, each in zip(wanted, counts, strict=True)
        ]

    async def peek(self, circle_id: str, topic: str) -> Job | None:
        """Return the job that is next in a queue; see `HeroJobs.peek`."""
        queue = Queue.of(circle_id, topic)
        keys = self._redis.keys
        first = await self._redis.command("ZRANGE", keys.of("heroprio", queue), 0, 0)
        number = first[0] if first else await self._redis.command("LINDEX", keys.queue(queue), 0)
        return None if number is None else await self.get(Ref(queue, int(number)))

    # acting

    async def cancel(self, ref: AnyRef) -> Job:
        """Cancel a job; see `HeroJobs.cancel`."""
        queue, number = as_ref(ref)
        job, position = self._store.tip(queue, number)
        if job.is_over:
            raise JobConflict(f"{Ref(queue, number)} is over already: {job.explain_end()}")
        is_waiting = bool(job.after) and self.flows.is_waiting(job)
        data = _cancelled(job, is_waiting)
        answer = await self._redis.run(admin.cancel(queue, redis_key(job), data, self._settings.result_ttl))
        if answer == "over":
            raise JobConflict(f"{Ref(queue, number)} ended in this moment")
        if answer == "running":
            return self._store.get(queue, number)
        while self._store.put_many(queue, [Put(number, data, position)])[0] is None:
            job, position = self._store.tip(queue, number)  # a WatchDog put it back in this moment
            if job.is_over:
                break
            data = _cancelled(job, is_waiting)
        return self._store.get(queue, number)

    async def delete(self, ref: AnyRef) -> None:
        """Remove a job; see `HeroJobs.delete`."""
        queue, number = as_ref(ref)
        job = self._store.get(queue, number)
        if await self._redis.run(admin.delete(queue, redis_key(job))) == "running":
            raise JobConflict(f"{Ref(queue, number)} is running; cancel it first")
        self._store.delete(queue, [number])

    async def empty(self, circle_id: str, topic: str) -> int:
        """Remove all waiting jobs of a queue; see `HeroJobs.empty`."""
        queue = Queue.of(circle_id, topic)
        removed = 0
        while True:
            emptied = await self._redis.run(admin.empty(queue, JOBS_A_CALL))
            if not emptied.ids:
                return removed
            removed += len(emptied.ids)
            now = now_ms()
            puts = []
            for number in emptied.ids:
                job, position = self._store.tip(queue, number)
                job.status, job.reason, job.error = JobStatus.ERROR.value, Reason.REMOVED.value, "removed from queue"
                job.ended_ms, job.time_end = now, now // 1000
                puts.append(Put(number, jobs.encode(job), position))
            self._store.put_many(queue, puts)


def _cancelled(job: Job, is_waiting: bool) -> bytes:
    """Mark a job as cancelled before it started; return its JSON."""
    now = now_ms()
    when = "its next try" if job.reason == Reason.RETRYING else "it started"
    if job.reason == Reason.RETRYING:
        job.cancelled_while = "retrying"
    elif is_waiting:
        job.cancelled_while = "waiting"
    else:
        job.cancelled_while = "scheduled" if job.time_scheduled * 1000 > now else "queued"
    job.status, job.reason, job.error = JobStatus.ERROR.value, Reason.CANCELLED.value, f"cancelled before {when}"
    job.ended_ms, job.time_end = now, now // 1000
    return jobs.encode(job)


def _from(path: Path, position: int) -> bytes:
    """Return a file's bytes from a position on, none if there is no file."""
    try:
        with path.open("rb") as file:
            file.seek(position)
            return file.read()
    except FileNotFoundError:
        return b""
