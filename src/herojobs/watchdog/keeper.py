"""What a WatchDog does beside its exchanges: keep its leases, hear of cancels, learn of queues, be woken.

Each keeper has a `step()` that does its work once; `every` repeats it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from herojobs.errors import RedisUnavailable, SessionError
from herojobs.job import now_ms
from herojobs.live.calls import extend
from herojobs.live.recovery import restore
from herojobs.live.redis import AsyncRedis
from herojobs.names import Queue
from herojobs.ourdb import OurDBError
from herojobs.sessions import Sessions
from herojobs.settings import Settings
from herojobs.watchdog.apart import HELD
from herojobs.watchdog.cycle import Cycle
from herojobs.watchdog.fair import Turns
from herojobs.watchdog.flows import Flows
from herojobs.watchdog.life import by_queue, for_redis

log = logging.getLogger("herojobs.watchdog")

BLOCK = 5.0
"""Seconds that an idle WatchDog waits on the wake-up lists at a time."""
RENEW_PAUSE = 0.01
"""Seconds between two such waits while new queues come in; wake-ups meanwhile stay in their lists."""


async def every(seconds: float, step: Callable[[], Awaitable[None]], sooner: asyncio.Event | None = None) -> None:
    """Repeat a step until cancelled, at once if `sooner` is set meanwhile.

    Trouble with Redis or OurDB is the exchange's to tell; a step just comes again.
    """
    while True:
        try:
            await step()
        except (RedisUnavailable, SessionError, OurDBError, OSError) as e:
            log.debug("%s: %s", step.__qualname__, e)
        if sooner is None:
            await asyncio.sleep(seconds)
            continue
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await sooner.wait()
        sooner.clear()


class Leases:
    """Keeps the leases of all runs alive, and lets go of runs that another WatchDog has."""

    def __init__(self, redis: AsyncRedis, cycle: Cycle, settings: Settings) -> None:
        self._redis = redis
        self._cycle = cycle
        self._lease_ms = int(settings.lease * 1000)

    async def step(self) -> None:
        """Extend all leases, in one round trip."""
        groups = by_queue(run for run in self._cycle.pool.all_held() if not run.abandoned)
        if not groups:
            return
        extends = [
            extend(queue, self._lease_ms, [(run.id, run.token) for run in runs]) for queue, runs in groups.items()
        ]
        for (queue, runs), answer in zip(groups.items(), await self._cycle.calls.run_many(extends), strict=True):
            if answer is HELD:
                continue
            held = {run.id: run for run in runs}
            for key in answer.cancelled:
                self._cycle.pool.cancel(held[key])
            settled = held.keys() - {run.id for run in self._cycle.pool.all_held() if run.queue == queue}
            missing = [held[key] for key in answer.missing if key not in settled]
            lost = [held[key] for key in answer.lost if key not in settled]
            if missing:  # Redis was wiped
                entries = [
                    (run.id, run.token, for_redis(run.job, run.id, run.data), run.job.attempts, run.told)
                    for run in missing
                ]
                restored = await self._redis.run(restore(queue, self._lease_ms, entries))
                lost += [run for run, back in zip(missing, restored, strict=True) if not back]
            for run in lost:
                log.warning("%s: its lease was lost; another WatchDog runs it", run.ref)
                self._cycle.pool.abandon(run)
        await self._redis.run_many(self._cycle.throttle.hold())


class Postman:
    """Delivers the mail of queues: tells jobs of other queues, which wait for one of theirs, that it is over."""

    def __init__(self, flows: Flows) -> None:
        self._flows = flows
        self._queues: dict[Queue, None] = {}
        self._due = asyncio.Event()

    def note(self, queue: Queue) -> None:
        """Have a queue's mail delivered."""
        self._queues.setdefault(queue)
        self._due.set()

    async def step(self) -> None:
        """Deliver what was noted; wait if nothing was. What can't be delivered now, reconciliation does."""
        await self._due.wait()
        self._due.clear()
        while self._queues:
            queue = next(iter(self._queues))
            del self._queues[queue]
            await self._flows.deliver(queue)


