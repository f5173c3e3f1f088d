"""What a job is: its fields, their JSON, and what makes one valid.

The first fourteen fields are the original's, under its JSON names and in its order, and are always written; a
program that knows only these can read and write jobs (Redis layout, A2). The fields after them are ours and
are left out while they have their default.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from enum import StrEnum
from functools import cache
from typing import Any

import msgspec

from herojobs.errors import InvalidJob, ParamsTooLarge, UnknownKind
from herojobs.names import Queue, Ref

MAX_ID = 0xFFFF_FFFF
MAX_TIMEOUT = 30 * 24 * 3600
MAX_PRIORITY = 9
MAX_ATTEMPTS = 100
DEFAULT_MAX_ATTEMPTS = 3
MAX_RETRIES = 1000
MAX_KEY = 200
MAX_UNIQUE = 366 * 24 * 3600
UNIQUE_UNTIL = ("", "finished", "started")
MAX_RETRY_DELAY = 7 * 24 * 3600
DEFAULT_MAX_PARAMS = 4 * 1024 * 1024


class JobStatus(StrEnum):
    """The original's four statuses. Finer states are told by `Job.reason`, `attempts` and the times."""

    NEW = "new"
    ACTIVE = "active"
    DONE = "done"
    ERROR = "error"


class ParamsType(StrEnum):
    """The kinds of job that are built in; plug-ins may add others (entry points `herojobs.processors`)."""

    HEROSCRIPT = "heroscript"
    RHAISCRIPT = "rhaiscript"
    OPENRPC = "openrpc"
    AI = "ai"


BUILT_IN_KINDS = frozenset(kind.value for kind in ParamsType)
PROCESSORS_GROUP = "herojobs.processors"
"""Entry point group of plug-ins; the entry's name is the params_type."""


class Reason(StrEnum):
    """Why a job ended, in `Job.reason`; or, while it waits, why it waits."""

    DONE = "done"
    FAILED = "failed"  # its content raised an error
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    KILLED = "killed"  # its worker died by a signal, `max_attempts` times
    OOM = "oom"  # its worker passed its memory limit, or the kernel ended it for want of memory
    LOST = "lost"  # the WatchDogs that ran it vanished, `max_attempts` times
    REMOVED = "removed"  # taken out of its queue by `empty`
    EXPIRED = "expired"  # it hadn't started by its `expires_at`
    RETRYING = "retrying"  # not over: it failed, and waits for its next try


KEY_PREFIX = "hjs_"
"""What session keys of ours begin with."""
MASK = "***"
_PIECE = re.compile(r"[a-z0-9_]{16,}")
"""What may be a piece of a session key that is worth something."""
"""Stands for a secret where something is shown."""

_SESSION_KEY = re.compile(rb'("session_?key"\s*:\s*)"(?!")(?:[^"\\]|\\.)*"?', re.IGNORECASE)


def _new() -> str:
    return "new"


def _default_topic() -> str:
    return "default"


def _heroscript() -> str:
    return "heroscript"


_clock: Callable[[], int] | None = None


def now_ms() -> int:
    """Return the time as unix milliseconds."""
    return time.time_ns() // 1_000_000 if _clock is None else _clock()


def use_clock(clock: Callable[[], int] | None) -> None:
    """Have `now_ms` ask another clock, and Redis be told its time; None = the system's. For tests of one process."""
    global _clock
    _clock = clock


def is_clock_faked() -> bool:
    """Return whether another clock than the system's is in use."""
    return _clock is not None


ON_FAILURE = ("run", "cancel", "fail")
MAX_AFTER = 10_000


class After(msgspec.Struct, frozen=True, omit_defaults=True):
    """A job that another one comes after.

    Attributes:
        ref: its reference.
        on_failure: what becomes of the other one if this one ends in error or is deleted: `run` all the same, `cancel`
            (reason cancelled), or `fail` (reason failed).
    """

    ref: str
    on_failure: str = "cancel"


