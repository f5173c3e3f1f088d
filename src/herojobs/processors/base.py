"""What a processor is: the code that runs the jobs of one kind. A new kind of job is one new processor.

A processor lives in a worker process. It turns a job's params into work and gives back the result as text, or
raises. Timeouts, retries and state are none of its business.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from herojobs.checkpoints import Checkpoints
from herojobs.job import Job
from herojobs.names import Ref

if TYPE_CHECKING:
    from herojobs.settings import Settings

REPORT_EVERY = 0.05
"""Seconds between two reports of progress; those in between are left out."""


class JobFailed(Exception):
    """The job's content failed; the text becomes `Job.error` as it is.

    Attributes:
        partial: results from before the failure, which stay in `Job.result`.
        detail: what a program can read of the error, for `Job.error_detail`; a JSON object.
    """

    def __init__(self, error: str, partial: str = "", detail: Mapping[str, Any] | None = None) -> None:
        self.partial = partial
        self.detail = detail
        super().__init__(error)


class JobInterrupted(BaseException):
    """Raised in a running job that must end: `why` is `timeout`, `cancel` or `blocked`.

    It isn't an `Exception`, so that `except Exception` doesn't swallow it. `finally` blocks have the grace period
    (setting `grace`) for cleaning up; then the worker is killed.
    """

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)


class JobContext:
    """What a running job can see of the world around it.

    Attributes:
        job: the job.
        ref: its reference, `circle/topic/id`.
        on_interrupt: called from another thread when the job must end; for content that no Python exception reaches.
        interrupted_by: `timeout` or `cancel` once the job has been asked to end.
        has_checkpoint: whether it was found that the job has one, or has now.
        usage: what the run has used so far, for `Job.usage`; kept however the run ends.
    """

    __slots__ = (
        "_checkpoints",
        "_flush",
        "_parents",
        "_report",
        "_reported",
        "_write",
        "has_checkpoint",
        "interrupted_by",
        "job",
        "on_interrupt",
        "ref",
        "usage",
    )

    def __init__(
        self,
        job: Job,
        ref: str,
        write: Callable[[str], None],
        report: Callable[[float, str], None] | None = None,
        checkpoints: Checkpoints | None = None,
        flush: Callable[[], None] = lambda: None,
        parents: Callable[[Job], list[Job]] | None = None,
    ) -> None:
        self._parents = parents
        self.job = job
        self.ref = ref
        self._report = report
        self._reported = 0.0
        self._checkpoints = checkpoints
        self.has_checkpoint = False
        self.on_interrupt: Callable[[str], object] | None = None
        self._write = write
        self._flush = flush
        self.interrupted_by = ""
        self.usage: dict[str, Any] = {}

    def log(self, text: object) -> None:
        """Write a line to the job's log."""
        self._write(f"{text}\n")

    def stream(self, text: str) -> None:
        """Write to the job's log what may be part of a line, and let followers see it at once."""
        self._write(text)
        self._flush()

    def progress(self, percent: float, text: str = "") -> None:
        """Tell how far the job is; seen by `herojobs get` and `HeroJobs.progress`.

        Args:
            percent: 0 to 100; what is beyond counts as the nearest of them.
            text: what it is doing, one line; the first 200 characters count.
        """
        now = time.monotonic()
        percent = min(100.0, max(0.0, float(percent)))
        if self._report is None or math.isnan(percent):
            return
        if percent < 100 and now - self._reported < REPORT_EVERY:
            return
        self._reported = now
        self._report(percent, " ".join(str(text).split())[:200])

    @property
    def parents(self) -> list[Job]:
        """The jobs that this one came after, as they ended, in the order of its `after`."""
        return [] if self._parents is None else self._parents(self.job)

    def save_checkpoint(self, state: Any) -> None:
        """Keep a state that the job's next attempt gets by `load_checkpoint`, should this one not come to its end.

        Args:
            state: what JSON can hold, at most 64 KiB. When this returns, it is on disk.

        Raises:
            CheckpointRefused: it is too large or no JSON, or another attempt has taken the job over.
        """
        if self._checkpoints is not None:
            self._checkpoints.save(Ref.parse(self.ref), self.job.started_ms, state)
            self.has_checkpoint = True

    def load_checkpoint(self) -> Any:
        """Return what an attempt before this one, or this one, saved last; None if nothing."""
        if self._checkpoints is None:
            return None
        state = self._checkpoints.load(Ref.parse(self.ref))
        self.has_checkpoint = self.has_checkpoint or state is not None
        return state

    @property
    def cancelled(self) -> bool:
        """Whether the job has been asked to end, by a timeout or a cancel."""
        return bool(self.interrupted_by)

    def interrupt(self, why: str) -> None:
        """Remember that the job must end and tell `on_interrupt`, which code that Python can't interrupt has set."""
        self.interrupted_by = why
        if self.on_interrupt is not None:
            self.on_interrupt(why)

    def checkpoint(self) -> None:
        """Raise `JobInterrupted` if the job has been asked to end."""
        if self.interrupted_by:
            raise JobInterrupted(self.interrupted_by)


class Processor(Protocol):
    """Runs the jobs of one kind. Made once in each worker, with the settings in force.

    Attributes:
        concurrent: whether its content is asynchronous, so that hundreds may run at once in the concurrent worker.
            None: it depends on the job, `is_concurrent` tells.
    """

    concurrent: bool | None

    def __init__(self, settings: Settings) -> None: ...

    def is_concurrent(self, job: Job) -> bool:
        """Return whether this job is asynchronous; raise `JobFailed` if it can't be run at all."""
        ...

    def run(self, job: Job, context: JobContext) -> str:
        """Run a job in this thread and return its result; raise `JobFailed`, or any exception, if it fails."""
        ...

    async def run_async(self, job: Job, context: JobContext) -> str:
        """Run an asynchronous job on the event loop and return its result; raise as `run` does."""
        ...
