"""Races, stepped in every order: two WatchDogs, a client, a foreign program and reconciliation over one job.

Each script runs whole, so the orders of calls are all the orders there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from herojobs.live import calls
from herojobs.live.call import Call
from herojobs.live.redis import BlockingRedis
from herojobs.names import Queue
from live.driver import Driver

Q = Queue.of("c", "t")
T0 = 1_800_000_000_000
LEASE = 10_000
LATE = T0 + 2 * LEASE
NEW = b'{"jobid":1,"status":"new"}'
Step = tuple[str, Call[Any]]


def done(by: str) -> bytes:
    return b'{"jobid":1,"status":"done","result":"%s"}' % by.encode()


def watchdog(name: str, now: int) -> list[Step]:
    """The steps of a WatchDog that takes the job, and is slow enough to lose it."""
    return [
        ("claim", calls.claim(Q, 1, LEASE, name, now=now)),
        ("extend", calls.extend(Q, LEASE, [(1, name)], now=now + 1)),
        ("finish", calls.finish(Q, [(1, name, done(name), "done")], 100, now=now + 2)),
    ]


CLIENT = {
    "cancel": [("cancel", calls.cancel(Q, 1, b'{"jobid":1,"status":"error"}', 100))],
    "delete": [("delete", calls.delete(Q, 1))],
    "empty": [("empty", calls.empty(Q, 10))],
    "resubmit": [("submit", calls.submit(Q, [(1, NEW, 0, 0)], now=T0))],
    "requeue twice": [("requeue", calls.requeue(Q, [calls.Requeue(1, NEW, 0, 0, 0)], now=T0))] * 2,
    "put back": [("put_back", calls.put_back(Q, [(1, "a", b"")], count_attempt=True, now=T0))],
    "priority": [("put_back", calls.put_back(Q, [calls.Back(1, "b", NEW, 1)], count_attempt=False, now=T0))],
}


def orders(*actors: Sequence[Step]) -> Iterator[list[tuple[int, Step]]]:
    """Yield every order of the actors' steps that keeps each actor's own order."""
    if not any(actors):
        yield []
    for i, steps in enumerate(actors):
        if steps:
            rest = [*actors[:i], steps[1:], *actors[i + 1 :]]
            for order in orders(*rest):
                yield [(i, steps[0]), *order]


def places(redis: Driver[BlockingRedis]) -> int:
    """Return in how many places the job is: list, priorities, schedule, leases."""
    return sum(redis.run(calls.counts(Q)))


@pytest.mark.parametrize("priority", [0, 4])
@pytest.mark.parametrize("what", CLIENT)
def test_one_end_is_accepted_and_nothing_is_lost_or_doubled(
    redis: Driver[BlockingRedis], what: str, priority: int
) -> None:
    """The second WatchDog comes when the first one's lease has run out."""
    for order in orders(watchdog("a", T0), watchdog("b", LATE), CLIENT[what]):
        redis.command("FLUSHDB")
        redis.run(calls.submit(Q, [(1, NEW, 0, priority)], now=T0))
        accepted: list[str] = []
        removed = False
        for actor, (step, call) in order:
            told = redis.run(call)
            if step == "finish" and told[0]:
                accepted.append("ab"[actor])
            removed |= step in ("cancel", "delete") and told in ("removed", "deleted")
            removed |= step == "empty" and told.ids == [1]
            assert places(redis) <= 1, names(order)
        hash_is_over = redis.command("HGET", "herojobs:c:t:1", "st") in (b"done", b"error")
        # A finish after a removal finds no hash and is let in: OurDB, which is asked first, refuses that one.
        assert len(accepted) <= 1 + removed, names(order)
        if not removed:
            assert places(redis) + hash_is_over == 1, names(order)
            if accepted:
                assert redis.run(calls.look(Q, 1)) == done(accepted[0]), names(order)


def test_a_wipe_at_any_moment_ends_in_one_accepted_end(redis: Driver[BlockingRedis]) -> None:
    restoring: list[Step] = [
        ("claim", calls.claim(Q, 1, LEASE, "a", now=T0)),
        ("restore", calls.restore(Q, LEASE, [(1, "a", NEW, 1, True)], now=T0)),
        ("finish", calls.finish(Q, [(1, "a", done("a"), "done")], 100, now=T0)),
    ]
    other: list[Step] = [
        ("claim", calls.claim(Q, 1, LEASE, "b", now=T0)),
        ("finish", calls.finish(Q, [(1, "b", done("b"), "done")], 100, now=T0)),
    ]
    wipe: list[Step] = [
        ("wipe", calls.counts(Q)),
        ("requeue", calls.requeue(Q, [calls.Requeue(1, NEW, 1, 0, 0)], now=T0)),
    ]
    for order in orders(restoring, other, wipe):
        redis.command("FLUSHDB")
        redis.run(calls.submit(Q, [(1, NEW, 0, 0)], now=T0))
        holder: dict[str, bool] = {}
        ends: list[str] = []
        for actor, (step, call) in order:
            if step == "wipe":
                redis.command("FLUSHDB")
                ends.clear()  # the end that Redis forgot is in OurDB, which requeue's caller asks first
            holds = step not in ("restore", "finish") or holder.get("ab"[actor], False)
            if not holds:
                continue  # a WatchDog restores and finishes what it has claimed
            told = redis.run(call)
            if step == "claim":
                holder["ab"[actor]] = bool(told.jobs)
            if step == "restore" and not told[0]:
                holder["a"] = False
            if step == "finish" and told[0]:
                ends.append("ab"[actor])
            assert places(redis) <= 1, names(order)
        assert len(ends) <= 1, names(order)


def test_a_foreign_job_pushed_under_the_id_of_one_that_runs_is_not_lost(redis: Driver[BlockingRedis]) -> None:
    foreign: list[tuple[str, Callable[[], Any]]] = [
        ("hset", lambda: redis.command("HSET", "herojobs:c:t:1", "job", "foreign")),
        ("rpush", lambda: redis.command("RPUSH", "heroqueue:c:t", "1")),
    ]
    for order in orders(watchdog("a", T0), foreign):  # type: ignore[arg-type]  # steps of another kind, run below
        redis.command("FLUSHDB")
        redis.run(calls.submit(Q, [(1, NEW, 0, 0)], now=T0))
        for actor, (_, step) in order:
            redis.run(step) if actor == 0 else step()  # type: ignore[operator]
        steps = names(order)
        if steps.index("hset") < steps.index("finish") < steps.index("rpush"):
            continue  # our end fell between the producer's two commands: nothing tells yet that its job is another
        if steps[-1] == "rpush" and steps[-2] == "hset":
            assert len(redis.run(calls.claim(Q, 1, LEASE, "b", now=T0)).jobs) == 1
            continue
        seen = redis.run(calls.look(Q, 1))
        waits = places(redis)
        assert (seen == b"foreign" and waits) or seen == done("a"), names(order)


def names(order: list[tuple[int, Any]]) -> list[str]:
    return [step[0] for _, step in order]