# Default factories other than list, dict and set make msgspec write a field even when it has its default.
class Job(msgspec.Struct, omit_defaults=True):
    """A job, as it is stored in OurDB and Redis.

    Attributes:
        job_id: its number within circle and topic, from 1; 0 = not submitted yet.
        session_key: who asked; a secret, never shown in listings or logs.
        circle_id: the tenant, as spelled by who submitted it.
        topic: the queue within the circle, likewise.
        params: the script, call or prompt.
        params_type: its kind; see `ParamsType`.
        timeout: seconds it may run; 0 = the setting `default_timeout`.
        status: `new`, `active`, `error` or `done`; see `JobStatus`.
        time_scheduled: unix seconds when it may run, at the earliest.
        time_start: unix seconds when it first started, 0 = not yet.
        time_end: unix seconds when it ended, 0 = not yet.
        error: what went wrong, empty if nothing.
        result: what it returned.
        log: whether its output is kept; it can be followed live in any case.
        attempts: how often it was started so far.
        max_attempts: how often it may be started when its worker or WatchDog dies.
        priority: 0 to 9; jobs of a higher one start first within their queue.
        reason: why it ended, or `retrying` while it waits for its next try; see `Reason`.
        signal: the number of the signal that ended its worker, 0 = none.
        created_ms: unix milliseconds of its submission.
        started_ms: unix milliseconds of its latest start.
        ended_ms: unix milliseconds of its end.
        parent: reference of the job that submitted this one.
        tags: free labels.
        key: its id in Redis, where a foreign producer chose another than `job_id`.
        alone: whether it is asynchronous but runs in an exclusive worker, since it has blocked an event loop.
        usage: what its run used of AI models: tokens, requests, cost (docs/ai.md).
        error_detail: what a program can read of the error, such as the code that a called service gave.
        schedule: the schedule and tick that made it, as name@unix-seconds.
        after: the jobs that must be over before it runs.
        cancelled_while: where a cancel found it: queued, scheduled, waiting (for other jobs), retrying
            (it waited for its next try), running (it
            stopped when asked) or killed (it didn't).
        retries: how many more times it is tried when its content fails; None = by the setting `retry`, normally 0.
        retry_delay: seconds before the first retry, doubled for each further one; None = by the setting `retry`.
        retry_on: what is retried: reasons (`failed`, `timeout`, `killed`, `oom`, `lost`) and texts that occur in the
            error, with `*` for anything; None = by the setting `retry`, normally failed and timeout.
        retried: how often it was tried again so far.
        idempotency_key: a further submission to its queue with this key gives this job, for a while.
        unique_key: likewise, as long as `unique_until` says.
        unique_until: `finished`, `started`, or seconds since its submission; empty = finished.
        limit_key: what it counts for where its topic limits keys (`Limit.key_jobs`), a customer say.
        expires_at: unix seconds; if it hasn't started by then it ends, with reason expired. 0 = never.
    """

    job_id: int = msgspec.field(default_factory=int, name="jobid")
    session_key: str = msgspec.field(default_factory=str, name="sessionkey")
    circle_id: str = msgspec.field(default_factory=str, name="circleid")
    topic: str = msgspec.field(default_factory=_default_topic)
    params: str = msgspec.field(default_factory=str)
    params_type: str = msgspec.field(default_factory=_heroscript)
    timeout: int = msgspec.field(default_factory=int)
    status: str = msgspec.field(default_factory=_new)
    time_scheduled: int = msgspec.field(default_factory=int)
    time_start: int = msgspec.field(default_factory=int)
    time_end: int = msgspec.field(default_factory=int)
    error: str = msgspec.field(default_factory=str)
    result: str = msgspec.field(default_factory=str)
    log: bool = msgspec.field(default_factory=bool)

    attempts: int = 0
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    priority: int = 0
    reason: str = ""
    signal: int = 0
    created_ms: int = 0
    started_ms: int = 0
    ended_ms: int = 0
    parent: str = ""
    tags: list[str] = []
    key: str = ""
    alone: bool = False
    error_detail: dict[str, Any] = {}
    usage: dict[str, Any] = {}
    schedule: str = ""
    after: list[After] = []
    cancelled_while: str = ""
    retries: int | None = None
    retry_delay: float | None = None
    retry_on: list[str] | None = None
    retried: int = 0
    idempotency_key: str = ""
    unique_key: str = ""
    unique_until: str | int = ""
    expires_at: int = 0
    limit_key: str = ""

    @property
    def queue(self) -> Queue:
        """The queue that the job belongs to, names fixed."""
        return Queue.of(self.circle_id, self.topic)

    @property
    def ref(self) -> Ref:
        """The job's name outside its queue, `circle/topic/id` as text."""
        return Ref(self.queue, self.job_id)

    @property
    def is_over(self) -> bool:
        """Whether the job has ended, well or not."""
        return self.status in ("done", "error")

    @property
    def most_attempts(self) -> int:
        """How often it may be started so far: `max_attempts`, and once more for each retry."""
        return self.max_attempts + self.retried

    def to_json(self) -> bytes:
        """Return the job as compact JSON."""
        return encode(self)

    def masked(self) -> Job:
        """Return the job as it may be shown: with `***` in the place of its session key, in its params too."""
        if not self.session_key:
            return self
        return msgspec.structs.replace(self, session_key=MASK, params=self.cleaned(self.params))

    def cleaned(self, text: str) -> str:
        """Return text that the job gave, with `***` wherever its own session key stands in it."""
        key = self.session_key
        # Other programs put anything there, a user's name say, which must not vanish from results.
        return text.replace(key, MASK) if key.startswith(KEY_PREFIX) and key in text else text

    def cleaned_error(self, text: str) -> str:
        """Return an error of the job as `cleaned`, without pieces of the key too: errors show cut lines of scripts."""
        text = self.cleaned(text)
        if not self.session_key.startswith(KEY_PREFIX):
            return text
        return _PIECE.sub(lambda found: MASK if found[0] in self.session_key else found[0], text)

    def __repr__(self) -> str:
        shown = self.masked()
        values = ((name, getattr(shown, name)) for name in self.__struct_fields__)
        return f"Job({', '.join(f'{name}={value!r}' for name, value in values)})"

    def explain_end(self) -> str:
        """Return the reason of the job's end as words, empty if it isn't over."""
        if self.reason == Reason.KILLED:
            return f"killed by signal {self.signal}" if self.signal else "its worker died"
        return _REASON_WORDS.get(self.reason, self.reason) if self.is_over else ""


