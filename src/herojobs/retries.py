"""Retries: whether a job whose content failed is tried again, and when.

A job says it itself (`Job.retries`, `retry_delay`, `retry_on`); what it leaves open is decided by the policy of its
topic, its circle, or `*`, in the setting `retry`. Pure functions, no I/O.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from herojobs.job import MAX_RETRIES, MAX_RETRY_DELAY, Job, JobStatus, Reason
from herojobs.names import Queue, queue_name_fix

JITTER = 0.25
"""Most that chance adds to a pause, as a part of it, so that jobs that failed together don't come back together."""


class RetryPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How jobs are retried that don't say it themselves; one table of the setting `retry`."""

    retries: Annotated[int, Meta(ge=0, le=MAX_RETRIES)] = 0
    """How many more times a failing job is tried."""

    delay: Annotated[float, Meta(ge=0, le=MAX_RETRY_DELAY)] = 10.0
    """Seconds before the first retry; each further pause is twice as long."""

    on: tuple[str, ...] = (Reason.FAILED.value, Reason.TIMEOUT.value)
    """What is retried: reasons (failed, timeout, killed, oom, lost), or texts that occur in the error, where
    `*` stands for anything."""


NO_POLICY = RetryPolicy()


def policy_of(queue: Queue, policies: Mapping[str, RetryPolicy]) -> RetryPolicy:
    """Return the policy of a queue: that of `circle/topic`, else of `circle`, else of `*`, else none."""
    if not policies:
        return NO_POLICY
    fixed = {"/".join(map(queue_name_fix, name.split("/"))) or name: policy for name, policy in policies.items()}
    return fixed.get(str(queue)) or fixed.get(queue.circle) or fixed.get("*") or NO_POLICY


def pause_before_retry(job: Job, policy: RetryPolicy, longest: float) -> float | None:
    """Return how many seconds a job that has just ended waits for its next try, None if there is none.

    Args:
        job: the job, with the reason and error of its end.
        policy: that of its queue.
        longest: the longest pause, in seconds, before chance adds to it.
    """
    if job.status != JobStatus.ERROR or job.retried >= (policy.retries if job.retries is None else job.retries):
        return None
    if not any(matches(each, job) for each in (policy.on if job.retry_on is None else job.retry_on)):
        return None
    base = policy.delay if job.retry_delay is None else job.retry_delay
    return float(min(base * 2.0 ** min(job.retried, 64), longest) * (1 + random.random() * JITTER))  # noqa: S311


def matches(what: str, job: Job) -> bool:
    """Return whether an entry of `retry_on` meets a job's end.

    An entry that is a reason (`failed`, `timeout`, `killed`, `oom`, `lost`) meets just that; any other occurs in the
    error, where `*` stands for anything: `HTTP 5*unavailable`. No regular expressions, since a bad one could hold the
    WatchDog up for ever.
    """
    if what in _REASONS:
        return job.reason == what
    return _occurs(what.split("*"), job.error)


def _occurs(parts: Sequence[str], text: str) -> bool:
    place = 0
    for part in parts:
        place = text.find(part, place)
        if place < 0:
            return False
        place += len(part)
    return True


def prepare_retry(job: Job, pause: float, now_ms: int) -> None:
    """Make a job that has just ended one that waits for its next try; its error stays for people to read.

    Args:
        job: the job.
        pause: seconds that it waits.
        now_ms: unix milliseconds.
    """
    job.status, job.reason = JobStatus.NEW.value, Reason.RETRYING.value
    job.retried += 1
    job.signal = job.time_end = 0
    job.time_scheduled = int(now_ms + pause * 1000) // 1000


_REASONS = frozenset(reason.value for reason in Reason)