class Ears:
    """Hears what WatchDogs are told: that a job shall be cancelled, that there is a new queue, or mail."""

    def __init__(self, redis: AsyncRedis, cycle: Cycle, turns: Turns, postman: Postman) -> None:
        self._postman = postman
        self._redis = redis
        self._cycle = cycle
        self._turns = turns

    async def step(self) -> None:
        """Listen until the connection fails."""
        async for control in self._redis.controls():
            if control.what == "rules":
                self._cycle.heed_rules()
                continue
            if control.what == "mail":
                self._postman.note(control.queue)
                continue
            if control.what == "queue":
                self._turns.heat(control.queue)
                self._cycle.wake()
                continue
            for run in self._cycle.pool.runs():
                if run.id == control.id and run.queue == control.queue:
                    self._cycle.pool.cancel(run)


class Alarm:
    """Waits, while there is nothing to do, for a client's wake-up."""

    def __init__(self, redis: AsyncRedis, cycle: Cycle, turns: Turns) -> None:
        self._redis = redis
        self._cycle = cycle
        self._turns = turns
        self._outdated = asyncio.Event()
        turns.on_new = self._outdated.set

    async def step(self) -> None:
        """Wait for one wake-up, and act on it; wait anew when there is another queue to be woken by."""
        await self._cycle.hungry.wait()
        self._outdated.clear()
        woken = asyncio.ensure_future(self._redis.wait_for_work(self._turns.known(), BLOCK))
        outdated = asyncio.ensure_future(self._outdated.wait())
        try:
            await asyncio.wait((woken, outdated), return_when=asyncio.FIRST_COMPLETED)
            queue = woken.result() if woken.done() else None
            if queue is not None:
                self._turns.heat(queue)
                self._cycle.wake()
        finally:
            woken.cancel()
            outdated.cancel()
            await asyncio.wait((woken, outdated))
        if queue is None and self._outdated.is_set():
            await asyncio.sleep(RENEW_PAUSE)


class Lookout:
    """Looks for what wakes nobody: new queues, ids that foreign programs pushed, a Redis that was wiped."""

    def __init__(self, redis: AsyncRedis, cycle: Cycle, turns: Turns, on_wipe: Callable[[], None]) -> None:
        self._redis = redis
        self._cycle = cycle
        self._turns = turns
        self._on_wipe = on_wipe
        self._looks = 0

    async def step(self) -> None:
        """Look once; for queues that only foreign programs use, every tenth time."""
        if self._looks % 10 == 0:
            self._turns.learn(await self._redis.find_queues())
        if self._looks % 5 == 0:
            await self._heat_due()
        self._looks += 1
        self._cycle.heed_rules()  # being told of a change can get lost with a connection
        known = self._turns.known()
        seen = await self._redis.waiting(known)
        self._cycle.outages.heard()
        if seen.wiped:
            self._on_wipe()
            await self._redis.run_many(self._cycle.throttle.hold(make=True))
        for queue, waiting in zip(known, seen.lengths, strict=True):
            if waiting:
                self._turns.heat(queue)
        if self._turns.is_hot():
            self._cycle.wake()

    async def _heat_due(self) -> None:
        """Heat queues in which a lease has ended or a job is due that another WatchDog claimed or was told of.

        Jobs whose time to start is over are noticed here too.
        """
        known = self._turns.known()
        keys, now = self._redis.keys, now_ms()
        sets = ("herolease", "herolater", "heroexpire")
        commands = [("ZCOUNT", keys.of(kind, queue), "-inf", now) for queue in known for kind in sets]
        if not commands:
            return
        counts = await self._redis.exchange(commands, repeatable=True)
        for place, count in enumerate(counts):
            if isinstance(count, int) and count:  # a key of a wrong type answers with an error
                queue = known[place // len(sets)]
                if sets[place % len(sets)] == "heroexpire":
                    self._cycle.end_expired(queue)
                else:
                    self._turns.heat(queue)
                self._turns.heat(known[place // len(sets)])


class Publisher:
    """Tells Redis this home's sessions anew when it has lost them, for hosts that have no sessions of their own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def step(self) -> None:
        """Look once."""
        sessions = Sessions(self._settings)
        try:
            await asyncio.to_thread(sessions.publish)
        finally:
            sessions.close()
