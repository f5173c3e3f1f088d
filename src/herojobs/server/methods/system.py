"""The methods about the server itself."""

from __future__ import annotations

from typing import Any

from herojobs.jsonrpc import Example
from herojobs.server import document
from herojobs.server.caller import Caller
from herojobs.server.health import check
from herojobs.server.methods.registry import method
from herojobs.server.shapes import Health, Info
from herojobs.sessions import Role


@method("rpc.discover", None, example=Example({}, {}), result=dict[str, Any])
def discover(caller: Caller) -> Any:
    """Return the OpenRPC document of this server."""
    return document.encoded(caller.url)


@method(
    "system.info",
    Role.VIEWER,
    example=Example(
        {},
        {
            "version": "0.1.0", "jobs": {"new": 1, "active": 0, "done": 1, "error": 0}, "queues": 1, "redis": "ok",
            "store": "ok",
        },
    ),
)  # fmt: skip
async def info(caller: Caller) -> Info:
    """Return the server's version, how many jobs the session's circles have by status, and the state of its parts."""
    from herojobs import __version__

    backend = caller.backend
    state = (await check(backend)).checks
    jobs: dict[str, int] = {}
    queues = [queue for queue in backend.store.queues() if caller.may_see(queue.circle)]
    for circle in [None] if caller.circles is None else caller.circles:
        counted = await backend.in_thread(lambda circle=circle: backend.index.counts(circle))  # type: ignore[misc]
        for status, number in counted.items():
            jobs[status] = jobs.get(status, 0) + number
    return Info(__version__, jobs, len(queues), state["redis"], state["store"])


@method(
    "system.health",
    Role.VIEWER,
    example=Example({}, {"ok": True, "checks": {"redis": "ok", "store": "ok", "watchdog": "ok"}}),
)
async def health(caller: Caller) -> Health:
    """Return whether jobs can be taken and run, and what is wrong if not; GET /readyz tells the same."""
    return await check(caller.backend)
