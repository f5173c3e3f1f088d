"""How a job ends: frozen values that get matched, and what each writes into the job.

A worker reports `Done` or `Failed`, or that the job was `Interrupted`; the WatchDog finds the others by what became
of the worker. `apply` is the one place where an ending turns into a job's fields.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from herojobs.job import Job, JobStatus, Reason


class Done(msgspec.Struct, frozen=True):
    """The content ran to its end."""

    result: str


class Failed(msgspec.Struct, frozen=True):
    """The content raised an error, or can't be run at all."""

    error: str
    result: str = ""
    detail: bytes = b""
    """JSON object for `Job.error_detail`; empty: none."""


class Refused(msgspec.Struct, frozen=True):
    """It wasn't begun, since its session key doesn't allow it; never retried."""

    error: str


class TimedOut(msgspec.Struct, frozen=True):
    """It ran over its timeout, in seconds, and was ended."""

    timeout: int
    forced: bool = False


class Cancelled(msgspec.Struct, frozen=True):
    """Someone cancelled it while it ran."""

    forced: bool = False


class Killed(msgspec.Struct, frozen=True):
    """Its worker died by a signal (0: by an exit), each of the times that it was started."""

    signal: int
    attempts: int


class OutOfMemory(msgspec.Struct, frozen=True):
    """It passed its worker's memory limit, or the kernel ended the worker for want of memory."""

    detail: str = ""


class Lost(msgspec.Struct, frozen=True):
    """The WatchDogs that ran it vanished, each of the times that it was started."""

    attempts: int


class Expired(msgspec.Struct, frozen=True):
    """It hadn't started by the time, in unix seconds, that it was given for that."""

    at: int


class ParentFailed(msgspec.Struct, frozen=True):
    """A job that it came after ended in error or was deleted: it never ran."""

    ref: str
    why: str
    cancel: bool


_DONE, _DONE_REASON = JobStatus.DONE.value, Reason.DONE.value  # `.value` takes its time, and this is said most

Outcome = Done | Failed | Refused | TimedOut | Cancelled | Killed | OutOfMemory | Lost | Expired | ParentFailed


def apply(job: Job, outcome: Outcome, now_ms: int) -> None:
    """Write an outcome and the time of the end, in unix milliseconds, into a job."""
    job.ended_ms = now_ms
    job.time_end = now_ms // 1000
    job.error_detail = {}
    if isinstance(outcome, Done):
        job.status, job.reason, job.result, job.error = _DONE, _DONE_REASON, outcome.result, ""
        return
    match outcome:
        case Failed(error, result, detail):
            job.reason, job.error, job.result = Reason.FAILED.value, error, result
            if detail:
                job.error_detail = msgspec.json.decode(detail)
        case Refused(error):
            job.reason, job.error = Reason.FAILED.value, error
        case TimedOut(timeout, forced):
            how = "; it didn't stop when asked, so its worker was killed" if forced else ""
            job.reason, job.error = Reason.TIMEOUT.value, f"timed out after {timeout} s{how}"
        case Cancelled(forced):
            how = "; it didn't stop when asked, so its worker was killed" if forced else ""
            job.reason, job.error = Reason.CANCELLED.value, f"cancelled while running{how}"
            job.cancelled_while = "killed" if forced else "running"
        case Killed(signal, attempts):
            died = f"was killed by signal {signal}" if signal else "died"
            job.reason, job.signal = Reason.KILLED.value, signal
            job.error = f"its worker {died} in each of {attempts} attempts"
        case OutOfMemory(detail):
            job.reason, job.error = Reason.OOM.value, "out of memory" + (f": {detail}" if detail else "")
        case Expired(at):
            when = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            job.reason, job.error = Reason.EXPIRED.value, f"expired: it hadn't started by {when}"
        case ParentFailed(ref, why, cancel):
            job.error = f"{ref}, which it waited for, {why}"
            job.reason = Reason.CANCELLED.value if cancel else Reason.FAILED.value
            job.cancelled_while = "waiting" if cancel else ""
        case Lost(attempts):
            job.reason, job.error = (
                Reason.LOST.value,
                f"lost: {attempts} attempts began and none reported its end",
            )
    job.status = JobStatus.ERROR.value
