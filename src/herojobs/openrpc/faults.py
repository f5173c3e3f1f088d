"""Calls that got no answer: why, and whether another attempt can do harm."""

from __future__ import annotations

from herojobs.errors import RpcError
from herojobs.jsonrpc.codes import Code


class Fault(RpcError):
    """A call that got no answer.

    Attributes:
        sent: whether the service may have got the request, so that it may have acted on it.
        again: whether another attempt may go better.
        retry_after: seconds that the service asks to wait before one, None if it doesn't say.
        status: what the transport had to say, for the job's log.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        data: object = None,
        *,
        sent: bool = True,
        again: bool = True,
        retry_after: float | None = None,
        status: str = "",
    ) -> None:
        super().__init__(code, message, data)
        self.sent = sent
        self.again = again
        self.retry_after = retry_after
        self.status = status


def unreachable(message: str, *, sent: bool = False, again: bool = True) -> Fault:
    """Return the fault of a service that can't be reached, or went away."""
    return Fault(Code.UNREACHABLE, f"Unreachable: {message}", sent=sent, again=again)


def timed_out(seconds: float, message: str = "", *, sent: bool = True) -> Fault:
    """Return the fault of an attempt that took too long."""
    return Fault(Code.CALL_TIMEOUT, f"No answer within {seconds:g} s{'; ' if message else ''}{message}", sent=sent)


def bad_answer(message: str, data: object = None, *, again: bool = False) -> Fault:
    """Return the fault of an answer that isn't one."""
    return Fault(Code.BAD_ANSWER, f"Bad answer: {message}", data, again=again)


def refused(rule: str, data: object = None) -> Fault:
    """Return the fault of a call that may not be made; the rule says why."""
    return Fault(Code.REFUSED_BY_GUARD, f"Refused: {rule}", data, sent=False, again=False)
