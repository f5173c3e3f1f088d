"""Jobs that wait for others. OurDB says whether they may run; Redis only tells the moment to look.

A claimed job with `after` is looked at: if all jobs that it comes after are over, it runs, or ends because one of them
failed. Else it is held: `hold` takes it aside with what it waits for, `expect` notes it on each of these. When one of
them ends, the script that ends it tells those who wait in its own queue, and leaves mail for those of other queues,
which any WatchDog delivers. A job that nothing is left to wait for is queued, claimed, and looked at again.

Whatever is lost on the way, `recheck`, a part of reconciliation, finds: a job that is held though it may run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from herojobs.job import After, Job, JobStatus
from herojobs.live.call import Call, JobKey, job_key
from herojobs.live.flows import arrive, expect, hold, release
from herojobs.live.transport import Redis
from herojobs.names import Queue, Ref
from herojobs.outcome import ParentFailed
from herojobs.store.base import Store

log = logging.getLogger("herojobs.watchdog")

AT_ONCE = 500
LOOK_AGAIN_MS = 2_000
"""Milliseconds until a job is looked at again that waits for one which OurDB has as open and Redis doesn't."""


class Held(NamedTuple):
    """A claimed job that must wait.

    Attributes:
        queue: its queue.
        key: its id in Redis.
        token: the claim's.
        due_ms: when it may run at the earliest, unix milliseconds.
        parents: what it waits for.
    """

    queue: Queue
    key: JobKey
    token: str
    due_ms: int
    parents: Sequence[After]


class _State(msgspec.Struct):
    status: str
    reason: str = ""


_state = msgspec.json.Decoder(_State).decode
States = dict[Ref, "_State | None"]


