"""The calls that move jobs: submit, claim, start, extend, finish, put back; and, from their own modules, all others.

Pure functions, no I/O: import any call from here. Each takes one queue's jobs, hundreds at once. `now` is unix
milliseconds, 0 for the server's own clock; tests pass it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from herojobs.job import now_ms
from herojobs.limits import Bound
from herojobs.live.admin import (
    Counts,
    Emptied,
    cancel,
    counts,
    delete,
    empty,
    look,
    publish_log,
    retry,
)
from herojobs.live.call import Call, JobKey, flags, job_key, job_keys, proven, sum_of
from herojobs.live.recovery import Requeue, Requeued, adopt, bury, requeue, restore
from herojobs.names import Queue

__all__ = [
    "Back", "Claim", "Claimed", "Counts", "Emptied", "Entry", "Existing", "Extended", "JobKey", "Requeue",
    "Requeued", "Started", "Submitted", "adopt", "bury", "cancel", "claim", "claim_expired", "counts",
    "delete", "empty", "expire_at", "extend", "finish", "job_key", "look", "progress", "publish_log",
    "put_back", "requeue", "restore", "retry", "start", "submit", "sum_of",
]  # fmt: skip


class Entry(NamedTuple):
    """A job to submit.

    Attributes:
        id: its OurDB id.
        job: its JSON.
        due_ms: unix milliseconds before which it doesn't run; 0 or past = at once.
        priority: 0 to 9, higher ones first.
        x: additive fields as JSON, for jobs that foreign programs may rewrite; may stay empty.
    """

    id: int
    job: bytes
    due_ms: int = 0
    priority: int = 0
    x: bytes = b""


class Existing(NamedTuple):
    """What stands already under the id of a submitted job."""

    id: int
    job: bytes
    sum: bytes


class Submitted(NamedTuple):
    """What became of a submission; every id in neither list was queued.

    Attributes:
        present: ids that were there with the very same JSON: repeated, or reconciliation was faster.
        existing: ids whose hash holds something else: a later state of the same job, or another job.
    """

    present: list[int]
    existing: list[Existing]


def submit(queue: Queue, entries: Sequence[tuple[int, bytes, int, int] | Entry], *, now: int = 0) -> Call[Submitted]:
    """Store and queue jobs. Repeating it is harmless.

    Args:
        queue: the queue of all of them.
        entries: `Entry` values, or plain tuples of (id, job JSON, due_ms, priority).
        now: see above.
    """
    by, words = now or now_ms(), 3
    args: list[str | bytes | int] = [now, words]
    for entry in entries:
        if entry[2] > by or entry[3] or entry[-1]:  # due later, a priority, or x
            words = 6
            break
        args += (entry[0], entry[1], sum_of(entry[1]))
    if words == 6:
        args = [now, words]
        for entry in entries:
            args += (*entry[:2], sum_of(entry[1]), entry[2], entry[3], entry[4] if len(entry) == 5 else b"")

    def parse(reply: Any) -> Submitted:
        if not reply:
            return Submitted([], [])
        by_id = {str(args[i]): str(args[i + 2]) for i in range(2, len(args), words)}
        answer = Submitted([], [])
        for key, job, total in reply:
            if total.decode() == by_id[key.decode()]:
                answer.present.append(int(key))
            else:
                answer.existing.append(Existing(int(key), job, total))
        return answer

    return Call("submit", queue, args, parse)


class Claimed(NamedTuple):
    """A job that was claimed.

    Attributes:
        id: its id as pushed, normally a decimal number.
        at: how often it was claimed, this time included.
        is_ours: whether ours wrote its JSON last; if not, the job must be adopted before it runs.
        db: its OurDB id, if that isn't `id`.
        cx: set if its cancel was requested.
        job: the JSON of one that isn't ours; None if the id has no hash: it is leased, but must be found elsewhere or
            buried. Of ours always None: OurDB has it.
    """

    id: bytes
    at: int
    is_ours: bool = True
    db: bytes | None = None
    cx: bytes | None = None
    job: bytes | None = None

    @property
    def number(self) -> int:
        """The id as a number, 0 if it isn't one from 1 to 4,294,967,295 in plain decimal."""
        if self.id.isdigit() and len(self.id) <= 10 and not self.id.startswith(b"0"):
            number = int(self.id)
            return number if number <= 0xFFFF_FFFF else 0
        return 0

    @property
    def db_id(self) -> int:
        """The number that OurDB knows the job by, 0 if none."""
        return int(self.db) if self.db else self.number


class Claim(NamedTuple):
    """The answer to `claim`.

    Attributes:
        now: the time it happened, unix milliseconds by Redis's clock.
        next_due: when the next scheduled job or lease end is due, unix milliseconds, 0 = none.
        waiting: ids that still wait.
        jobs: the claimed ones, in order.
        dropped: ids that were leased already or over.
    """

    now: int
    next_due: int
    waiting: int
    jobs: list[Claimed]
    dropped: list[bytes]


def claim(
    queue: Queue,
    n: int,
    lease_ms: int,
    token: str,
    bound: Bound | None = None,
    *,
    rescue_until: int = 0,
    now: int = 0,
) -> Call[Claim]:
    """Take up to `n` jobs and lease them; scheduled jobs that are due and jobs whose lease ran out go back first.

    Args:
        queue: the queue.
        n: most jobs to take, 0 to 7,000; 0 only puts back.
        lease_ms: milliseconds after which the jobs go back unless they are extended or finished.
        token: proof for what follows; never the same for two claims.
        bound: the queue's limit, if it has one.
        rescue_until: unix milliseconds after which leases that have ended are left alone, 0 = never.
        now: see above.
    """
    return Call("claim", queue, (now, n, lease_ms, proven(token), rescue_until, *(bound or ())), _claim)


