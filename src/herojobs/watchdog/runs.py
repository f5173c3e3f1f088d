"""A run: one attempt at a job, from its claim by this WatchDog to the end that it reports."""

from __future__ import annotations

import msgspec

from herojobs.job import Job
from herojobs.names import Queue
from herojobs.outcome import Outcome
from herojobs.store.base import Position


class Run(msgspec.Struct, eq=False):
    """One attempt at a job.

    Attributes:
        number: this WatchDog's number of the run.
        queue: where the job belongs; with `id` it names it, whatever the job's JSON says.
        id: the job's id in its queue's Redis keys.
        db_id: its id in OurDB; differs for some foreign jobs.
        token: what Redis wants to see before it takes anything about this attempt.
        job: the job as it is now.
        data: its JSON as last written.
        position: where OurDB holds the version that this attempt wrote last.
        concurrent: which sort of worker it is for.
        timeout: seconds it may run.
        deadline: monotonic time when it must be over; 0 while it hasn't started.
        kill_at: monotonic time when its worker is killed, 0 = it hasn't been interrupted.
        why: what it was interrupted for, `timeout`, `cancel` or `blocked`.
        abandoned: another WatchDog has the job now, or it was put back: nothing it reports counts.
        told: whether Redis knows that it is active.
        outcome: how it ended, once it has.
        blocked: it was found to block the event loop of the concurrent worker.
        has_checkpoint: whether its job has a checkpoint, to be dropped when it is done.
        took: microseconds that it ran, as its worker says; 0 = unknown.
        logged: bytes of its log that are kept so far.
        retry_ms: milliseconds until the job is tried again, once this run has failed; 0 = it is over.
    """

    number: int
    queue: Queue
    id: int | bytes
    db_id: int
    token: str
    job: Job
    timeout: int
    data: bytes = b""
    position: Position | None = None
    concurrent: bool = False
    deadline: float = 0.0
    kill_at: float = 0.0
    why: str = ""
    abandoned: bool = False
    told: bool = False
    blocked: bool = False
    has_checkpoint: bool = False
    took: int = 0
    logged: int = 0
    retry_ms: int = 0
    outcome: Outcome | None = None

    @property
    def ref(self) -> str:
        """The job's reference, `circle/topic/id` in OurDB."""
        return f"{self.queue.circle}/{self.queue.topic}/{self.db_id}"
