"""The calls that bring jobs back or take them in: requeue, restore, adopt, bury."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from herojobs.live.call import Call, JobKey, flags, proven, sum_of
from herojobs.names import Queue


class Requeue(NamedTuple):
    """A job to queue again.

    Attributes:
        id: its OurDB id.
        job: its JSON, status new.
        at: how often it was started so far.
        due_ms: unix milliseconds before which it doesn't run; 0 or past = at once.
        priority: 0 to 9.
        expires_ms: unix milliseconds by which it must have started, 0 = never; for the caller, see `expire_at`.
    """

    id: int
    job: bytes
    at: int
    due_ms: int
    priority: int
    expires_ms: int = 0


class Requeued(NamedTuple):
    """The answer to `requeue`: ids that were queued, and ids that are over, with their JSON; the rest was there."""

    queued: list[int]
    over: list[tuple[int, bytes]]


def requeue(queue: Queue, entries: Iterable[Requeue], *, now: int = 0) -> Call[Requeued]:
    """Queue jobs again that OurDB holds as new and Redis has nowhere; repeating it is harmless.

    A job whose key a foreign program's job has taken goes under the key 4,294,967,295 - id, with `db` pointing to its
    OurDB id.
    """
    args: list[str | bytes | int] = [now]
    for entry in entries:
        args += (entry.id, entry.job, sum_of(entry.job), entry.at, entry.due_ms, entry.priority)
    return Call("requeue", queue, args, _requeued)


def _requeued(reply: Any) -> Requeued:
    return Requeued([int(id) for id in reply[0]], [(int(id), job) for id, job in reply[1]])


def restore(
    queue: Queue, lease_ms: int, jobs: Iterable[tuple[JobKey, str, bytes, int, bool]], *, now: int = 0
) -> Call[list[bool]]:
    """Put hash and lease of running jobs back after Redis was wiped.

    Args:
        queue: their queue.
        lease_ms: how long the leases last from now.
        jobs: (id, token, JSON, attempts, whether a worker has begun it) of each.
        now: unix milliseconds, 0 for the server's clock.

    Returns:
        for each job whether its token holds it; if not, another claimed it meanwhile, or it is over.
    """
    args: list[str | bytes | int] = [now, lease_ms]
    for id, token, job, at, begun in jobs:
        args += (id, proven(token), job, sum_of(job), at, "active" if begun else "new")
    return Call("restore", queue, args, flags)


def adopt(queue: Queue, token: str, id: JobKey, json: bytes, db_id: int) -> Call[bool]:
    """Make a claimed job of a foreign program ours.

    Args:
        queue: its queue.
        token: the claim's.
        id: its id as pushed.
        json: the job as ours writes it, `jobid` being the key's id where that is a number.
        db_id: the id under which OurDB has it.

    Returns:
        whether the claim still held; if not, nothing was written.
    """
    return Call("adopt", queue, (0, proven(token), id, json, sum_of(json), db_id), lambda reply: reply == 1)


def bury(queue: Queue, id: JobKey, token: str, reason_json: bytes) -> Call[None]:
    """Give up a claimed id that can't be resolved: it goes to the list of the dead, which keeps the last 1,000.

    Args:
        queue: its queue.
        id: its id as pushed.
        token: the claim's; if it is lost, nothing happens.
        reason_json: why, as JSON.
    """
    return Call("bury", queue, (0, id, proven(token), reason_json), lambda _: None)
