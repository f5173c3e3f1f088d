"""What a processor is: the code that runs the jobs of one kind. A new kind of job is one new processor.

A processor lives in a worker process. It turns a job's params into work and gives back the result as text, or
raises. Timeouts, retries and state are none of its business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from herojobs.job import Job

if TYPE_CHECKING:
    from herojobs.settings import Settings


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
    """

    __slots__ = ("_write", "interrupted_by", "job", "on_interrupt", "ref")

    def __init__(self, job: Job, ref: str, write: Callable[[str], None]) -> None:
        self.job = job
        self.ref = ref
        self.on_interrupt: Callable[[str], object] | None = None
        self._write = write
        self.interrupted_by = ""

    def log(self, text: object) -> None:
        """Write a line to the job's log."""
        self._write(f"{text}\n")

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
