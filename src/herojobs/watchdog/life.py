"""The life of a job from its claim to its end, as the WatchDog writes it: OurDB first, then Redis.

    claimed → accept: OurDB says it isn't over → active in OurDB → (a worker runs it)
            → end: done or error in OurDB → finish in Redis
            → give_back: new in OurDB → back at its queue's head in Redis

OurDB takes a version only if it follows the one that this attempt wrote last, so a WatchDog that was paused while
another took its job over can't write an end. What its Redis calls say then is refused by their token.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from herojobs import job as jobs
from herojobs.checkpoints import Checkpoints
from herojobs.errors import InvalidJob, ParamsTooLarge, RedisUnavailable
from herojobs.job import Job, JobStatus, Reason, now_ms
from herojobs.limits import Bound
from herojobs.live.call import Call, JobKey, job_key
from herojobs.live.calls import Back, Claimed, bury, claim, claim_expired, finish, progress, put_back, start
from herojobs.live.limits import enter_keys, leave_keys
from herojobs.live.transport import Redis
from herojobs.names import Queue, Ref
from herojobs.outcome import Cancelled, Expired, Failed, Lost, ParentFailed, Refused, apply
from herojobs.retries import pause_before_retry, policy_of, prepare_retry
from herojobs.settings import Settings
from herojobs.store.base import Position, Put, Store
from herojobs.store.jobs import read
from herojobs.watchdog.adoption import Adoption
from herojobs.watchdog.flows import Flows, Held
from herojobs.watchdog.gate import Gate
from herojobs.watchdog.runs import Run

log = logging.getLogger("herojobs.watchdog")

_ACTIVE, _DONE, _ERROR = JobStatus.ACTIVE.value, JobStatus.DONE.value, JobStatus.ERROR.value
EXPIRED_AT_ONCE = 500
"""Expired jobs that one claim takes."""

Write = Callable[[Queue, list[Put]], Awaitable[list[Position | None]]]


class Life:
    """Moves jobs through their states.

    Args:
        store: the durable history.
        settings: the settings in force.
        redis: where jobs of older programs are looked up.
        name: this WatchDog's name, the first part of its tokens.
        write: `store.put_many`, made so that it doesn't block the caller's event loop for long.
    """

    def __init__(self, store: Store, settings: Settings, redis: Redis, name: str, write: Write) -> None:
        self._store = store
        self._settings = settings
        self._name = name
        self._write = write
        self._tokens = itertools.count(1)
        self._numbers = itertools.count(1)
        self._checkpoints = Checkpoints(settings.circles_dir)
        self._adoption = Adoption(store, redis)
        self._gate = Gate(settings, redis) if settings.require_session else None
        self._flows = Flows(store, redis)
        self.key_bound: Callable[[Queue], Bound | None] | None = None
        """Tells what holds for each key of a queue; None: no queue limits keys."""
        self._redis = redis
        self.mirrored: list[tuple[str, bytes]] = []
        """Keys and JSON of jobs that one old program reads under their legacy key (setting `legacy_mirror`)."""

    def token(self) -> str:
        """Return a token that was never there before."""
        return f"{self._name}.{next(self._tokens)}"

    def claim(self, queue: Queue, n: int, bound: Bound | None = None, rescue_until: int = 0) -> tuple[str, Call[Any]]:
        """Return a token and the call that claims up to `n` jobs, within the queue's bound, under it.

        Jobs whose lease ran out are among them up to `rescue_until`, unix milliseconds by Redis's clock; 0 = always.
        """
        token = self.token()
        lease_ms = int(self._settings.lease * 1000)
        return token, claim(queue, n, lease_ms, token, bound, rescue_until=rescue_until)

    def claim_expired(self, queue: Queue) -> tuple[str, Call[Any]]:
        """Return a token and the call that claims, to end them, jobs whose time to start is over."""
        token = self.token()
        return token, claim_expired(queue, EXPIRED_AT_ONCE, int(self._settings.lease * 1000), token)

    async def accept(self, queue: Queue, token: str, claimed: Sequence[Claimed]) -> tuple[list[Run], list[Call[Any]]]:
        """Make runs of claimed jobs, active in OurDB; jobs that shall not run come back as calls that settle them."""
        runs: list[Run] = []
        calls: list[Call[Any]] = []
        over: list[tuple[JobKey, str, bytes, str]] = []
        ended: list[Run] = []
        held: list[Held] = []
        early: list[Back] = []
        numbers, default_timeout = self._numbers, self._settings.default_timeout
        now = now_ms()
        ids = [each.db_id for each in claimed]
        for each, db_id, tip in zip(claimed, ids, self._store.tips(queue, ids), strict=True):
            if tip is None or not each.is_ours:
                adopted = await self._adoption.adopt(queue, token, each)
                calls += adopted.calls
                if adopted.tip is None:
                    continue
                each, db_id, tip = adopted.claimed, adopted.claimed.db_id, adopted.tip
            key: JobKey = job_key(each.id) if each.db else db_id or job_key(each.id)
            try:
                job = read(tip.data)
            except (InvalidJob, ValueError, RecursionError) as e:  # another program wrote it
                calls.append(bury(queue, key, token, msgspec.json.encode(f"OurDB has no job there: {e}")))
                continue
            if job.is_over:  # its end was written, but Redis wasn't told or has forgotten
                over.append((each.id, token, for_redis(job, key, tip.data), job.status))
                continue
            timeout = job.timeout or default_timeout
            run = Run(next(numbers), queue, key, db_id, token, job, timeout, position=tip.position)
            if each.cx:
                run.outcome = Cancelled()
            elif each.at > job.most_attempts:
                run.outcome = Lost(job.max_attempts)
            elif job.expires_at and not job.time_start and now >= job.expires_at * 1000:
                run.outcome = Expired(job.expires_at)
            if run.outcome is not None:
                ended.append(run)
                continue
            if job.reason:
                wait = job.time_scheduled * 1000 - now if job.reason == Reason.RETRYING else 0
                if wait > 0:  # Redis wasn't told that it waits for its retry
                    early.append(Back(run.id, token, b"", wait))
                    continue
                job.reason = job.error = job.result = ""
                job.error_detail, job.usage, job.ended_ms = {}, {}, 0
            if job.after:
                found = self._flows.look(job)
                if isinstance(found, ParentFailed):
                    run.outcome = found
                    ended.append(run)
                    continue
                if found:
                    held.append(Held(queue, run.id, token, job.time_scheduled * 1000, found))
                    continue
            job.attempts = each.at
            runs.append(run)
        if self._gate is not None and runs:
            runs = await self._let_through(queue, runs, ended)
        if self.key_bound is not None and (bound := self.key_bound(queue)):
            runs = await self._enter(queue, token, runs, bound)
        puts = [_activated(run, now) for run in runs]
        runs, refused = await self._put(queue, runs, puts)
        if refused:  # something wrote to them between our look and our write: look again at the next claim
            calls.append(put_back(queue, [(run.id, token, b"") for run in refused], count_attempt=False))
        if early:
            calls.append(put_back(queue, early, count_attempt=False))
        if over:
            calls.append(finish(queue, over, self._ttl))
        calls += await self.end(ended)
        if held:
            try:
                await self._flows.hang(held)
            except RedisUnavailable as e:  # they come back when their leases end
                log.warning("%s: %d jobs that wait for others can't be put aside now: %s", queue, len(held), e)
        return runs, calls

    async def _let_through(self, queue: Queue, runs: list[Run], ended: list[Run]) -> list[Run]:
        """Return the runs that their session keys allow; the others get their outcome and join `ended`."""
        assert self._gate is not None
        refusals = await self._gate.refusals(queue, runs)
        for run, why in refusals.items():
            run.job.attempts -= 1
            run.outcome = Refused(why)
            ended.append(run)
        return [run for run in runs if run not in refusals]

    async def _enter(self, queue: Queue, token: str, runs: list[Run], bound: Bound) -> list[Run]:
        """Return the runs that the limits of their keys allow; the others' jobs wait in Redis."""
        keyed = [run for run in runs if run.job.limit_key]
        if not keyed:
            return runs
        flags = await self._redis.run(enter_keys(queue, token, [(run.id, run.job.limit_key) for run in keyed], bound))
        waiting = {run for run, may in zip(keyed, flags, strict=True) if not may}
        return [run for run in runs if run not in waiting]

    def _leave(self, queue: Queue, runs: Iterable[Run]) -> list[Call[Any]]:
        """Return the calls that have others take the places of runs whose keys are limited."""
        if self.key_bound is None or not self.key_bound(queue):
            return []
        left = [(run.id, run.job.limit_key) for run in runs if run.job.limit_key]
        return [leave_keys(queue, left)] if left else []

    def tell_started(self, runs: Iterable[Run]) -> list[Call[Any]]:
        """Return the calls that tell Redis of runs that are active."""
        calls: list[Call[Any]] = []
        for (queue, token), group in by_token(runs).items():
            for run in group:
                run.told = True
            pairs = [(run.id, for_redis(run.job, run.id, run.data)) for run in group]
            calls.append(start(queue, token, pairs))
        return calls

    async def end(self, runs: Iterable[Run]) -> list[Call[Any]]:
        """Write the outcome of runs to OurDB; return the calls that write it to Redis.

        A job that failed and has retries left isn't over: it goes back to wait for its next try.
        """
        calls: list[Call[Any]] = []
        now = now_ms()
        for queue, group in by_queue(runs).items():
            puts = []
            for run in group:
                job = run.job
                assert run.outcome is not None
                apply(job, run.outcome, now)
                if job.session_key:
                    clean(job)
                if run.took:
                    job.started_ms = now - run.took // 1000
                if job.status == _ERROR and not isinstance(run.outcome, Refused | ParentFailed):
                    run.retry_ms = self._prepare_retry(queue, job, now)
                run.data = jobs.encode(job)
                puts.append(Put(run.db_id, run.data, run.position))
            accepted, refused = await self._put(queue, group, puts)
            for run in refused:
                log.warning("%s: another WatchDog has taken it over; what this one found is dropped", run.ref)
            left = self._leave(queue, accepted)
            if again := [run for run in accepted if run.retry_ms]:
                accepted = [run for run in accepted if not run.retry_ms]
                calls += _retries(queue, again)
            for run in accepted:
                if run.has_checkpoint and run.job.status == _DONE:
                    self._checkpoints.drop(Ref(queue, run.db_id))
            if accepted:
                ends = [(run.id, run.token, for_redis(run.job, run.id, run.data), run.job.status) for run in accepted]
                calls.append(finish(queue, ends, self._ttl))
                if str(queue) == self._settings.legacy_mirror:
                    self.mirrored += [(f"jobsmanager:{id}", data) for id, _, data, _ in ends if isinstance(id, int)]
            calls += left
        return calls

    def _prepare_retry(self, queue: Queue, job: Job, now: int) -> int:
        """Have a failed job wait for its next try, if it has one; return for how many milliseconds, 0 = it is over."""
        policy = policy_of(queue, self._settings.retry)
        pause = pause_before_retry(job, policy, self._settings.retry_max_delay)
        if pause is None:
            return 0
        prepare_retry(job, pause, now)
        return max(1, int(pause * 1000))

    async def give_back(self, runs: Iterable[Run], *, counted: bool) -> list[Call[Any]]:
        """Write runs as new again; return the calls that put their jobs at their queues' heads.

        Args:
            runs: runs that won't go on.
            counted: whether their attempt counts.
        """
        calls: list[Call[Any]] = []
        for queue, group in by_queue(runs).items():
            puts = []
            for run in group:
                job = run.job
                if job.status == JobStatus.ACTIVE:  # not if this is the second try, after a full disk say
                    job.status = JobStatus.NEW.value
                    job.attempts -= not counted
                    if not job.attempts:
                        job.time_start = 0
                run.data = jobs.encode(job)
                puts.append(Put(run.db_id, run.data, run.position))
            accepted, _ = await self._put(queue, group, puts)
            if accepted:
                back = [(run.id, run.token, for_redis(run.job, run.id, run.data)) for run in reversed(accepted)]
                calls.append(put_back(queue, back, count_attempt=counted))
                calls += self._leave(queue, accepted)
        return calls

    async def _put(self, queue: Queue, runs: Sequence[Run], puts: list[Put]) -> tuple[list[Run], list[Run]]:
        """Write a version for each run; return the runs whose version was accepted, and the others."""
        if not puts:
            return [], []
        try:
            positions = await self._write(queue, puts)
        except ParamsTooLarge:
            positions = [await self._put_shortened(queue, run, put) for run, put in zip(runs, puts, strict=True)]
        accepted, refused = [], []
        for run, position in zip(runs, positions, strict=True):
            if position is None:
                refused.append(run)
            else:
                run.position = position
                accepted.append(run)
        return accepted, refused

    async def _put_shortened(self, queue: Queue, run: Run, put: Put) -> Position | None:
        """Write a version; if params and result together are more than OurDB holds, without the result."""
        try:
            return (await self._write(queue, [put]))[0]
        except ParamsTooLarge as e:
            apply(run.job, Failed(f"the result can't be stored: {e}"), run.job.ended_ms)
            run.retry_ms = 0
            run.data = jobs.encode(run.job)
            return (await self._write(queue, [Put(put.id, run.data, put.after)]))[0]

    @property
    def _ttl(self) -> int:
        return self._settings.result_ttl


