"""The calls about limits that the claim can't look at: those of circles, and of keys within a topic.

A script touches one queue's keys, so a limit over several queues can't be looked at while one of them is claimed
from. A WatchDog takes slots of the circle first, claims as many jobs as it was given slots, and gives back what it
didn't need. Slots end by themselves if nobody makes them last, like leases.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from herojobs.limits import Bound
from herojobs.live.call import Call, JobKey, flags, proven
from herojobs.names import Queue


class Granted(NamedTuple):
    """The answer to `take_slots`: slots that were granted, and when more starts are allowed, unix ms, 0 = unknown."""

    slots: int
    next_due: int


def all_of(circle: str) -> Queue:
    """Return what stands for all queues of a circle in names of keys; no queue has this name."""
    return Queue(circle, "*")


def take_slots(circle: str, n: int, bound: Bound, lease_ms: int, token: str, *, now: int = 0) -> Call[Granted]:
    """Take up to `n` slots of a circle; they are `slot(token, 1)` and so on.

    Args:
        circle: the circle, its name fixed.
        n: most slots to take.
        bound: the circle's.
        lease_ms: how long they last, in milliseconds.
        token: never the same twice.
        now: unix milliseconds, 0 for the server's clock.
    """
    args = (now, n, *bound, lease_ms, proven(token))
    return Call("take_slots", all_of(circle), args, Granted._make)


def free_slots(circle: str, slots: Sequence[str], unused: int = 0, *, now: int = 0) -> Call[None]:
    """Give slots back; the first `unused` of them had no job, so that no start is counted for them."""
    return Call("free_slots", all_of(circle), (now, unused, *slots), lambda _: None)


def keep_slots(circle: str, slots: Iterable[str], lease_ms: int, *, make: bool = False, now: int = 0) -> Call[None]:
    """Make slots last `lease_ms` from now.

    Args:
        circle: whose they are.
        slots: their names. One that was given back meanwhile stays away.
        lease_ms: milliseconds.
        make: also make those that aren't there: Redis has forgotten them.
        now: unix milliseconds, 0 for the server's clock.
    """
    return Call("keep_slots", all_of(circle), (now, lease_ms, int(make), *slots), lambda _: None)


def slot(token: str, number: int) -> str:
    """Return the name of a slot."""
    return f"{token}:{number}"


def enter_keys(
    queue: Queue, token: str, jobs: Iterable[tuple[JobKey, str]], bound: Bound, *, now: int = 0
) -> Call[list[bool]]:
    """Look whether claimed jobs may run within the limits of their keys; those that may not go back to wait.

    Args:
        queue: their queue.
        token: the claim's.
        jobs: id and key of each.
        bound: what holds for each key.
        now: unix milliseconds, 0 for the server's clock.

    Returns:
        for each job whether it may run.
    """
    args: list[str | bytes | int] = [now, proven(token), *bound]
    for id, key in jobs:
        args += (id, key)
    return Call("enter_keys", queue, args, flags)


def leave_keys(queue: Queue, jobs: Iterable[tuple[JobKey, str]], *, now: int = 0) -> Call[None]:
    """Have the next jobs of keys come in the places of jobs that are over; `jobs` are their ids and keys."""
    args: list[str | bytes | int] = [now]
    for id, key in jobs:
        args += (id, key)
    return Call("leave_keys", queue, args, lambda _: None)
