"""What a server's errors mean to a remote client: the same exceptions that the local one raises."""

from __future__ import annotations

from typing import Any, TypeVar

from herojobs import errors
from herojobs.errors import (
    Forbidden,
    HeroJobsError,
    InvalidJob,
    InvalidReference,
    InvalidSession,
    JobConflict,
    JobExists,
    JobNotFound,
    LimitExceeded,
    ParamsTooLarge,
    RedisUnavailable,
    RemoteError,
    RpcError,
    ScheduleConflict,
    ScheduleNotFound,
    ServiceNotFound,
    SessionNotFound,
    SubmissionUnconfirmed,
    Unauthorized,
    WaitTimeout,
)
from herojobs.jsonrpc.codes import Code

E = TypeVar("E", bound=HeroJobsError)


def error_of(error: RpcError, address: str) -> HeroJobsError:
    """Return the exception for an error that a server answered."""
    data = error.data if isinstance(error.data, dict) else {}
    text = error.message.removeprefix("Invalid params: ")
    match error.code:
        case Code.JOB_NOT_FOUND if data.get("type") == "ScheduleNotFound":
            return made(ScheduleNotFound, text)
        case Code.JOB_NOT_FOUND if data.get("type") == "SessionNotFound":
            return made(SessionNotFound, text)
        case Code.INVALID_PARAMS if data.get("type") == "ServiceNotFound":
            return made(ServiceNotFound, text, name=str(data.get("got", "")), hint=str(data.get("hint", "")))
        case Code.UNREACHABLE:
            return error
        case Code.JOB_CONFLICT if data.get("type") == "ScheduleConflict":
            return ScheduleConflict(text)
        case Code.JOB_NOT_FOUND:
            return made(JobNotFound, text, ref=str(data.get("ref", "")))
        case Code.DUPLICATE:
            return made(JobExists, text, ref=str(data.get("ref", "")))
        case Code.JOB_CONFLICT:
            return JobConflict(text)
        case Code.WAIT_TIMEOUT:
            return WaitTimeout(text)
        case Code.LIMIT_EXCEEDED:
            return LimitExceeded(text, _number(data.get("retry_after")))
        case Code.UNAUTHORIZED:
            return Unauthorized(f"the server at {address}: {text}")
        case Code.FORBIDDEN:
            return Forbidden(f"the server at {address}: {text}")
        case Code.UNAVAILABLE if isinstance(data.get("refs"), list):
            return made(SubmissionUnconfirmed, text, refs=[str(ref) for ref in data["refs"]])
        case Code.UNAVAILABLE:
            return RedisUnavailable(f"the server at {address}: {text}")
        case Code.TOO_LARGE:
            return made(ParamsTooLarge, text, field=str(data.get("field", "params")), got="")
        case Code.INVALID_PARAMS:
            return _invalid(text, data)
        case Code.METHOD_NOT_FOUND:
            return RemoteError(f"the server at {address} can't do this; it may be older than this client")
        case Code.INTERNAL_ERROR:
            return RemoteError(f"the server at {address} had an internal error; its log has it as {data.get('id')}")
    return RemoteError(f"the server at {address}: {error.code} {text}")


def of_status(status: int, address: str, ref: object = None) -> HeroJobsError:
    """Return the exception for an HTTP status of a reply that holds no JSON."""
    match status:
        case 401:
            return Unauthorized(f"the server at {address} wants a session key, or this one isn't valid any more")
        case 403:
            return Forbidden(f"the server at {address} refuses this")
        case 404 if ref is not None:
            return JobNotFound(ref)
        case 413:
            return made(
                ParamsTooLarge, f"the server at {address} takes no message of that size", field="params", got=""
            )
        case 429:
            return LimitExceeded(f"the server at {address} wants fewer calls")
        case 502 | 503 | 504:
            return errors.ServerUnreachable(f"the server at {address} is away for the moment (HTTP {status})", True)
    return RemoteError(f"HTTP {status} at {address}: is a HeroJobs server there?")


def made(kind: type[E], text: str, **attributes: Any) -> E:
    """Return an exception with a text and attributes that were made elsewhere."""
    error = kind.__new__(kind)
    Exception.__init__(error, text)
    error.__dict__.update(attributes)
    return error


def _invalid(text: str, data: dict[str, Any]) -> HeroJobsError:
    kind = getattr(errors, str(data.get("type")), InvalidJob)
    text = str(data["hint"]) if "type" in data and "hint" in data else text
    if kind is InvalidReference or (data.get("field") == "ref" and kind is InvalidJob):
        return made(InvalidReference, text)
    if not (isinstance(kind, type) and issubclass(kind, InvalidJob | InvalidSession)):
        kind = InvalidJob
    return made(kind, text, field=str(data.get("field", "")), got=data.get("got"))


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and 0 <= value < 3600 else 1.0