def _retries(queue: Queue, runs: Sequence[Run]) -> list[Call[Any]]:
    """Return the calls that have failed jobs wait for their next try. A start that never was, isn't counted."""
    calls: list[Call[Any]] = []
    for counted in (True, False):
        back = [
            Back(run.id, run.token, for_redis(run.job, run.id, run.data), run.retry_ms)
            for run in runs
            if isinstance(run.outcome, Lost) is not counted
        ]
        if back:
            calls.append(put_back(queue, back, count_attempt=counted, event="retrying"))
    return calls


def tell_progress(reports: Mapping[Run, tuple[float, str]]) -> list[Call[Any]]:
    """Return the calls that tell Redis how far runs say they are."""
    shown = {run: (percent, run.job.cleaned(text)) for run, (percent, text) in reports.items()}
    return [
        progress(queue, [(run.id, run.token, *shown[run]) for run in group])
        for queue, group in by_queue(reports).items()
    ]


def clean(job: Job) -> None:
    """Take the job's own session key out of what it gave."""
    job.result, job.error = job.cleaned(job.result), job.cleaned_error(job.error)
    if job.error_detail:
        job.error_detail = msgspec.json.decode(job.cleaned(msgspec.json.encode(job.error_detail).decode()))


def _activated(run: Run, now: int) -> Put:
    """Make a run's job active; return the version for OurDB."""
    job = run.job
    job.status = _ACTIVE
    job.started_ms = now
    job.time_start = job.time_start or now // 1000
    run.data = jobs.encode(job)
    return Put(run.db_id, run.data, run.position)


def for_redis(job: Job, key: JobKey, data: bytes) -> bytes:
    """Return a job's JSON as its Redis hash shows it: under its key's id, which a foreign producer may have chosen.

    Args:
        job: the job as OurDB has it.
        key: the id in its Redis key.
        data: the job's JSON.
    """
    if key == job.job_id or isinstance(key, bytes):
        return data
    number, job.job_id = job.job_id, key
    shown = jobs.encode(job)
    job.job_id = number
    return shown


def by_queue(runs: Iterable[Run]) -> dict[Queue, list[Run]]:
    """Return runs grouped by queue."""
    groups: dict[Queue, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.queue, []).append(run)
    return groups


def by_token(runs: Iterable[Run]) -> dict[tuple[Queue, str], list[Run]]:
    """Return runs grouped by queue and token."""
    groups: dict[tuple[Queue, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.queue, run.token), []).append(run)
    return groups
