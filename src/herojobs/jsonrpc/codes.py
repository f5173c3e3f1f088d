"""Error codes: the standard's five, HeroJobs' own, and those of calls that didn't get an answer."""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """What sort of error an answer holds. The standard keeps -32768 to -32000 for itself."""

    PARSE_ERROR = -32700
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    INTERNAL_ERROR = -32603

    JOB_NOT_FOUND = 1001
    JOB_CONFLICT = 1002  # the job's state doesn't allow it
    LIMIT_EXCEEDED = 1003  # `data.retry_after` says when to come again, in seconds
    UNAUTHORIZED = 1004  # no valid session key
    FORBIDDEN = 1005  # the session may not do this
    WAIT_TIMEOUT = 1006  # the job isn't over yet
    UNAVAILABLE = 1007  # Redis or the disk is in trouble; `data.retry_after`
    TOO_LARGE = 1008
    DUPLICATE = 1009  # `data.ref` is the job that is there already

    UNREACHABLE = 2001
    CALL_TIMEOUT = 2002
    BAD_ANSWER = 2003
    REFUSED_BY_GUARD = 2004


MESSAGES: dict[int, str] = {
    Code.PARSE_ERROR: "Parse error",
    Code.INVALID_REQUEST: "Invalid Request",
    Code.METHOD_NOT_FOUND: "Method not found",
    Code.INVALID_PARAMS: "Invalid params",
    Code.INTERNAL_ERROR: "Internal error",
    Code.JOB_NOT_FOUND: "Job not found",
    Code.JOB_CONFLICT: "The job's state doesn't allow it",
    Code.LIMIT_EXCEEDED: "Limit exceeded",
    Code.UNAUTHORIZED: "Unauthorized",
    Code.FORBIDDEN: "Forbidden",
    Code.WAIT_TIMEOUT: "The job isn't over yet",
    Code.UNAVAILABLE: "Unavailable for the moment",
    Code.TOO_LARGE: "Too large",
    Code.DUPLICATE: "There is such a job already",
    Code.UNREACHABLE: "The service can't be reached",
    Code.CALL_TIMEOUT: "The service didn't answer in time",
    Code.BAD_ANSWER: "The service's answer can't be read",
    Code.REFUSED_BY_GUARD: "The call was refused by our guard",
}
"""What each code means in general, as the OpenRPC document tells it."""
