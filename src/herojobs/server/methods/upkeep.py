"""The methods that keep a home in order: pruning old jobs, and limits, which hold for all circles."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from herojobs.client.prune import Pruned
from herojobs.jsonrpc import Example
from herojobs.jsonrpc.codes import Code
from herojobs.limits import Limit
from herojobs.server.caller import Caller
from herojobs.server.methods.registry import method
from herojobs.server.shapes import CircleId, PruneCounts, Topic
from herojobs.sessions import Role

LimitName = Annotated[str, Meta(description="circle, circle/topic, circle/* (each of its topics), * or */*")]


@method(
    "job.prune",
    Role.OPERATOR,
    errors=(Code.UNAVAILABLE,),
    example=Example(
        {"circle_id": "demo", "topic": "unused", "older_than": 86400, "dry_run": True},
        {"jobs": 0, "logs": 0, "compacted": 0},
    ),
    changes=True,
)
async def prune(
    caller: Caller,
    circle_id: CircleId | None = None,
    topic: Topic | None = None,
    older_than: float | None = None,
    dry_run: bool = False,
    status: str | None = None,
) -> PruneCounts:
    """Delete jobs that have been over for long, with their history and logs; return how many.

    Args:
        circle_id: only of this circle; of all that the session has if not given
        topic: only of this topic
        older_than: seconds that a job must have been over; null = what the settings say
        dry_run: count, and delete nothing
        status: only jobs that ended like this, done or error
    """
    circles = [circle_id] if circle_id is not None or caller.circles is None else list(caller.circles)
    done = [await caller.backend.core.pruner.prune(each, topic, older_than, status, dry_run) for each in circles]
    return PruneCounts(**Pruned(*map(sum, zip(*done, strict=True)))._asdict())


@method("limit.list", Role.ADMIN, example=Example({}, {}))
async def list_limits(caller: Caller) -> dict[str, Limit]:
    """Return the limits in force, by name."""
    return await caller.backend.core.rules.limits()


@method("limit.set", Role.ADMIN, example=Example({"name": "unused", "jobs": 5}, {"jobs": 5}), changes=True)
async def set_limit(
    caller: Caller,
    name: LimitName,
    jobs: int | None = None,
    rate: str | None = None,
    key_jobs: int | None = None,
    key_rate: str | None = None,
    weight: int | None = None,
) -> Limit:
    """Limit a circle or topic from now on; what isn't given stays as it is.

    Args:
        name: what it holds for
        jobs: how many of its jobs run at once; 0 = any number
        rate: how many start in any span of time, like 100/m; empty = any number
        key_jobs: of a topic: how many jobs of one limit_key run at once
        key_rate: of a topic: how many jobs of one limit_key start in any span of time
        weight: of a circle: how many jobs it gets started for each one of a circle of weight 1
    """
    return await caller.backend.core.rules.set_limit(name, jobs, rate, key_jobs, key_rate, weight)


@method("limit.remove", Role.ADMIN, example=Example({"name": "unused"}, True), changes=True)
async def remove_limit(caller: Caller, name: LimitName) -> bool:
    """Undo `limit.set`; a limit that the settings have under this name counts again.

    Args:
        name: what it holds for
    """
    await caller.backend.core.rules.remove_limit(name)
    return True
