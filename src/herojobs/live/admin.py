"""The calls of clients about one job or queue: look, count, cancel, retry, delete, empty, publish output."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from herojobs.live.call import Call, JobKey, job_keys, sum_of
from herojobs.names import Queue


class Counts(NamedTuple):
    """How many ids of a queue are where.

    Attributes:
        waiting: in the list, first in, first out.
        priority: waiting with a priority of 1 to 9.
        scheduled: waiting for their time.
        leased: claimed by a WatchDog.
        held: waiting for other jobs to end.
    """

    waiting: int
    priority: int
    scheduled: int
    leased: int
    held: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.waiting + self.priority + self.scheduled + self.leased + self.held


class Emptied(NamedTuple):
    """What `empty` removed: ids by which OurDB knows the jobs, and ids of foreign programs, which it doesn't know."""

    ids: list[int]
    foreign: list[JobKey]


def look(queue: Queue, id: JobKey) -> Call[bytes | None]:
    """Return the JSON in a job's hash, None if there is none."""
    return Call("look", queue, (0, id), lambda reply: reply)


class Progress(msgspec.Struct, frozen=True):
    """How far a job says it is.

    Attributes:
        percent: 0 to 100.
        text: what it is doing.
        at: when it said so, unix milliseconds.
    """

    percent: float
    text: str
    at: int


def progress_of(queue: Queue, id: JobKey) -> Call[Progress | None]:
    """Return what a job that is running now has said last of how far it is, None if nothing."""
    return Call("progress_of", queue, (0, id), lambda reply: reply and msgspec.json.decode(reply, type=Progress))


def counts(queue: Queue) -> Call[Counts]:
    """Count a queue's ids."""
    return Call("counts", queue, (0,), Counts._make)


def publish_log(queue: Queue, id: JobKey, text: str) -> Call[None]:
    """Publish a piece of a running job's output to those who follow it."""
    return Call("publish_log", queue, (0, id, text.encode("utf-8", "replace")), lambda _: None)


def cancel(queue: Queue, id: JobKey, json: bytes, ttl: int) -> Call[str]:
    """Take a waiting or scheduled job out of its queue, or ask the WatchDog that runs it to stop it.

    Args:
        queue: its queue.
        id: its id.
        json: the job as it is once cancelled, for the hash of one that was waiting.
        ttl: seconds that this stays in Redis; 0 = for ever, -1 = not at all.

    Returns:
        `removed`: it was waiting or scheduled; `running`: its WatchDog was told; `over`: it has ended; `missing`:
        Redis doesn't have it.
    """
    return Call("cancel", queue, (0, id, json, sum_of(json), ttl), _text)


def retry(queue: Queue, id: JobKey, json: bytes, priority: int) -> Call[str]:
    """Queue a job again that was over in OurDB and is new there now, with its attempts counted afresh.

    Returns:
        `queued`, or `conflict`: a foreign program's job has its id.
    """
    return Call("retry", queue, (0, id, json, sum_of(json), priority), _text)


def delete(queue: Queue, id: JobKey) -> Call[str]:
    """Remove a job from its queue and from Redis.

    Returns:
        `deleted`, `running` (nothing was done), or `missing`.
    """
    return Call("delete", queue, (0, id), _text)


def empty(queue: Queue, limit: int) -> Call[Emptied]:
    """Remove up to `limit` jobs that wait or are scheduled, with their hashes; repeat until none comes back.

    Ids that are leased or over and were pushed once more leave the queue, but keep their hashes and aren't told.
    """
    return Call("empty", queue, (0, limit), lambda reply: Emptied([int(id) for id in reply[0]], job_keys(reply[1])))


def _text(reply: Any) -> str:
    return str(reply.decode())
