"""The method that runs many jobs again."""

from __future__ import annotations

from datetime import UTC, datetime

from herojobs.jsonrpc import Example
from herojobs.jsonrpc.codes import Code
from herojobs.server.caller import Caller
from herojobs.server.methods.registry import method
from herojobs.server.shapes import CircleId, Millis, Topic
from herojobs.sessions import Role


@method(
    "job.retry_many",
    Role.OPERATOR,
    errors=(Code.UNAVAILABLE,),
    example=Example({"circle_id": "demo", "topic": "unused"}, []),
    changes=True,
)
async def retry_many(
    caller: Caller,
    circle_id: CircleId | None = None,
    topic: Topic | None = None,
    reason: str | None = None,
    params_type: str | None = None,
    tag: str | None = None,
    since: Millis | None = None,
    until: Millis | None = None,
) -> list[str]:
    """Queue all jobs again that ended in error and meet every condition given; return their names.

    Jobs that somebody ended (cancelled, removed) are left alone unless `reason` asks for them.

    Args:
        circle_id: their circle; all that the session has if not given
        topic: their topic
        reason: why they ended: failed, timeout, cancelled ...
        params_type: their kind
        tag: one of their tags
        since: submitted at or after this
        until: submitted before this
    """
    circles = [circle_id] if circle_id is not None or caller.circles is None else list(caller.circles)
    times = moment(since), moment(until)
    again = caller.backend.core.again
    return [
        str(ref)
        for circle in circles
        for ref in await again.retry_many(circle, topic, reason, params_type, tag, *times)
    ]


def moment(ms: int | None) -> datetime | None:
    """Return unix milliseconds as a time."""
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)
