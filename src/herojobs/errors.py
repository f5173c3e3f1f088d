"""Every error that HeroJobs raises for a caller to catch.

    HeroJobsError
    ├── InvalidJob                 a field of a job is wrong: nothing was written
    │   ├── InvalidName            circle or topic can't be a name
    │   ├── UnknownKind            no processor runs this params_type
    │   ├── ParamsTooLarge
    │   ├── InvalidSchedule        a schedule's name, times or time zone are wrong
    │   └── InvalidLimit           a limit's name or values are wrong
    ├── InvalidReference           not of the form circle/topic/id
    ├── JobNotFound                no job has this reference
    ├── JobConflict                the job's state doesn't allow what was asked
    │   └── JobExists              another job has its key
    ├── ScheduleNotFound           no schedule has this name
    ├── ServiceNotFound            no service has this name, or none that the circles may call
    ├── ScheduleConflict           the name is taken, or several circles have it
    ├── WaitTimeout                the job isn't over yet (also a TimeoutError)
    ├── RedisUnavailable           Redis can't be reached: nothing was written
    │   └── SubmissionUnconfirmed  stored, but Redis didn't confirm: it will run, don't submit it again
    ├── EmbeddedRedisError         the embedded server can't be started
    ├── AccessDenied               who asks may not do this
    │   ├── Unauthorized           no session key, or none that is valid
    │   └── Forbidden              the session doesn't allow it
    ├── SessionError               the sessions can't be read or changed
    │   ├── SessionNotFound        no session has this name or id
    │   └── InvalidSession         what a session was to be made with is wrong
    ├── SettingsError              a setting has a wrong value
    ├── RemoteError                a server didn't do what a remote client asked
    │   ├── ServerUnreachable      it can't be reached, or the connection broke before it answered
    │   ├── LimitExceeded          too many calls; come again later
    │   └── LocalOnly              works in the home itself only, not over a server
    ├── RpcError                   a JSON-RPC call was answered by an error
    ├── CheckpointRefused          a job's checkpoint is too large, or a later attempt has one
    └── WorkerError                a worker can't be started

Two packages that know nothing of jobs have trees of their own: `herojobs.ourdb.OurDBError` and
`herojobs.heroscript.HeroScriptError`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_NAMES = 12
"""Names that an error lists of those that would be right."""


class HeroJobsError(Exception):
    """Base of all errors below."""


class InvalidJob(HeroJobsError):
    """A field of a job is wrong.

    Attributes:
        field: the field's name, as in the job's JSON or the call.
        got: the value, shortened.
    """

    def __init__(self, field: str, got: object, problem: str, right: str = "") -> None:
        self.field = field
        self.got = got = "***" if field in ("session_key", "sessionkey") else got
        shown = repr(got)
        if len(shown) > 80:
            shown = shown[:77] + "..."
        hint = f"; {right}" if right.startswith("did you") else f"; use {right}" if right else ""
        super().__init__(f"{field} {shown}: {problem}{hint}")

    def place(self, place: int) -> None:
        """Say which of the jobs of one call it is, counted from 0."""
        self.args = (f"jobs[{place}]: {self}",)


class InvalidName(InvalidJob):
    """A circle or topic whose name nothing is left of, or that names a folder outside."""


class UnknownKind(InvalidJob):
    """A params_type that no processor runs."""

    def __init__(self, kind: str, known: Iterable[str]) -> None:
        names = sorted(known)
        super().__init__("params_type", kind, "no such kind of job", did_you_mean(kind, names))


class ParamsTooLarge(InvalidJob):
    """Params over the limit (setting `max_params`)."""


class InvalidSchedule(InvalidJob):
    """A schedule's name, times or time zone are wrong."""


class InvalidLimit(InvalidJob, ValueError):
    """A limit's name or values are wrong."""


class InvalidReference(HeroJobsError):
    """A reference that isn't of the form `circle/topic/id`."""

    def __init__(self, text: str, problem: str) -> None:
        super().__init__(f"{text[:80]!r} is no job reference: {problem}; write circle/topic/id, like reports/daily/12")


class JobNotFound(HeroJobsError):
    """No job has this reference."""

    def __init__(self, ref: object) -> None:
        self.ref = str(ref)
        super().__init__(f"there is no job {ref}")


class JobConflict(HeroJobsError):
    """The job's state doesn't allow what was asked."""


