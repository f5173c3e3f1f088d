"""The methods of queues and circles."""

from __future__ import annotations

from typing import Any

from herojobs.job import Job
from herojobs.jsonrpc import Example
from herojobs.jsonrpc.codes import Code
from herojobs.live import admin
from herojobs.names import Queue as Name
from herojobs.names import fixed_name
from herojobs.server.backend import Backend
from herojobs.server.caller import Caller
from herojobs.server.methods.registry import method
from herojobs.server.shapes import CircleId, Queue, Topic, shown_job
from herojobs.sessions import Role

SHOWN = {
    "circle_id": "demo", "topic": "default", "waiting": 0, "scheduled": 1, "active": 0, "paused": False, "oldest": 0,
}  # fmt: skip
_NAMED = {"circle_id": "demo", "topic": "default"}


@method("queue.list", Role.VIEWER, errors=(Code.UNAVAILABLE,), example=Example({"circle_id": "demo"}, [SHOWN]))
async def list_queues(caller: Caller, circle_id: CircleId | None = None) -> list[Queue]:
    """Return the queues, and how many jobs are where.

    Args:
        circle_id: of one circle; of all that the session has if not given
    """
    wanted = None if circle_id is None else fixed_name(circle_id, "circle_id")
    names = [
        name for name in await known(caller.backend) if wanted in (None, name.circle) and caller.may_see(name.circle)
    ]
    return await look(caller.backend, names)


@method("queue.size", Role.VIEWER, errors=(Code.UNAVAILABLE,), example=Example(_NAMED, 0))
async def size(caller: Caller, circle_id: CircleId, topic: Topic) -> int:
    """Return how many jobs of a queue wait, scheduled ones included.

    Args:
        circle_id: its circle
        topic: its topic
    """
    counts = await caller.backend.redis.run(admin.counts(Name.of(circle_id, topic)))
    return counts.waiting + counts.priority + counts.scheduled


@method("queue.stats", Role.VIEWER, errors=(Code.UNAVAILABLE,), example=Example(_NAMED, SHOWN))
async def stats(caller: Caller, circle_id: CircleId, topic: Topic) -> Queue:
    """Return how many jobs of a queue are where.

    Args:
        circle_id: its circle
        topic: its topic
    """
    return (await look(caller.backend, [Name.of(circle_id, topic)]))[0]


@method(
    "queue.empty",
    Role.OPERATOR,
    errors=(Code.UNAVAILABLE,),
    example=Example({"circle_id": "demo", "topic": "unused"}, 0),
    changes=True,
)
async def empty(caller: Caller, circle_id: CircleId, topic: Topic) -> int:
    """Remove all waiting and scheduled jobs of a queue; they end with reason `removed`. Return their number.

    Args:
        circle_id: its circle
        topic: its topic
    """
    return await caller.backend.core.empty(circle_id, topic)


@method(
    "queue.pause",
    Role.OPERATOR,
    errors=(Code.UNAVAILABLE,),
    example=Example(_NAMED, SHOWN | {"paused": True}),
    changes=True,
)
async def pause(caller: Caller, circle_id: CircleId, topic: Topic) -> Queue:
    """Have no more jobs of a queue start until it is resumed, whatever is restarted meanwhile.

    Args:
        circle_id: its circle
        topic: its topic
    """
    await caller.backend.core.rules.pause(circle_id, topic)
    return (await look(caller.backend, [Name.of(circle_id, topic)]))[0]


@method("queue.resume", Role.OPERATOR, errors=(Code.UNAVAILABLE,), example=Example(_NAMED, SHOWN), changes=True)
async def resume(caller: Caller, circle_id: CircleId, topic: Topic) -> Queue:
    """Have jobs of a queue start again; one whose circle is paused stays so.

    Args:
        circle_id: its circle
        topic: its topic
    """
    await caller.backend.core.rules.resume(circle_id, topic)
    return (await look(caller.backend, [Name.of(circle_id, topic)]))[0]


@method("queue.peek", Role.VIEWER, errors=(Code.UNAVAILABLE,), example=Example(_NAMED, None))
async def peek(caller: Caller, circle_id: CircleId, topic: Topic) -> Job | None:
    """Return the job that is next in a queue, without taking it; null if none waits.

    Args:
        circle_id: its circle
        topic: its topic
    """
    job = await caller.backend.core.peek(circle_id, topic)
    return None if job is None else shown_job(job)


@method("queue.paused", Role.VIEWER, example=Example({}, []))
async def paused(caller: Caller) -> list[str]:
    """Return what is paused: circles, and topics as circle/topic."""
    return [name for name in await caller.backend.core.paused() if caller.may_see(name.partition("/")[0])]


@method("circle.pause", Role.OPERATOR, example=Example({"circle_id": "demo"}, True), changes=True)
async def pause_circle(caller: Caller, circle_id: CircleId) -> bool:
    """Have no more jobs of a circle start until it is resumed.

    Args:
        circle_id: the circle
    """
    await caller.backend.core.rules.pause(circle_id, None)
    return True


@method("circle.resume", Role.OPERATOR, example=Example({"circle_id": "demo"}, True), changes=True)
async def resume_circle(caller: Caller, circle_id: CircleId) -> bool:
    """Have jobs of a circle start again; topics that were paused by themselves stay so.

    Args:
        circle_id: the circle
    """
    await caller.backend.core.rules.resume(circle_id, None)
    return True


@method("circle.list", Role.VIEWER, errors=(Code.UNAVAILABLE,), example=Example({}, ["demo"]))
async def list_circles(caller: Caller) -> list[str]:
    """Return the circles that have queues and that the session has."""
    return sorted({name.circle for name in await known(caller.backend) if caller.may_see(name.circle)})


async def known(backend: Backend) -> list[Name]:
    """Return all queues, sorted."""
    return sorted(set(backend.store.queues()) | set(await backend.redis.find_queues()))


async def look(backend: Backend, names: list[Name]) -> list[Queue]:
    """Return what is in queues, in two round trips for all of them."""
    counts = await backend.redis.run_many([admin.counts(name) for name in names])
    keys = backend.redis.keys
    heads: list[Any] = (
        await backend.redis.exchange(
            [
                command
                for name in names
                for command in (("ZRANGE", keys.of("heroprio", name), 0, 0), ("LINDEX", keys.queue(name), 0))
            ]
        )
        if names
        else []
    )
    rules = backend.core.rules.read()
    found = []
    for place, (name, each) in enumerate(zip(names, counts, strict=True)):
        ids = [int(id) for id in (_first(heads[2 * place]), _first(heads[2 * place + 1])) if id and id.isdigit()]
        oldest = min((job.created_ms for job in backend.store.get_many(name, ids) if job is not None), default=0)
        waiting = each.waiting + each.priority
        found.append(
            Queue(name.circle, name.topic, waiting, each.scheduled, each.leased, rules.is_paused(name), oldest)
        )
    return found


def _first(reply: Any) -> bytes | None:
    if isinstance(reply, list):
        return reply[0] if reply else None
    return reply if isinstance(reply, bytes) else None
