"""What a WatchDog looks at while it is idle: which queues there are, which have work, was Redis wiped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from herojobs.live.keys import ALIVE, TOPICS
from herojobs.live.redis import Redis, Word
from herojobs.names import Queue

MAX_BLOCKED = 1000
"""Most wake lists that one BLPOP names."""


class Waiting(NamedTuple):
    """The answer to `waiting`.

    Attributes:
        counts: ids that wait, for each queue that was asked for; scheduled and running ones don't count.
        marker: value of the key `heroalive`; "" if it isn't there: Redis was wiped, or is new. Every
            process remembers the one it saw: another one means that Redis was wiped.
    """

    counts: list[int]
    marker: str


class Found(NamedTuple):
    """The answer to `find_queues`: queues, and what is no valid name and was passed over."""

    queues: set[Queue]
    invalid: set[str]


async def waiting(redis: Redis, queues: Sequence[Queue]) -> Waiting:
    """Return how many ids wait in each queue, and the marker, in one round trip."""
    commands: list[Sequence[Word]] = [("GET", ALIVE)]
    for queue in queues:
        commands.append(("LLEN", redis.keys.queue(queue)))
        commands.append(("ZCARD", redis.keys.of("heroprio", queue)))
    marker, *counts = await redis.commands(commands)
    return Waiting([a + b for a, b in zip(counts[::2], counts[1::2], strict=True)], _text(marker))


async def mark(redis: Redis, marker: str) -> str:
    """Set the marker unless there is one, and return the one in force.

    Args:
        redis: the transport.
        marker: a value no other process would choose, like a UUID.
    """
    _, found = await redis.commands([("SET", ALIVE, marker, "NX"), ("GET", ALIVE)])
    return _text(found)


async def register(redis: Redis, queues: Sequence[Queue]) -> None:
    """Add queues to the set of known ones. `submit` does it by itself, except in a cluster."""
    if queues:
        await redis.command("SADD", TOPICS, *(redis.keys.q(queue) for queue in queues))


async def find_queues(redis: Redis, *, foreign: bool = True) -> Found:
    """Return all queues: those that ours ever submitted to and, with `foreign`, all lists `heroqueue:*`.

    The latter is a scan of all keys, in steps that don't hold the server up: for every few seconds.
    """
    names = {_text(q) for q in await redis.command("SMEMBERS", TOPICS)}
    cursor = b"0"
    while foreign:
        command = ("SCAN", cursor, "MATCH", "heroqueue:*", "COUNT", 1000, "TYPE", "list")
        cursor, keys = await redis.command(*command)
        names.update(_text(key)[len("heroqueue:") :] for key in keys)
        if cursor == b"0":
            break
    found = Found(set(), set())
    for name in names:
        queue = redis.keys.parse(f"heroqueue:{name}")
        if queue is None:
            found.invalid.add(name)
        else:
            found.queues.add(queue)
    return found


async def wait_for_work(redis: Redis, queues: Sequence[Queue], timeout: float) -> Queue | None:
    """Block until one of the queues has new work, or `timeout` seconds have passed.

    Foreign producers wake nobody: look at `waiting` a few times a second as well. In a cluster, all queues of one call
    would have to share a slot.

    Args:
        redis: the transport; one of its connections is taken meanwhile.
        queues: the first 1,000 are listened to.
        timeout: seconds; fractions count to the millisecond.

    Returns:
        the queue that has work, None after the timeout.
    """
    keys = [redis.keys.of("herowake", queue) for queue in queues[:MAX_BLOCKED]]
    reply = await redis.block("BLPOP", *keys, max(0.001, round(timeout, 3)), timeout=timeout)
    return None if reply is None else redis.keys.parse(_text(reply[0]))


async def publish_log(redis: Redis, queue: Queue, job_id: int, text: bytes) -> int:
    """Publish a piece of a running job's output; returns how many listen."""
    count: Any = await redis.command("PUBLISH", redis.keys.log(queue, job_id), text)
    return int(count)


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("utf-8", "backslashreplace")
