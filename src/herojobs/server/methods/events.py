"""The methods of event subscriptions, over a WebSocket."""

from __future__ import annotations

from typing import Any

from herojobs.jsonrpc import Example, RpcError
from herojobs.jsonrpc.codes import Code
from herojobs.names import Ref, fixed_name
from herojobs.server.caller import Caller, Stream
from herojobs.server.methods.registry import method
from herojobs.server.shapes import CircleId, RefText, Topic
from herojobs.sessions import Role


@method("event.subscribe", Role.VIEWER, errors=(Code.INVALID_REQUEST, Code.LIMIT_EXCEEDED),
        example=Example({"circle_id": "demo"}, "1"))  # fmt: skip
def subscribe(
    caller: Caller, circle_id: CircleId | None = None, topic: Topic | None = None, ref: RefText | None = None
) -> str:
    """Have the server send notifications `event.job` over this WebSocket; return the subscription's id.

    Their parameters: `subscription`, `ref`, `event` (submitted, started, put_back, done, error ...), `at` (unix ms),
    `status` if the job is over. `event.missed` tells how many were dropped since the client reads too slowly.

    Args:
        circle_id: of one circle; of all that the session has if not given
        topic: of one topic
        ref: of one job
    """
    job: Any = ref
    circle = None if circle_id is None else fixed_name(circle_id, "circle_id")
    wanted_topic = None if topic is None else fixed_name(topic, "topic")
    number = None
    if isinstance(job, Ref):
        (circle, wanted_topic), number = job
    circles = None if caller.circles is None else frozenset(caller.circles)
    return _stream(caller).subscribe(circle, wanted_topic, number, circles)


@method("event.unsubscribe", Role.VIEWER, errors=(Code.INVALID_REQUEST,), example=Example({"id": "1"}, True))
def unsubscribe(caller: Caller, id: str) -> bool:
    """End a subscription; return whether there was one.

    Args:
        id: what `event.subscribe` returned
    """
    return _stream(caller).unsubscribe(id)


def _stream(caller: Caller) -> Stream:
    if caller.stream is None:
        hint = "open a WebSocket at /rpc and call it there"
        raise RpcError(Code.INVALID_REQUEST, "Invalid Request: events come over a WebSocket", {"hint": hint})
    return caller.stream