_REASON_WORDS: dict[str, str] = {
    Reason.DONE: "done",
    Reason.FAILED: "failed",
    Reason.TIMEOUT: "timed out",
    Reason.CANCELLED: "cancelled",
    Reason.OOM: "out of memory",
    Reason.LOST: "lost by its WatchDogs",
    Reason.REMOVED: "removed from the queue",
    Reason.EXPIRED: "expired",
}

JSON_NAMES = {field.name: field.encode_name for field in msgspec.structs.fields(Job)}
"""JSON name of each field by its name in Python."""

encode: Callable[[Job], bytes] = msgspec.json.Encoder().encode
decode: Callable[[bytes | str], Job] = msgspec.json.Decoder(Job).decode
"""Read a job that ours wrote. Foreign JSON goes through `decode_foreign`."""


def decode_foreign(data: bytes) -> Job:
    """Return the job in JSON from a program that isn't ours, read as the original reads it.

    Names match in any case, null leaves a field's zero value, unknown fields are passed over, an empty topic,
    status and kind get the original's defaults (kind `openrpc`), and a negative timeout counts as 0. The older
    generation's `heroscript`, `rhaiscript` and `openrpc` members count as params (Redis layout, A2 and C6).

    Raises:
        InvalidJob: it isn't a JSON object, or a field has a type that the original refuses.
    """
    try:
        raw = msgspec.json.decode(data)
    except msgspec.DecodeError as e:
        raise InvalidJob("job", _begin(data), f"unreadable JSON ({e})") from None
    if not isinstance(raw, dict):
        raise InvalidJob("job", raw, "not a JSON object")
    known = {name.lower(): name for name in Job.__struct_encode_fields__}
    fields: dict[str, Any] = {}
    for name, value in raw.items():
        field = known.get(name.lower())
        if field is not None and value is not None:
            fields[field] = value
    if not fields.get("params"):
        lower = {name.lower(): value for name, value in raw.items()}
        for kind in ("heroscript", "rhaiscript", "openrpc"):
            if isinstance(lower.get(kind), str) and lower[kind]:
                fields |= {"params": lower[kind], "params_type": kind}
                break
    if isinstance(fields.get("jobid"), str):  # the older generation's ids are UUIDs
        del fields["jobid"]
    try:
        job = msgspec.convert(fields, Job)
    except msgspec.ValidationError as e:
        raise InvalidJob("job", _begin(data), str(e)) from None
    if not 0 <= job.job_id <= MAX_ID:
        raise InvalidJob("jobid", job.job_id, "out of range", f"0 to {MAX_ID}")
    job.topic = job.topic or "default"
    job.status = job.status or "new"
    job.params_type = fields.get("params_type") or ParamsType.OPENRPC.value
    job.timeout = max(0, job.timeout)
    return job


