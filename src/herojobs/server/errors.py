"""What methods raise, as JSON-RPC errors: code, a sentence, and `data` for programs."""

from __future__ import annotations

from herojobs.errors import (
    EmbeddedRedisError,
    Forbidden,
    HeroJobsError,
    InvalidJob,
    InvalidReference,
    InvalidSession,
    JobConflict,
    JobExists,
    JobNotFound,
    ParamsTooLarge,
    RedisUnavailable,
    RpcError,
    ScheduleConflict,
    ScheduleNotFound,
    ServiceNotFound,
    SessionError,
    SessionNotFound,
    SubmissionUnconfirmed,
    Unauthorized,
    WaitTimeout,
)
from herojobs.jsonrpc.codes import Code
from herojobs.jsonrpc.messages import shown
from herojobs.ourdb import OurDBError

RETRY_AFTER = 1
"""Seconds after which it is worth to come again when Redis or the disk is in trouble."""


def translate(error: Exception) -> RpcError | None:
    """Return the JSON-RPC error for what a method raised, None for what nobody expects."""
    match error:
        case JobNotFound():
            return RpcError(Code.JOB_NOT_FOUND, str(error), {"ref": error.ref})
        case ScheduleNotFound():
            return RpcError(Code.JOB_NOT_FOUND, str(error), {"type": "ScheduleNotFound"})
        case SessionNotFound():
            return RpcError(Code.JOB_NOT_FOUND, str(error), {"type": "SessionNotFound"})
        case ServiceNotFound():
            fault = {"field": "name", "got": error.name, "expected": "a service", "hint": error.hint}
            fault["type"] = "ServiceNotFound"
            return RpcError(Code.INVALID_PARAMS, f"Invalid params: {error}", {**fault, "faults": [fault]})
        case ScheduleConflict():
            return RpcError(Code.JOB_CONFLICT, str(error), {"type": "ScheduleConflict"})
        case JobExists():
            return RpcError(Code.DUPLICATE, str(error), {"ref": error.ref})
        case JobConflict():
            return RpcError(Code.JOB_CONFLICT, str(error), {"hint": "look at the job again"})
        case WaitTimeout():
            return RpcError(Code.WAIT_TIMEOUT, str(error), {"hint": "call job.wait again"})
        case Unauthorized():
            return RpcError(Code.UNAUTHORIZED, f"Unauthorized: {error}")
        case Forbidden():
            return RpcError(Code.FORBIDDEN, f"Forbidden: {error}")
        case ParamsTooLarge():
            return RpcError(Code.TOO_LARGE, str(error), {"field": error.field, "type": type(error).__name__})
        case InvalidJob() | InvalidSession():
            fault = {"field": error.field, "got": _shown(error.got), "hint": str(error), "type": type(error).__name__}
            return RpcError(Code.INVALID_PARAMS, f"Invalid params: {error}", {**fault, "faults": [fault]})
        case InvalidReference():
            fault = {"field": "ref", "expected": "circle/topic/id", "hint": str(error), "type": "InvalidReference"}
            return RpcError(Code.INVALID_PARAMS, f"Invalid params: {error}", {**fault, "faults": [fault]})
        case SubmissionUnconfirmed():
            told = {"refs": error.refs, "ref": error.refs[0], "hint": "don't submit again: it will run"}
            return RpcError(Code.UNAVAILABLE, str(error), told)
        case RedisUnavailable() | EmbeddedRedisError() | OurDBError() | SessionError() | OSError():
            return RpcError(Code.UNAVAILABLE, str(error), {"retry_after": RETRY_AFTER})
        case HeroJobsError():
            return RpcError(Code.INVALID_PARAMS, f"Invalid params: {error}", {"hint": str(error)})
    return None


def _shown(value: object) -> str:
    try:
        return shown(value)
    except (TypeError, UnicodeEncodeError):
        return repr(value)[:60]
