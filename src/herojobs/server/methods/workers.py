"""The methods of workers in other languages: they lease jobs, as a WatchDog does, run them, and say how they ended."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from herojobs.jsonrpc import Example
from herojobs.jsonrpc.codes import Code
from herojobs.server.access import queue_of
from herojobs.server.caller import Caller
from herojobs.server.methods.registry import method
from herojobs.server.shapes import Claimed, Extended, Finished, Held, Lease, QueueText
from herojobs.sessions import Role

_GONE = {"ref": "demo/default/4", "token": "a.1"}


@method("worker.claim", Role.OPERATOR, errors=(Code.UNAVAILABLE,), changes=True,
        example=Example({"queues": ["demo/unused"], "n": 1, "lease": 15.0}, []))  # fmt: skip
async def claim(
    caller: Caller,
    queues: Annotated[list[QueueText], Meta(min_length=1, max_length=100)],
    n: Annotated[int, Meta(ge=1, le=100)] = 1,
    lease: Lease = 15.0,
    wait: Annotated[float, Meta(ge=0)] = 0.0,
) -> list[Claimed]:
    """Take up to n jobs and lease them to the caller; a lease that runs out gives the job back to its queue.

    Args:
        queues: where to take from, in turn, as circle/topic
        n: most jobs to take
        lease: seconds until the jobs go back, unless `worker.extend` or `worker.finish` come first
        wait: seconds to wait for a job where there is none; more than 60 count as 60
    """
    wanted = list(dict.fromkeys(queue_of(text) for text in queues))
    return await caller.backend.leases.claim(wanted, n, lease, wait, caller.is_over)


@method("worker.extend", Role.OPERATOR, errors=(Code.UNAVAILABLE,),
        example=Example({"leases": [_GONE], "lease": 15.0}, {"extended": [], "lost": ["demo/default/4"],
                                                             "cancelled": []}))  # fmt: skip
async def extend(
    caller: Caller, leases: Annotated[list[Held], Meta(min_length=1, max_length=1000)], lease: Lease = 15.0
) -> Extended:
    """Make leases last on. Stop a job that comes back as lost or cancelled; finish a cancelled one with its error.

    Args:
        leases: which, with the tokens that `worker.claim` gave
        lease: seconds from now
    """
    return await caller.backend.leases.extend(leases, lease)


@method("worker.finish", Role.OPERATOR, errors=(Code.UNAVAILABLE,), changes=True,
        example=Example({"results": [_GONE | {"result": "42"}]}, [False]))  # fmt: skip
async def finish(caller: Caller, results: Annotated[list[Finished], Meta(min_length=1, max_length=1000)]) -> list[bool]:
    """End leased jobs; return for each whether that counts: if not, somebody else has the job now, or it is over.

    Args:
        results: for each its token, and its result or its error
    """
    return await caller.backend.leases.finish(results)
