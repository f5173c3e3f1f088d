"""The calls by which jobs wait for others: hold, expect, arrive, release."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from herojobs.live.call import Call, JobKey, flags, proven
from herojobs.names import Queue


def hold(
    queue: Queue, jobs: Iterable[tuple[JobKey, str, int, Sequence[tuple[str, str]]]], *, now: int = 0
) -> Call[list[bool]]:
    """Have claimed jobs wait for others; their attempt doesn't count.

    Args:
        queue: their queue.
        jobs: (id, token, due in unix ms, parents) of each; a parent is its reference and what becomes of the job if
            it fails: `run`, `cancel` or `fail`.
        now: unix milliseconds, 0 for the server's clock.

    Returns:
        for each job whether its claim still held.
    """
    args: list[str | bytes | int] = [now]
    for key, token, due, parents in jobs:
        args += (key, proven(token), due, len(parents))
        for parent in parents:
            args += parent
    return Call("hold", queue, args, flags)


def expect(queue: Queue, pairs: Iterable[tuple[int, str]], *, now: int = 0) -> Call[list[bool]]:
    """Note on jobs that others wait for them. `pairs` are an id of this queue and the reference of one that waits.

    Returns:
        for each pair whether it was noted; if not, the job is over or Redis doesn't know it: ask OurDB.
    """
    args: list[str | bytes | int] = [now]
    for pair in pairs:
        args += pair
    return Call("expect", queue, args, flags)


def arrive(queue: Queue, told: Iterable[tuple[JobKey, str, bool]], *, now: int = 0) -> Call[int]:
    """Tell jobs that wait that others are over: (id, reference of the other, whether it is done). May be repeated.

    Returns:
        how many were queued by it.
    """
    args: list[str | bytes | int] = [now]
    for key, parent, ok in told:
        args += (key, parent, int(ok))
    return Call("arrive", queue, args, int)


def release(queue: Queue, ids: Iterable[JobKey], *, delay_ms: int = 0, now: int = 0) -> Call[int]:
    """Queue jobs that wait, after a delay, so that they are looked at again; return how many still waited."""
    return Call("release", queue, [now, delay_ms, *ids], int)