def unwritable(error: UnicodeEncodeError, job: Job) -> InvalidJob:
    """Return what to raise for a text in a job that can't be encoded; it names the field."""
    text = error.object
    values = ((name, getattr(job, name)) for name in job.__struct_fields__)
    field = next(
        (name for name, value in values if value == text or (isinstance(value, list) and text in value)), "job"
    )
    around = text[max(0, error.start - 10) : error.end + 10]
    return InvalidJob(field, around, "it has half of a surrogate pair, which UTF-8 can't hold")


def masked_json(data: bytes) -> bytes:
    """Return JSON of a job, which may be broken or of another program, with session keys masked."""
    return _SESSION_KEY.sub(rb'\1"***"', data)


def _begin(data: bytes) -> str:
    return masked_json(data)[:60].decode("utf-8", "replace")


@cache
def known_kinds() -> frozenset[str]:
    """Return the params_types that a job may have: the built-in ones and those of installed plug-ins."""
    from importlib.metadata import entry_points  # here: slow to import, and only unknown kinds ask

    return frozenset(BUILT_IN_KINDS) | {point.name for point in entry_points(group=PROCESSORS_GROUP)}


def validate(job: Job, *, max_params: int = DEFAULT_MAX_PARAMS) -> Queue:
    """Check a job that is about to be submitted, and return its queue.

    Args:
        job: the job; nothing in it is changed.
        max_params: longest params, in bytes of UTF-8.

    Raises:
        InvalidName: circle or topic can't be a name.
        UnknownKind: no processor runs the params_type.
        ParamsTooLarge: params are over `max_params`.
        InvalidJob: another field is wrong; the error names it.
    """
    _check_types(job)
    queue = Queue.of(job.circle_id, job.topic)
    if job.params_type not in BUILT_IN_KINDS and job.params_type not in known_kinds():
        raise UnknownKind(job.params_type, known_kinds())
    if not job.params or job.params.isspace():
        raise InvalidJob("params", job.params, "empty", "the script, call or prompt that the job runs")
    if len(job.params) * 4 > max_params and (size := len(job.params.encode("utf-8", "replace"))) > max_params:
        raise ParamsTooLarge("params", job.params[:20] + "...", f"{size:,} bytes", f"at most {max_params:,}")
    if not 0 <= job.timeout <= MAX_TIMEOUT:
        raise InvalidJob("timeout", job.timeout, "out of range", f"0 (the default) to {MAX_TIMEOUT} seconds")
    if not 0 <= job.priority <= MAX_PRIORITY:
        raise InvalidJob("priority", job.priority, "out of range", f"0 to {MAX_PRIORITY}, 9 runs first")
    if not 1 <= job.max_attempts <= MAX_ATTEMPTS:
        raise InvalidJob("max_attempts", job.max_attempts, "out of range", f"1 to {MAX_ATTEMPTS}")
    if job.time_scheduled < 0:
        raise InvalidJob("time_scheduled", job.time_scheduled, "negative", "unix seconds")
    if job.retries is not None or job.retry_delay is not None or job.retry_on is not None:
        _check_retries(job)
    if job.idempotency_key or job.unique_key or job.unique_until or job.limit_key:
        _check_keys(job)
    if job.expires_at:
        _check_expiry(job)
    if job.after:
        _check_after(job, queue)
    return queue


