"""Brings back what Redis has lost: jobs that OurDB holds as new or active and that Redis has nowhere.

OurDB is the truth. A pass compares counts first; only queues in which something is missing are looked at id by id. New
jobs go back to their queue at once, active ones only when they were missing in an earlier pass too, a lease ago:
the WatchDog that runs one restores its lease by itself.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time

from herojobs import job as jobs
from herojobs.errors import JobNotFound
from herojobs.job import JobStatus, now_ms
from herojobs.live.admin import counts
from herojobs.live.calls import expire_at
from herojobs.live.recovery import Requeue, requeue
from herojobs.live.redis import AsyncRedis
from herojobs.names import Queue
from herojobs.settings import Settings
from herojobs.store import JobIndex, JobStore, Put
from herojobs.watchdog.fair import Turns
from herojobs.watchdog.flows import Flows

log = logging.getLogger("herojobs.watchdog")

SETTLE_MS = 5_000
"""Milliseconds that a version must be old before its absence from Redis counts: a submission may be under way."""
AT_ONCE = 500
PATIENCE = 5.0
"""Seconds that the first pass, which may have a long history to read, lets pass while jobs wait in known queues."""
POLL = 0.1
DEEP_EVERY = 10
"""Passes after which every queue is looked at id by id, whatever the counts say."""


class Reconciler:
    """Compares OurDB with Redis; `step` is one pass."""

    def __init__(self, redis: AsyncRedis, store: JobStore, index: JobIndex, settings: Settings, turns: Turns) -> None:
        self._redis = redis
        self._store = store
        self._index = index
        self._settings = settings
        self._turns = turns
        self._flows = Flows(store, redis)
        self._missing: dict[Queue, dict[int, float]] = {}  # since when, of jobs that the next pass is to look at again
        self._passes = 0
        self._again = asyncio.Event()

    def soon(self) -> None:
        """Have the next pass happen now, and look at every id: Redis was wiped or restarted."""
        self._passes = 0
        self._again.set()

    async def run(self) -> None:
        """Make passes until cancelled."""
        await self._let_waiting_jobs_go_first()
        while True:
            try:
                await self.step()
            except Exception:  # reconciliation is the last net: it must come again whatever happened
                log.exception("reconciliation failed; it comes again")
            try:
                soon = max(self._settings.lease, SETTLE_MS / 1000) if self._missing else math.inf
                async with asyncio.timeout(min(self._settings.reconcile_interval, soon)):
                    await self._again.wait()
            except TimeoutError:
                pass
            self._again.clear()

    async def _let_waiting_jobs_go_first(self) -> None:
        until = time.monotonic() + PATIENCE
        while self._turns.is_hot() and not self._again.is_set() and time.monotonic() < until:  # noqa: ASYNC110 - no event tells that queues have cooled
            await asyncio.sleep(POLL)

    async def step(self) -> int:
        """Look at every queue once; return how many jobs were brought back, or waited in vain."""
        deep = self._passes % DEEP_EVERY == 0
        self._passes += 1
        brought = freed = 0
        queues = [queue for queue in self._store.queues() if str(queue) not in self._settings.foreign_topics]
        await asyncio.to_thread(self._index.catch_up, queues)
        for queue in queues:
            open_ids = self._index.open_ids(queue, fresh=False)
            try:
                await self._flows.deliver(queue)
                if not open_ids:
                    continue
                present = await self._redis.run(counts(queue))
                if present.held:
                    freed += await self._flows.recheck(queue)
                if deep or queue in self._missing or present.total < len(open_ids):
                    brought += await self._bring_back(queue, open_ids)
            except Exception as e:  # one queue in trouble must not keep the others from being looked at
                log.error("reconciliation of %s failed; it comes again: %s", queue, e)
        if freed:
            log.warning("reconciliation: %d jobs that waited for others that are over are let go", freed)
        if brought:
            log.warning("reconciliation: %d jobs that Redis had lost are back", brought)
        return brought + freed

    async def _bring_back(self, queue: Queue, open_ids: list[int]) -> int:
        present = await self._redis.ids(queue)
        present |= self._store.doubtful(queue)
        missing = [number for number in open_ids if number not in present]
        before, waits = self._missing.pop(queue, {}), dict[int, float]()
        brought = 0
        for start in range(0, len(missing), AT_ONCE):
            entries = self._entries(queue, missing[start : start + AT_ONCE], before, waits)
            if not entries:
                continue
            answer = await self._redis.run(requeue(queue, entries))
            if expiring := [(entry.id, entry.expires_ms) for entry in entries if entry.expires_ms]:
                await self._redis.run(expire_at(queue, expiring))
            for number, data in answer.over:
                self._settle(queue, number, data)
            brought += len(answer.queued)
            self._turns.heat(queue)
        if waits:
            self._missing[queue] = waits
        return brought

    def _entries(
        self, queue: Queue, numbers: list[int], before: dict[int, float], waits: dict[int, float]
    ) -> list[Requeue]:
        """Return what to put back of jobs that Redis doesn't have; looked at afresh, as they may have ended since.

        Args:
            queue: their queue.
            numbers: their ids.
            before: since when the last pass missed them, by their id.
            waits: gets those that are put back only if the next pass misses them too.
        """
        entries = []
        now, passing = now_ms(), time.monotonic()
        for number in numbers:
            try:
                job, position = self._store.tip(queue, number)
            except JobNotFound:
                continue
            if job.is_over:
                continue
            since = before.get(number, passing)
            may_run = job.status == JobStatus.ACTIVE and passing - since < self._settings.lease
            if may_run or now - max(job.created_ms, job.started_ms) < SETTLE_MS:
                waits[number] = since
                continue
            if job.status == JobStatus.ACTIVE:
                job.status = JobStatus.NEW.value
                job.attempts -= 1  # whether a worker had begun it only Redis knew
                data = jobs.encode(job)
                if self._store.put_many(queue, [Put(number, data, position)])[0] is None:
                    continue
            data = jobs.encode(job)
            expires = 0 if job.time_start else job.expires_at * 1000
            entries.append(Requeue(number, data, job.attempts, job.time_scheduled * 1000, job.priority, expires))
        return entries

    def _settle(self, queue: Queue, number: int, data: bytes) -> None:
        """Write to OurDB the end that only Redis knows: a client that cancelled a waiting job died in between."""
        job, position = self._store.tip(queue, number)
        if not job.is_over:
            self._store.put_many(queue, [Put(number, data, position)])