class Flows:
    """Holds jobs and lets them go; see the module.

    Args:
        store: the durable history.
        redis: the connection.
    """

    def __init__(self, store: Store, redis: Redis) -> None:
        self._store = store
        self._redis = redis

    def look(self, job: Job, states: States | None = None) -> ParentFailed | list[After]:
        """Return what a job still has to wait for, none if it may run; or that it ends because another one failed."""
        refs = [Ref.parse(each.ref) for each in job.after]
        if states is None:
            states = self._states(refs)
        pending = []
        for each, ref in zip(job.after, refs, strict=True):
            state = states[ref]
            if state is None or state.status == JobStatus.ERROR:
                if each.on_failure != "run":
                    why = "was deleted" if state is None else f"ended in error ({state.reason or 'failed'})"
                    return ParentFailed(str(ref), why, cancel=each.on_failure == "cancel")
            elif state.status != JobStatus.DONE:
                pending.append(each)
        return pending

    async def hang(self, held: Sequence[Held]) -> None:
        """Have claimed jobs wait for what they come after.

        Raises:
            RedisUnavailable: what isn't held comes back when its lease ends; what is, with reconciliation.
        """
        groups: dict[Queue, list[Held]] = {}
        for each in held:
            groups.setdefault(each.queue, []).append(each)
        calls = [
            hold(queue, [(e.key, e.token, e.due_ms, [(p.ref, p.on_failure) for p in e.parents]) for e in group])
            for queue, group in groups.items()
        ]
        kept: list[tuple[Ref, Queue, JobKey]] = []
        for group, flags in zip(groups.values(), await self._redis.run_many(calls), strict=True):
            for each, is_held in zip(group, flags, strict=True):
                if is_held:
                    kept += [(Ref.parse(parent.ref), each.queue, each.key) for parent in each.parents]
        await self._expect(kept)

    async def deliver(self, queue: Queue) -> int:
        """Deliver a queue's mail: tell jobs of other queues which of this one's are over; return the number told."""
        key = self._redis.keys.of("heromail", queue)
        told = 0
        while True:
            letters = await self._redis.command("SRANDMEMBER", key, AT_ONCE)
            if not letters:
                return told
            by_queue: dict[Queue, list[tuple[JobKey, str, bool]]] = {}
            for letter in letters:
                child, parent, ok = letter.decode().split(" ")
                place, _, number = child.rpartition("/")
                found = Queue.parse(place.replace("/", ":"))
                if found is not None:
                    by_queue.setdefault(found, []).append((job_key(number.encode()), parent, ok == "1"))
            await self._redis.run_many([arrive(place, each) for place, each in by_queue.items()])
            await self._redis.command("SREM", key, *letters)
            told += len(letters)

    async def recheck(self, queue: Queue) -> int:
        """Look at every job of a queue that is held; return how many were, though they may run."""
        released = 0
        keys = [
            job_key(key) for key in await self._redis.command("ZRANGE", self._redis.keys.of("heroheld", queue), 0, -1)
        ]
        numbers = [key for key in keys if isinstance(key, int)]
        for start in range(0, len(numbers), AT_ONCE):
            part = numbers[start : start + AT_ONCE]
            jobs = self._store.get_many(queue, part)
            states = self._states({Ref.parse(each.ref) for job in jobs if job for each in job.after})
            free: list[JobKey] = []
            waiting: list[tuple[Ref, Queue, JobKey]] = []
            for key, job in zip(part, jobs, strict=True):
                answer = self.look(job, states) if job is not None else []
                if isinstance(answer, list) and answer:
                    waiting += [(Ref.parse(each.ref), queue, key) for each in answer]
                else:
                    free.append(key)  # who claims it finds out what is to be done
            await self._expect(waiting)
            if free:
                released += await self._redis.run(release(queue, free))
        return released

    async def _expect(self, waits: Sequence[tuple[Ref, Queue, JobKey]]) -> None:
        """Note on jobs who waits for them; for those that are over by now, tell it at once."""
        groups: dict[Queue, list[tuple[Ref, Queue, JobKey]]] = {}
        for wait in waits:
            groups.setdefault(wait[0].queue, []).append(wait)
        calls = [
            expect(queue, [(parent.id, f"{child}/{_shown(key)}") for parent, child, key in group])
            for queue, group in groups.items()
        ]
        if not calls:
            return
        unnoted: list[tuple[Ref, Queue, JobKey]] = []
        for group, flags in zip(groups.values(), await self._redis.run_many(calls), strict=True):
            unnoted += [wait for wait, noted in zip(group, flags, strict=True) if not noted]
        states = self._states({parent for parent, _, _ in unnoted})
        over: dict[Queue, list[tuple[JobKey, str, bool]]] = {}
        unclear: dict[Queue, set[JobKey]] = {}
        for parent, child, key in unnoted:
            state = states[parent]
            if state is None or state.status in (JobStatus.DONE, JobStatus.ERROR):
                is_done = state is not None and state.status == JobStatus.DONE
                over.setdefault(child, []).append((key, str(parent), is_done))
            else:  # it is being cancelled or deleted in this moment, or Redis has lost it
                unclear.setdefault(child, set()).add(key)
        settling: list[Call[Any]] = [arrive(queue, told) for queue, told in over.items()]
        settling += [release(queue, keys, delay_ms=LOOK_AGAIN_MS) for queue, keys in unclear.items()]
        if settling:
            await self._redis.run_many(settling)

    def _states(self, refs: Iterable[Ref]) -> States:
        """Return how jobs stand in OurDB, None for those that don't exist."""
        groups: dict[Queue, list[int]] = {}
        for ref in set(refs):
            groups.setdefault(ref.queue, []).append(ref.id)
        found: States = {}
        for queue, numbers in groups.items():
            for number, tip in zip(numbers, self._store.tips(queue, numbers), strict=True):
                found[Ref(queue, number)] = None if tip is None else _read(tip.data)
        return found


def _read(data: bytes) -> _State | None:
    try:
        return _state(data)
    except (msgspec.DecodeError, ValueError):
        return None


def _shown(key: JobKey) -> str:
    return key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key)