def _check_after(job: Job, queue: Queue) -> None:
    if len(job.after) > MAX_AFTER:
        raise InvalidJob("after", f"{len(job.after)} jobs", "too many", f"at most {MAX_AFTER:,}")
    for each in job.after:
        if each.on_failure not in ON_FAILURE:
            raise InvalidJob("on_failure", each.on_failure, "no such way", "run, cancel or fail")
        ref = Ref.parse(each.ref)
        if ref.queue.circle != queue.circle:
            raise InvalidJob(
                "after", each.ref, f"it belongs to another circle than {queue.circle}", "jobs of the circle"
            )


NEVER_RETRIED = frozenset({Reason.DONE, Reason.CANCELLED, Reason.REMOVED, Reason.EXPIRED, Reason.RETRYING})


def _check_retries(job: Job) -> None:
    if not 0 <= (job.retries or 0) <= MAX_RETRIES:
        raise InvalidJob("retries", job.retries, "out of range", f"0 to {MAX_RETRIES}")
    if not 0 <= (job.retry_delay or 0) <= MAX_RETRY_DELAY:
        raise InvalidJob("retry_delay", job.retry_delay, "out of range", f"0 to {MAX_RETRY_DELAY} seconds")
    for each in job.retry_on or ():
        if not each.strip("* "):
            raise InvalidJob("retry_on", each, "it meets every error", "failed, or a text that occurs in the error")
        if each in NEVER_RETRIED:
            raise InvalidJob("retry_on", each, "such jobs aren't retried", "failed, timeout, killed, oom or lost")


def _check_keys(job: Job) -> None:
    for name in ("idempotency_key", "unique_key", "limit_key"):
        if len(getattr(job, name)) > MAX_KEY:
            raise InvalidJob(name, getattr(job, name), "too long", f"at most {MAX_KEY} characters")
    until = job.unique_until
    if until and not job.unique_key:
        raise InvalidJob("unique_until", until, "there is no unique_key")
    fits = 0 < until <= MAX_UNIQUE if isinstance(until, int) else until in UNIQUE_UNTIL
    if not fits:
        raise InvalidJob("unique_until", until, "no such time", f"finished, started, or seconds up to {MAX_UNIQUE}")


def _check_expiry(job: Job) -> None:
    if job.expires_at <= now_ms() // 1000:
        raise InvalidJob("expires_at", job.expires_at, "it is past", "unix seconds in the future, or 0 for never")
    if job.expires_at <= job.time_scheduled:
        raise InvalidJob("expires_at", job.expires_at, f"it may not start before {job.time_scheduled}", "a later time")


def _check_types(job: Job) -> None:
    try:
        read = decode(encode(job))
        if read != job:  # bytes and dates would become texts of another content
            for name in job.__struct_fields__:
                given = getattr(job, name)
                if isinstance(getattr(read, name), str) and not isinstance(given, str):
                    raise InvalidJob(name, given, f"Expected `str`, got `{type(given).__name__}`")
    except msgspec.ValidationError as e:
        problem, _, path = str(e).partition(" - at `$.")
        field = path.rstrip("`") or "job"
        name = next((name for name, json in JSON_NAMES.items() if json == field), field)
        raise InvalidJob(name, getattr(job, name, ""), problem) from None
    except UnicodeEncodeError as e:
        raise unwritable(e, job) from None
    except (TypeError, OverflowError) as e:
        raise InvalidJob(
            "job", str(job.params)[:40].encode("utf-8", "replace").decode(), f"can't be written as JSON: {e}"
        ) from None
