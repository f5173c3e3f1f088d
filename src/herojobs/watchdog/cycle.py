"""The WatchDog's heart: one exchange after another, each a single round trip that carries all that has collected.

An exchange writes the ends of runs to OurDB, then sends Redis their finishes together with the claims for as many new
jobs as the workers have room for; what the claims bring becomes active in OurDB and goes to the workers. While one
exchange is on its way the next collects, so batches grow with the load, and a lone job leaves at once.

Where there is a backlog, exchanges overlap: what one has brought is taken in while the next one is at Redis, so that
neither waits for the other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from herojobs.errors import RedisUnavailable, SessionError, SettingsError
from herojobs.job import now_ms
from herojobs.limits import Limits
from herojobs.live.call import Call
from herojobs.live.calls import Back, Claim, Started, put_back
from herojobs.live.redis import AsyncRedis
from herojobs.names import Queue
from herojobs.ourdb import DatabaseLocked, OurDBError
from herojobs.settings import Settings
from herojobs.store.base import Position, Put, Store
from herojobs.store.rules import NO_RULES, RuleFile
from herojobs.watchdog.apart import HELD, PAUSE, Apart
from herojobs.watchdog.fair import Turns
from herojobs.watchdog.life import Life, by_queue, tell_progress
from herojobs.watchdog.logs import JobLogs
from herojobs.watchdog.outages import Outages
from herojobs.watchdog.pool import Pool
from herojobs.watchdog.runs import Run
from herojobs.watchdog.throttle import Throttle, Wish

log = logging.getLogger("herojobs.watchdog")

TROUBLE = (RedisUnavailable, SessionError, OurDBError, OSError)
"""What passes, or what somebody mends, while jobs wait."""
TELL_AFTER = 0.02
"""Seconds that a run is under way before Redis is told that it is active; most jobs are over sooner."""
SILENT = 0.2
"""Seconds without an answer of Redis after which ends are written to OurDB all the same, lest they go with a crash."""
LATE = 0.5
"""Share of a lease after which the answer to a claim is too old: the lease runs out before it can be extended, and
another WatchDog starts the same jobs."""
TROUBLE_PAUSE = 1.0
"""Seconds before the next try after OurDB or Redis refused."""
UNEXPECTED_PAUSE_MS = 60_000
"""Milliseconds before the next try of a job whose start met an error that nobody expected."""


class Arrival(NamedTuple):
    """What a claim has brought, before anything of it is started."""

    wish: Wish
    token: str
    claim: Claim
    sent_at: float


class Cycle:
    """Claims, hands out and settles runs; see the module.

    Args:
        redis: the connection for exchanges.
        store: the durable history.
        settings: the settings in force.
        turns: the queues to claim from.
        name: this WatchDog's name.
    """

    def __init__(self, redis: AsyncRedis, store: Store, settings: Settings, turns: Turns, name: str) -> None:
        self._redis = redis
        self._store = store
        self._settings = settings
        self._turns = turns
        self._loop = asyncio.get_running_loop()
        self._due = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._unsent: list[Call[Any]] = []
        self._arrived: list[Arrival] = []
        self._claiming = True
        self._well = True
        self._life = Life(store, settings, redis, name, self._write)
        self._logs = JobLogs(store, settings)
        self._file = RuleFile(settings.home)
        self._rules = NO_RULES
        self._wrong_rules = False
        self._expired: set[Queue] = set()
        self.throttle = Throttle(turns, int(settings.lease * 1000), self._life.token)
        self._set_limits(Limits(settings.limit, {}))
        self.calls = Apart(redis)
        self.outages = Outages(settings.lease)
        self._meanwhile: asyncio.Task[None] | None = None
        self._sent_at = 0.0
        self.pool = Pool(self._loop, settings, self._due.set)
        self.hungry = asyncio.Event()
        """Set while there is room for jobs and no queue is known to hold any."""

    def heed_rules(self) -> None:
        """Look whether the rules have changed; of queues that are paused now, take back what hasn't started."""
        try:
            rules = self._file.read()
        except SettingsError as e:
            if not self._wrong_rules:
                log.error("the rules stay as they were: %s", e)
            self._wrong_rules = True
            return
        self._wrong_rules = False
        if rules is not self._rules:
            self._rules = rules
            self.pool.is_paused = self._turns.is_paused = rules.is_paused if rules.paused else None
            self._turns.heed_pauses()
            self.pool.hold_paused()
            self._set_limits(Limits(self._settings.limit, rules.limits))
            self._due.set()

    def _set_limits(self, limits: Limits) -> None:
        self.throttle.set_limits(limits)
        self._life.key_bound = limits.of_keys if limits else None

    def end_expired(self, queue: Queue) -> None:
        """Have jobs of a queue whose time to start is over ended with the next exchange."""
        self._expired.add(queue)
        self._due.set()

    def wake(self) -> None:
        """Have the next exchange happen now."""
        self._due.set()

    def stop_claiming(self) -> None:
        """Take no more jobs."""
        self._claiming = False
        self.hungry.clear()

    def is_settled(self) -> bool:
        """Return whether no run is under way and everything has been told to Redis."""
        return self.pool.is_idle() and not self._unsent and not self._arrived and not self.pool.all_held()

    async def run(self) -> None:
        """Make exchanges until cancelled, whenever something has collected."""
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                async with self._one_at_a_time:
                    await self._exchange()
            except TROUBLE as e:
                if self._well:
                    log.error("waiting: %s", e)
                self._well = False
                await asyncio.sleep(TROUBLE_PAUSE)
                self._due.set()
            else:
                if not self._well:
                    log.info("going on")
                self._well = True

    async def exchange(self) -> None:
        """Settle what has ended and claim what there is room for, in one round trip.

        Raises:
            RedisUnavailable: nothing is forgotten: what wasn't sent goes with the next exchange.
            OurDBError: OurDB couldn't be written (disk full, say); the ends are kept, the claimed jobs given back.
        """
        async with self._one_at_a_time:
            await self._exchange()
            self._raise(await self._take_in())

    async def _exchange(self) -> None:
        """Make an exchange; while it is on its way, take in what the one before has brought."""
        await self._join()
        await self._settle()
        trouble = None
        if self.throttle.has_limits:  # what has arrived counts before more is claimed
            trouble = await self._take_in()
        claims = await self._claims()
        self._unsent += self.throttle.unsent()
        sent = self._unsent[:]
        calls = sent + [call for _, _, call in claims]
        if not calls:
            self._raise(trouble or await self._take_in())
            return
        began = self._sent_at = self._loop.time()
        if self._arrived:
            under_way = self._loop.create_task(self.calls.run_many(calls))
            try:
                await asyncio.sleep(0)  # it sets out
                trouble = await self._take_in()
                replies = await under_way
            except BaseException:
                under_way.cancel()
                raise
        else:
            replies = await self.calls.run_many(calls)
        self.outages.heard()
        await self._join()
        await self._heed(sent, replies)
        for (wish, token, _), reply in zip(claims, replies[len(sent) :], strict=True):
            self._receive(wish, token, reply, began)
        if self._claiming and self._turns.is_hot() and max(self._room()) > 0:
            self._due.set()
        elif self._arrived:  # no more to claim meanwhile: a lone job starts at once
            trouble = await self._take_in() or trouble
        self._note_hunger()
        self._raise(trouble)

    async def give_back(self, runs: Sequence[Run]) -> None:
        """Put the jobs of runs that won't go on back at their queues' heads; their attempts don't count."""
        self._unsent += await self._life.give_back(runs, counted=False)
        await self.exchange()

    def tick(self) -> None:
        """Look after workers and what became due; to be called about every 50 ms."""
        self.pool.tick()
        now = self._loop.time()
        if self.pool.untold(now - TELL_AFTER):
            self._due.set()
        if self.pool.ended and 0 < self._sent_at < now - SILENT and self._may_settle():
            self._meanwhile = self._loop.create_task(self._settle())
        if self._turns.heat_due(now_ms()) or (self._unsent and self.calls.is_due()):
            self._due.set()
        if self.pool.ended or self.pool.put_back or self.pool.spared or self.pool.output or self.pool.progress:
            self._due.set()

    def _may_settle(self) -> bool:
        """Return whether no ends are being written, and none was refused, which the next exchange tells."""
        meanwhile = self._meanwhile
        return meanwhile is None or (meanwhile.done() and not meanwhile.cancelled() and not meanwhile.exception())

    async def _join(self) -> None:
        """Let the writing of ends come to its end that began while Redis was silent."""
        self._sent_at = 0.0
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            await meanwhile

    async def _settle(self) -> None:
        """Write to OurDB what has ended or goes back; what can't be written stays for the next time."""
        pool = self.pool
        if pool.output:
            output, pool.output = pool.output, []
            self._unsent += self._logs.write(output)
        if pool.progress:
            reports, pool.progress = pool.progress, {}
            self._unsent += tell_progress(reports)
        for group in by_queue(pool.ended).values():  # they stay in the list, thus leased, until they are written
            self._unsent += await self._life.end(group)
            self._expect_retries(group)
            self.throttle.ended(group)
            written = set(group)
            pool.ended = [run for run in pool.ended if run not in written]
        for counted in (True, False):
            runs = pool.put_back if counted else pool.spared
            for group in by_queue(runs).values():
                self._unsent += await self._life.give_back(group, counted=counted)
                self.throttle.ended(group)
                given = set(group)
                runs[:] = [run for run in runs if run not in given]
        self._unsent += self._life.tell_started(pool.untold(self._loop.time() - TELL_AFTER))
        self.throttle.free(pool.all_held)

    def _expect_retries(self, ended: Iterable[Run]) -> None:
        now = now_ms()
        for run in ended:
            if run.retry_ms:
                self._turns.expect(run.queue, now + run.retry_ms)

    async def _claims(self) -> list[tuple[Wish, str, Call[Claim]]]:
        self.heed_rules()
        if not self._claiming or not self._well:
            return []
        expired, self._expired = self._expired, set()
        claims = [(Wish(queue, 0), *self._life.claim_expired(queue)) for queue in expired]
        wishes = self._turns.wishes(*self._room())
        passed = await self.throttle.narrow(wishes, self._idle, self.calls.run_many)
        until = self.outages.rescue_until()
        return claims + [(wish, *self._life.claim(wish.queue, wish.n, wish.bound, until)) for wish in passed]

    def _idle(self, queue: Queue) -> int:
        return self.pool.concurrent_room() if self._turns.is_concurrent(queue) else self.pool.idle()

    def _room(self) -> tuple[int, int]:
        """Return how many more blocking and how many more asynchronous jobs can be taken."""
        arrived = {False: 0, True: 0}
        for arrival in self._arrived:
            arrived[self._turns.is_concurrent(arrival.wish.queue)] += len(arrival.claim.jobs)
        return self.pool.room() - arrived[False], self.pool.concurrent_room() - arrived[True]

    async def _heed(self, sent: Sequence[Call[Any]], replies: Sequence[Any]) -> None:
        """Take in what Redis said to what it was told; what it was not, is told with the next exchange."""
        self._unsent[: len(sent)] = [call for call, reply in zip(sent, replies, strict=False) if reply is HELD]
        if self._life.mirrored:
            mirrored, self._life.mirrored = self._life.mirrored, []
            await self._redis.exchange([("HSET", key, "job", data) for key, data in mirrored], repeatable=True)
        for call, reply in zip(sent, replies, strict=False):
            if isinstance(reply, Started):
                self._cancel(call.queue, reply)

    def _receive(self, wish: Wish, token: str, reply: Any, sent_at: float) -> None:
        """Take in what a claim says of its queue, and put aside what it brings."""
        if reply is HELD:
            self._turns.note(wish.queue, 0, now_ms() + int(PAUSE * 1000))
            reply = Claim(0, 0, 0, [], [])
        else:
            self.outages.heard(reply.now)
            self._turns.charge(wish.queue, len(reply.jobs))
            self._turns.note(wish.queue, reply.waiting, reply.next_due)
        if reply.jobs:
            self._arrived.append(Arrival(wish, token, reply, sent_at))
        else:
            self.throttle.note(wish, [])

    async def _take_in(self) -> Exception | None:
        """Start what has arrived; return what kept some of it from starting."""
        trouble, unsent = None, len(self._unsent)
        while self._arrived:
            wish, token, claim, sent_at = self._arrived.pop(0)
            runs: list[Run] = []
            late = self._loop.time() - sent_at > self._settings.lease * LATE
            if late:
                log.warning("%s: Redis answered late, %d claimed jobs go back", wish.queue, len(claim.jobs))
            if late or self.pool.is_closed:
                self._put_back(wish.queue, token, claim)
            else:
                try:
                    runs = await self._accept(wish.queue, token, claim)
                except TROUBLE as e:
                    trouble = e
            self.throttle.note(wish, runs)
        if len(self._unsent) > unsent:
            self._due.set()
        return trouble

    @staticmethod
    def _raise(trouble: Exception | None) -> None:
        if trouble is not None:
            raise trouble

    async def _accept(self, queue: Queue, token: str, claim: Claim) -> list[Run]:
        try:
            runs, calls = await self._life.accept(queue, token, claim.jobs)
        except TROUBLE:
            self._put_back(queue, token, claim)
            raise
        except Exception:  # what nobody expected costs the job that meets it its start, not the WatchDog its life
            if len(claim.jobs) > 1:
                return [
                    run for each in claim.jobs for run in await self._accept(queue, token, claim._replace(jobs=[each]))
                ]
            log.exception("%s: the job %r can't be started; it is tried again later", queue, claim.jobs[0].id)
            back = [Back(claim.jobs[0].id, token, b"", UNEXPECTED_PAUSE_MS)]
            self._unsent.append(put_back(queue, back, count_attempt=True))
            return []
        self._unsent += calls
        if runs:
            self.heed_rules()  # once `pause` has returned, nothing starts any more
        self.pool.dispatch(runs)
        if runs:
            self._turns.set_concurrent(queue, all(run.concurrent for run in runs))
        return runs

    def _put_back(self, queue: Queue, token: str, claim: Claim) -> None:
        back = [Back(each.id, token, b"") for each in reversed(claim.jobs)]
        self._unsent.append(put_back(queue, back, count_attempt=False))

    def _cancel(self, queue: Queue, started: Started) -> None:
        for run in self.pool.runs():
            if run.queue == queue and run.id in started.cancelled:
                self.pool.cancel(run)

    def _note_hunger(self) -> None:
        if self._claiming and not self._turns.is_hot() and self._room()[0] > 0:
            self.hungry.set()
        else:
            self.hungry.clear()

    async def _write(self, queue: Queue, puts: list[Put]) -> list[Position | None]:
        """Write to OurDB from the event loop; while another process holds the lock, from a thread."""
        try:
            return self._store.put_many(queue, puts, lock_timeout=0)
        except DatabaseLocked:
            return await asyncio.to_thread(self._store.put_many, queue, puts, 30.0)
