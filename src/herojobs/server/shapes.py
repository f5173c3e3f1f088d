"""What callers send and get: the types of parameters and results, from which the OpenRPC document is made."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from herojobs.client.schedules import ShownSchedule
from herojobs.client.services import ShownService
from herojobs.client.sessions import ShownSession
from herojobs.job import DEFAULT_MAX_ATTEMPTS, After, Job
from herojobs.schedules import Schedule as KnownSchedule
from herojobs.sessions import Session as Known

RefText = Annotated[str, Meta(description="a job's name: circle/topic/id", examples=["demo/default/1"])]
QueueText = Annotated[str, Meta(description="a queue's name: circle/topic", examples=["demo/default"])]
CircleId = Annotated[str, Meta(description="a circle (tenant), spelled in any way")]
Topic = Annotated[str, Meta(description="a topic (queue) within the circle")]
Millis = Annotated[int, Meta(ge=0, le=253_402_300_799_000, description="unix milliseconds")]
Limit = Annotated[int, Meta(ge=1, le=1000)]
Lease = Annotated[float, Meta(ge=1, le=3600, description="seconds that the lease lasts")]


class NewJob(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A job that is to be submitted; the fields are those of `job.submit`."""

    params: str
    params_type: str = "heroscript"
    circle_id: str = "default"
    topic: str = "default"
    timeout: int = 0
    run_at: int = 0
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    priority: int = 0
    log: bool = False
    tags: list[str] = []
    parent: str = ""
    retries: int | None = None
    retry_delay: float | None = None
    retry_on: list[str] | None = None
    idempotency_key: str = ""
    unique_key: str = ""
    unique_until: str | int = ""
    expires_at: int = 0
    limit_key: str = ""
    after: list[After] = []


class JobPage(msgspec.Struct):
    """Jobs, the newest first, and the `cursor` that brings the next ones; null: there are no more."""

    jobs: list[Job]
    cursor: str | None


class PruneCounts(msgspec.Struct):
    """What was deleted: jobs, logs of other jobs; and databases compacted."""

    jobs: int
    logs: int
    compacted: int


class LogPart(msgspec.Struct):
    """A piece of a job's kept output, and the byte offset (`after`) at which the next one begins."""

    text: str
    next: int


class Queue(msgspec.Struct):
    """A queue and how many of its jobs are where; `oldest` is when its next job was submitted, unix ms, 0 = none."""

    circle_id: str
    topic: str
    waiting: int
    scheduled: int
    active: int
    paused: bool
    oldest: int


class Schedule(ShownSchedule):
    """A schedule; times are unix ms, 0 = none. `upcoming` are next ticks; `error` kept the one due from a job."""

    upcoming: list[int]


class Session(ShownSession):
    """What a session may do, and where; times are unix ms, `expires_ms` 0 = never. Never the key."""


class NewSession(Session):
    """A session and its new key, which is told this once."""

    key: str


class Service(ShownService):
    """A service that jobs of kind `openrpc` may call; `settings` are for admins; `document`: null if it has none."""


class Claimed(msgspec.Struct):
    """A job that was leased to the caller: `token` is the proof that `worker.extend` and `worker.finish` ask for."""

    ref: str
    token: str
    timeout: int
    job: Job


class Held(msgspec.Struct, forbid_unknown_fields=True):
    """A job that the caller has leased."""

    ref: RefText
    token: str


class Finished(msgspec.Struct, forbid_unknown_fields=True):
    """How a leased job ended: with a `result`, or with an `error`."""

    ref: RefText
    token: str
    result: str | None = None
    error: str | None = None


class Extended(msgspec.Struct):
    """Leases by their job's name: those that last on, those that somebody else has now, and those to be cancelled."""

    extended: list[str]
    lost: list[str]
    cancelled: list[str]


class Info(msgspec.Struct):
    """The server: its version, the numbers of jobs by status, and the state of what it needs."""

    version: str
    jobs: dict[str, int]
    queues: int
    redis: str
    store: str


class Health(msgspec.Struct):
    """Whether the server can take and run jobs; each of `checks` says `ok` or what is wrong."""

    ok: bool
    checks: dict[str, str]


def shown_job(job: Job) -> Job:
    """Return a job as callers see it: its session key masked."""
    return job.masked()


def shown_schedule(schedule: KnownSchedule, upcoming: int = 1) -> Schedule:
    """Return a schedule as callers see it: the session key of its job masked."""
    fields = schedule._asdict()
    del fields["id"], fields["taken_ms"]
    job = shown_job(fields.pop("job"))
    return Schedule(circle_id=fields.pop("circle"), job=job, upcoming=schedule.upcoming(upcoming), **fields)


def shown_session(session: Known) -> Session:
    """Return a session as callers see it."""
    return Session(
        session.id,
        session.name,
        list(session.circles),
        session.role.word,
        session.created_ms,
        session.expires_ms,
        session.revoked_ms,
        session.login,
    )


def with_key(session: Known, key: str) -> NewSession:
    """Return a session with the key that was made for it."""
    return NewSession(**msgspec.structs.asdict(shown_session(session)), key=key)
