"""Leases of workers that call us: claims, extensions and ends of jobs, with nothing kept here between the calls.

A token proves everything, so a worker may go on after the server was restarted, or over another one. An end is written
only if the token still holds the job after its newest version was read: no other claim lies between, so that version
is the one that this attempt wrote, and OurDB takes the end only if it still is the newest.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import msgspec

from herojobs.errors import JobNotFound, RedisUnavailable
from herojobs.job import MASK, Job, now_ms
from herojobs.limits import Limits
from herojobs.live.calls import claim, extend, job_key, put_back
from herojobs.live.events import Event
from herojobs.live.limits import free_slots, keep_slots, slot, take_slots
from herojobs.live.redis import AsyncRedis
from herojobs.names import Queue
from herojobs.ourdb import OurDBError
from herojobs.outcome import Cancelled, Done, Failed, Outcome, TimedOut
from herojobs.server.access import parsed
from herojobs.server.feed import Feed
from herojobs.server.shapes import Claimed, Extended, Finished, Held
from herojobs.settings import Settings
from herojobs.store import JobStore
from herojobs.store.base import Position, Put
from herojobs.store.rules import Rules
from herojobs.watchdog.flows import Flows
from herojobs.watchdog.life import Life
from herojobs.watchdog.runs import Run

log = logging.getLogger("herojobs.server")

LONGEST_WAIT = 60.0
"""Seconds that one claim waits for a job at most."""
LOOK = 1.0
"""Seconds between two looks at queues that nothing was heard of: a scheduled job became due."""
CHECK = 15.0
"""Seconds that the lease of a job is extended by while its end is written."""


class Leases:
    """Does what WatchDogs do for workers that aren't ours.

    Args:
        redis: the connection.
        store: the durable history.
        settings: the settings in force.
        feed: tells of jobs that came in.
        rules: reads what is paused.
        stopping: set once the server ends.
    """

    def __init__(
        self,
        redis: AsyncRedis,
        store: JobStore,
        settings: Settings,
        feed: Feed,
        rules: Callable[[], Rules],
        stopping: asyncio.Event,
    ) -> None:
        self._redis = redis
        self._store = store
        self._settings = settings
        self._feed = feed
        self._rules = rules
        self._stopping = stopping
        self._life = Life(store, settings, redis, f"api-{secrets.token_hex(6)}", self._write)
        self._flows = Flows(store, redis)
        self._first = 0
        self._limits = Limits(settings.limit, {})
        self._limited_by: Rules | None = None

    async def claim(
        self, queues: Sequence[Queue], n: int, lease: float, wait: float, gone: Callable[[], Awaitable[bool]]
    ) -> list[Claimed]:
        """Take up to `n` jobs, waiting up to `wait` seconds for one; the queue that comes first changes each time.

        Nothing is taken for a caller that is `gone`: its jobs would wait for their leases to run out.
        """
        deadline = time.monotonic() + min(wait, LONGEST_WAIT)
        self._first += 1
        start = self._first % len(queues)
        in_turn = [*queues[start:], *queues[:start]]
        news = asyncio.Event()

        def heard(queue: Queue, events: list[Event]) -> None:
            if queue in in_turn:
                news.set()

        self._feed.add(heard)
        try:
            while True:
                news.clear()
                if self._stopping.is_set() or await gone():
                    return []
                taken: list[Claimed] = []
                rules = self._heed_rules()
                for queue in in_turn:
                    if len(taken) < n and not rules.is_paused(queue):
                        taken += await self._claim(queue, n - len(taken), lease)
                left = deadline - time.monotonic()
                if taken or left <= 0:
                    return taken
                try:
                    async with asyncio.timeout(min(left, LOOK)):
                        await news.wait()
                except TimeoutError:
                    pass
        finally:
            self._feed.remove(heard)

    def _heed_rules(self) -> Rules:
        rules = self._rules()
        if rules is not self._limited_by:
            self._limited_by = rules
            self._limits = Limits(self._settings.limit, rules.limits)
            self._life.key_bound = self._limits.of_keys if self._limits else None
        return rules

    async def _claim(self, queue: Queue, n: int, lease: float) -> list[Claimed]:
        bound = self._limits.of_circle(queue.circle)
        if bound is None:
            return await self._claim_from(queue, n, lease)
        token, ms = self._life.token(), int(lease * 1000)
        n = (await self._redis.run(take_slots(queue.circle, n, bound, ms, token))).slots
        slots = [slot(token, number + 1) for number in range(n)]
        claimed: list[Claimed] = []
        try:
            claimed = await self._claim_from(queue, n, lease) if n else []
        finally:  # a job's slot bears its reference: who ends the job knows nothing else
            used = len(claimed)
            calls = [keep_slots(queue.circle, [each.ref for each in claimed], ms, make=True)] if used else []
            if slots:
                calls.append(free_slots(queue.circle, [*slots[used:], *slots[:used]], n - used))
            await self._redis.run_many(calls)
        return claimed

    async def _claim_from(self, queue: Queue, n: int, lease: float) -> list[Claimed]:
        token = self._life.token()
        taken = await self._redis.run(claim(queue, n, int(lease * 1000), token, self._limits.of_topic(queue)))
        if not taken.jobs:
            return []
        try:
            runs, calls = await self._life.accept(queue, token, taken.jobs)
        except (OurDBError, OSError):
            back = [(each.id, token, b"") for each in reversed(taken.jobs)]
            await self._redis.run(put_back(queue, back, count_attempt=False))
            raise
        calls += self._life.tell_started(runs)
        await self._redis.run_many(calls)
        return [Claimed(run.ref, token, run.timeout, _to_run(run.job)) for run in runs]

    async def extend(self, leases: Sequence[Held], lease: float) -> Extended:
        """Make leases last `lease` seconds from now; a job that has overrun its timeout ends instead."""
        self._heed_rules()
        answer = Extended([], [], [])
        for queue, group in _by_queue(leases).items():
            runs = self._runs(queue, group)
            held = await self._redis.run(extend(queue, int(lease * 1000), [(run.id, run.token) for run in runs]))
            gone = {*held.lost, *held.missing}
            late = [run for run in runs if run.id not in gone and self._is_late(run)]
            for run in late:
                run.outcome = TimedOut(run.timeout)
            await self._end(late)
            for run in runs:
                if run.id in gone or run.outcome is not None or run.job.is_over:
                    answer.lost.append(run.ref)
                else:
                    (answer.cancelled if run.id in held.cancelled else answer.extended).append(run.ref)
            kept = [run.ref for run in runs if run.id not in gone and run.outcome is None]
            if kept and self._limits.of_circle(queue.circle):
                await self._redis.run(keep_slots(queue.circle, kept, int(lease * 1000)))
            known = {run.ref for run in runs}
            answer.lost += [ref for each in group if (ref := str(parsed(each.ref))) not in known]
        return answer

    async def finish(self, results: Sequence[Finished]) -> list[bool]:
        """End jobs; return for each whether that counts."""
        self._heed_rules()
        accepted: set[int] = set()
        for queue, group in _by_queue(results).items():
            runs = self._runs(queue, group)
            held = await self._redis.run(extend(queue, int(CHECK * 1000), [(run.id, run.token) for run in runs]))
            gone = {*held.lost, *held.missing}
            ending = [run for run in runs if run.id not in gone and not run.job.is_over]
            by_ref = {str(parsed(each.ref)): each for each in group}
            for run in ending:
                run.outcome = self._outcome(run, by_ref[run.ref], run.id in held.cancelled)
            accepted |= {id(by_ref[run.ref]) for run in await self._end(ending)}
        return [id(each) in accepted for each in results]

    def _outcome(self, run: Run, result: Finished, cancelled: bool) -> Outcome:
        if result.error is not None:
            return Cancelled() if cancelled else Failed(result.error)
        if self._is_late(run):
            return TimedOut(run.timeout)
        if len((result.result or "").encode()) > self._settings.max_result:
            return Failed(f"the result is over {self._settings.max_result:,} bytes")
        return Done(result.result or "")

    def _is_late(self, run: Run) -> bool:
        return now_ms() > run.job.started_ms + (run.timeout + self._settings.grace) * 1000

    def _runs(self, queue: Queue, group: Sequence[Held | Finished]) -> list[Run]:
        """Return what is leased as runs, from the newest versions of the jobs; those that don't exist are left out."""
        runs: dict[int, Run] = {}
        for each in group:
            number = parsed(each.ref).id
            try:
                job, position = self._store.tip(queue, number)
            except JobNotFound:
                continue
            key = job_key(job.key.encode()) if job.key else number
            timeout = job.timeout or self._settings.default_timeout
            run = runs[number] = Run(0, queue, key, number, each.token, job, timeout)
            run.position = position
        return list(runs.values())

    async def _end(self, runs: Sequence[Run]) -> list[Run]:
        """Write how runs ended; return those whose end counts."""
        before = [run.position for run in runs]
        calls = await self._life.end(runs)
        try:
            await self._redis.run_many(calls)
            for queue in {run.queue for run in runs}:
                await self._flows.deliver(queue)  # there may be no WatchDog to do it
        except RedisUnavailable as e:  # OurDB has the ends: a WatchDog tells Redis once the leases have run out
            log.warning("Redis wasn't told of %d ends: %s", len(runs), e)
        ended = [run for run, position in zip(runs, before, strict=True) if run.position != position]
        await self._free_slots(ended)
        return ended

    async def _free_slots(self, runs: Sequence[Run]) -> None:
        gone: dict[str, list[str]] = {}
        for run in runs:
            if self._limits.of_circle(run.queue.circle):
                gone.setdefault(run.queue.circle, []).append(run.ref)
        with suppress(RedisUnavailable):  # they end by themselves
            await self._redis.run_many([free_slots(circle, refs) for circle, refs in gone.items()])

    async def _write(self, queue: Queue, puts: list[Put]) -> list[Position | None]:
        return await asyncio.to_thread(self._store.put_many, queue, puts)


def _to_run(job: Job) -> Job:
    """Return a job as its worker needs it: its params as they are, its session key masked."""
    return msgspec.structs.replace(job, session_key=MASK) if job.session_key else job


L = TypeVar("L", Held, Finished)


def _by_queue(leases: Sequence[L]) -> dict[Queue, list[L]]:
    groups: dict[Queue, list[L]] = {}
    for each in leases:
        groups.setdefault(parsed(each.ref).queue, []).append(each)
    return groups