def _claim(reply: Any) -> Claim:
    now, next_due, waiting, taken, dropped = reply
    jobs = [
        Claimed(id, more) if type(more) is int else Claimed(id, more[0], more[1] == 1, *more[2:])
        for id, more in zip(taken[::2], taken[1::2], strict=True)
    ]
    return Claim(now, next_due, waiting, jobs, dropped)


def claim_expired(queue: Queue, n: int, lease_ms: int, token: str, *, now: int = 0) -> Call[Claim]:
    """Take up to `n` jobs whose time to start is over, wherever they wait; arguments and answer as `claim`."""
    return Call("claim_expired", queue, (now, n, lease_ms, proven(token)), _claim)


def expire_at(queue: Queue, times: Iterable[tuple[int, int]], *, now: int = 0) -> Call[None]:
    """Note when waiting jobs expire. `times` are pairs of id and unix milliseconds."""
    args: list[str | bytes | int] = [now]
    for id, at_ms in times:
        args += (id, at_ms)
    return Call("expire_at", queue, args, lambda _: None)


class Started(NamedTuple):
    """The answer to `start`: ids whose token is no longer the right one, and ids that shall be cancelled."""

    lost: list[JobKey]
    cancelled: list[JobKey]


def start(queue: Queue, token: str, jobs: Iterable[tuple[JobKey, bytes]], *, now: int = 0) -> Call[Started]:
    """Write claimed jobs as active. `jobs` are pairs of id and JSON."""
    args: list[str | bytes | int] = [now, proven(token)]
    for key, job in jobs:
        args += (key, job, sum_of(job))
    return Call("start", queue, args, lambda reply: Started(job_keys(reply[0]), job_keys(reply[1])))


class Extended(NamedTuple):
    """The answer to `extend`.

    Attributes:
        lost: ids that another has taken over, or that are over.
        cancelled: ids that shall be cancelled; their lease was extended.
        missing: ids that Redis doesn't know: it was wiped. `restore` brings them back.
    """

    lost: list[JobKey]
    cancelled: list[JobKey]
    missing: list[JobKey]


def extend(queue: Queue, lease_ms: int, jobs: Iterable[tuple[JobKey, str]], *, now: int = 0) -> Call[Extended]:
    """Make leases last `lease_ms` from now. `jobs` are pairs of id and token.

    A lease that ran out is taken up again, unless somebody else has claimed the job meanwhile.
    """
    args: list[str | bytes | int] = [now, lease_ms]
    for key, token in jobs:
        args += (key, proven(token))
    return Call("extend", queue, args, lambda reply: Extended(*map(job_keys, reply)))


def finish(queue: Queue, jobs: Iterable[tuple[JobKey, str, bytes, str]], ttl: int, *, now: int = 0) -> Call[list[bool]]:
    """End claimed jobs, started or not.

    Args:
        queue: the queue.
        jobs: (id, token, JSON, status `done` or `error`) of each.
        ttl: seconds that they stay in Redis; 0 = for ever, -1 = not at all.
        now: see above.

    Returns:
        for each job whether it was accepted; if not, another has taken it over.
    """
    args: list[str | bytes | int] = [now, ttl]
    for key, token, job, status in jobs:
        args += (key, proven(token), job, sum_of(job), status)
    return Call("finish", queue, args, flags)


class Back(NamedTuple):
    """A claimed job to put back.

    Attributes:
        id: its id.
        token: the claim's.
        job: its JSON; empty leaves the job as it stands.
        delay_ms: milliseconds that it must wait first; 0 = it goes to the queue's head.
    """

    id: JobKey
    token: str
    job: bytes
    delay_ms: int = 0


def progress(queue: Queue, jobs: Iterable[tuple[JobKey, str, float, str]], *, now: int = 0) -> Call[list[bool]]:
    """Keep how far claimed jobs are, and tell who listens. `jobs` are tuples of id, token, percent and text.

    Returns:
        for each job whether its claim still holds; if not, nothing was kept.
    """
    args: list[str | bytes | int] = [now]
    for key, token, percent, text in jobs:
        args += (key, proven(token), msgspec.json.encode({"percent": round(percent, 2), "text": text}))
    return Call("progress", queue, args, flags)


def put_back(
    queue: Queue,
    jobs: Iterable[tuple[JobKey, str, bytes] | Back],
    *,
    count_attempt: bool,
    event: str = "put_back",
    now: int = 0,
) -> Call[list[bool]]:
    """Give claimed jobs back to the queue's head, one after another: pass the one that shall be first last.

    Args:
        queue: the queue.
        jobs: `Back` values, or plain tuples of (id, token, JSON).
        count_attempt: False takes the attempt back: the job was never started.
        event: what those who listen are told, `put_back` or `retrying`.
        now: see above.

    Returns:
        for each job whether it was accepted; if not, another has taken it over.
    """
    args: list[str | bytes | int] = [now, int(count_attempt), event]
    for each in jobs:
        job = each[2]
        args += (each[0], proven(each[1]), job, sum_of(job) if job else b"", each[3] if len(each) > 3 else 0)
    return Call("put_back", queue, args, flags)