class ScheduleNotFound(HeroJobsError):
    """No schedule has this name."""

    def __init__(self, name: str, circle: str | None, known: Iterable[str]) -> None:
        where = f" in circle {circle}" if circle else ""
        hint = did_you_mean(name, known)
        super().__init__(f"there is no schedule {name!r}{where}" + (f"; {hint}" if hint else ""))


class ServiceNotFound(HeroJobsError):
    """No service has this name, or none that the session's circles may call.

    Attributes:
        name: the name.
        hint: the nearest one, or all that there are.
    """

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name[:80]
        self.hint = did_you_mean(name, known)
        super().__init__(f"there is no service {self.name!r}" + (f"; {self.hint}" if self.hint else ""))


class ScheduleConflict(HeroJobsError):
    """A schedule of this name exists already, or in several circles."""


class JobExists(JobConflict):
    """Another job has the key of one that was to be submitted or retried.

    Attributes:
        ref: that job's reference.
    """

    def __init__(self, ref: object) -> None:
        self.ref = str(ref)
        super().__init__(f"{ref} has this key already")


class WaitTimeout(HeroJobsError, TimeoutError):
    """The job wasn't over within the time given to `wait`."""


class RedisUnavailable(HeroJobsError):
    """Redis can't be reached, or refuses. Nothing was written."""


class SubmissionUnconfirmed(RedisUnavailable):
    """The jobs are stored, but Redis didn't confirm them: they will run once it is back.

    Submitting them again would make them run twice.

    Attributes:
        refs: the references of the stored jobs.
    """

    def __init__(self, refs: list[str], cause: object) -> None:
        self.refs = refs
        shown = ", ".join(refs[:3]) + (f" and {len(refs) - 3} more" if len(refs) > 3 else "")
        super().__init__(f"stored as {shown}, but Redis didn't confirm ({cause}); don't submit again: it will run")


class EmbeddedRedisError(HeroJobsError):
    """The embedded Redis server can't be started or doesn't answer."""


class AccessDenied(HeroJobsError):
    """Who asks may not do this."""


class Unauthorized(AccessDenied):
    """No session key was given, or one that isn't valid: unknown, expired or revoked."""


class Forbidden(AccessDenied):
    """The session doesn't allow it: its role is too low, or the circle isn't one of its own."""


class SessionError(HeroJobsError):
    """The sessions of a home can't be read or changed."""


class SessionNotFound(SessionError):
    """No session that holds has this name or id."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        hint = did_you_mean(name, known)
        super().__init__(f"there is no session {name[:80]!r}" + (f"; {hint}" if hint else ""))


class InvalidSession(SessionError):
    """What a session was to be made with is wrong: its name, circles, role or time to live.

    Attributes:
        field: which of them.
        got: the value.
    """

    def __init__(self, field: str, got: object, problem: str) -> None:
        self.field = field
        self.got = got
        super().__init__(f"{field} {got!r}: {problem}")


class SettingsError(HeroJobsError):
    """A setting has a wrong name or value."""


class RemoteError(HeroJobsError):
    """A server didn't do what a remote client asked, for a reason that isn't the job's."""


class ServerUnreachable(RemoteError):
    """A server can't be reached, or the connection broke before it answered.

    Attributes:
        sent: whether the call may have arrived, so that what it asked for may have been done.
    """

    def __init__(self, message: str, sent: bool = False) -> None:
        self.sent = sent
        super().__init__(message)


class LimitExceeded(RemoteError):
    """The server wants fewer calls.

    Attributes:
        retry_after: seconds after which to come again.
    """

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class LocalOnly(RemoteError):
    """This works in the home itself only, not over a server."""


class RpcError(HeroJobsError):
    """An error in a JSON-RPC answer: what a method raises to give it, and what a caller gets.

    Attributes:
        code: what sort of error; the standard's and our own stand in `herojobs.jsonrpc.codes`.
        message: one sentence for people.
        data: more for programs, an object where we are the ones who answer; None if there is nothing more.
    """

    def __init__(self, code: int, message: str, data: object = None) -> None:
        self.code = code
        self.message = message
        self.data = data
        super().__init__(f"{code} {message}")


class CheckpointRefused(HeroJobsError):
    """A job's checkpoint is too large or no JSON, or a later attempt at the job has saved one."""


class WorkerError(HeroJobsError):
    """A worker process can't be started, for example because a module of actors doesn't import."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question naming the nearest known name, or the list of what is known, to end an error with."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    if not names:
        return ""
    shown = names if len(names) <= MOST_NAMES else [*names[:MOST_NAMES], f"... ({len(names)} in all)"]
    return "one of " + ", ".join(shown)
