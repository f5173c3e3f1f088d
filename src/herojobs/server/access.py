"""Who may call what: the one place that decides, before a method runs.

A method needs a role, and its parameters name circles. A circle that the caller's session doesn't have answers as one
that isn't there: its jobs aren't found, its queues are empty; only what would make something in it is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from herojobs.errors import InvalidReference, JobNotFound, ScheduleNotFound
from herojobs.jsonrpc import Method, RpcError
from herojobs.jsonrpc.codes import Code
from herojobs.jsonrpc.dispatcher import Instead
from herojobs.jsonrpc.methods import invalid_params
from herojobs.names import Queue, Ref, fixed_name
from herojobs.server.caller import Caller
from herojobs.sessions import Role


def _no_schedule(given: dict[str, Any]) -> NoReturn:
    raise ScheduleNotFound(given["name"], fixed_name(given["circle_id"], "circle_id"), ())


ABSENT: dict[str, Callable[[dict[str, Any]], Any]] = {
    "job.list": lambda _: {"jobs": [], "cursor": None},
    "job.retry_many": lambda _: [],
    "job.prune": lambda _: {"jobs": 0, "logs": 0, "compacted": 0},
    "queue.list": lambda _: [],
    "queue.peek": lambda _: None,
    "queue.size": lambda _: 0,
    "queue.empty": lambda _: 0,
    "queue.stats": lambda given: {
        "circle_id": fixed_name(given["circle_id"], "circle_id"), "topic": fixed_name(given["topic"], "topic"),
        "waiting": 0, "scheduled": 0, "active": 0, "paused": False, "oldest": 0,
    },
    **dict.fromkeys((f"schedule.{what}" for what in ("get", "pause", "resume", "run", "remove")), _no_schedule),
    "worker.claim": lambda _: [],
    "worker.extend": lambda given: {
        "extended": [], "lost": [str(parsed(each.ref)) for each in given["leases"]], "cancelled": [],
    },
    "worker.finish": lambda given: [False] * len(given["results"]),
}  # fmt: skip
"""What methods answer where there is nothing, for circles that aren't the caller's."""


def check(method: Method, caller: Caller, arguments: dict[str, Any]) -> None:
    """Refuse a call that the caller may not make; turn references in its arguments into `Ref`.

    Raises:
        RpcError: unauthorized, forbidden, or a reference that isn't one.
        JobNotFound, ScheduleNotFound: it is in a circle that isn't the caller's.
        Instead: the answer for a circle that isn't the caller's.
    """
    if method.role is None:
        return
    session = caller.session
    if session is None:
        raise RpcError(
            Code.UNAUTHORIZED,
            "Unauthorized: a session key is needed",
            {"hint": "send it as the header Authorization: Bearer <session key>; `herojobs session create` makes one"},
        )
    if session.role < method.role:
        needed, has = (Role(role).word for role in (method.role, session.role))
        message = f"Forbidden: {method.name} needs the role {needed}, this session has {has}"
        raise RpcError(Code.FORBIDDEN, message, {"got": has, "expected": needed})
    if "ref" in arguments and arguments["ref"] is not None:
        ref = arguments["ref"] = parsed(arguments["ref"])
        if not session.allows(Role.VIEWER, ref.queue.circle):
            raise JobNotFound(ref)
    for circle in _circles(arguments):
        if not session.allows(Role.VIEWER, circle):
            if method.name in ABSENT:
                raise Instead(ABSENT[method.name](arguments))
            raise RpcError(Code.FORBIDDEN, f"Forbidden: this session has no circle {circle!r}", {"got": circle})


def parsed(text: str) -> Ref:
    """Return the reference in a text.

    Raises:
        RpcError: it is none.
    """
    try:
        return Ref.parse(text)
    except InvalidReference as e:
        raise invalid_params([{"field": "ref", "got": text[:80], "expected": "circle/topic/id", "hint": str(e)}]) from e


def queue_of(text: str) -> Queue:
    """Return the queue that `circle/topic` names.

    Raises:
        RpcError: it names none.
    """
    circle, slash, topic = text.partition("/")
    if not slash or "/" in topic:
        raise invalid_params([{"field": "queues", "got": text[:80], "expected": "circle/topic"}])
    return Queue.of(circle, topic)


def _circles(arguments: dict[str, Any]) -> set[str]:
    """Return the circles that arguments name, as fixed names."""
    named = []
    if arguments.get("circle_id") is not None:
        named.append(arguments["circle_id"])
    if isinstance(jobs := arguments.get("jobs"), list):  # of a limit it is a number
        named += [job.circle_id for job in jobs]
    if (job := arguments.get("job")) is not None:
        named.append(job.circle_id or "default")
    found = {fixed_name(name, "circle_id") for name in named}
    found |= {queue_of(text).circle for text in arguments.get("queues", ())}
    for held in (*arguments.get("leases", ()), *arguments.get("results", ())):
        found.add(parsed(held.ref).queue.circle)
    return found
