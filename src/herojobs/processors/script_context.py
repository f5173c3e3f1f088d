"""What an action of a job's script can ask for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from herojobs.heroscript import Context
from herojobs.job import Job
from herojobs.names import Ref
from herojobs.processors.base import JobContext

if TYPE_CHECKING:
    from herojobs.client import HeroJobs


class ScriptContext(Context):
    """Given to an action that declares a parameter of this type, or of type `Context`.

    Attributes:
        job: the job that the script is.
        ref: its reference, `circle/topic/id`.
    """

    def __init__(self, job_context: JobContext, client: Callable[[], HeroJobs]) -> None:
        super().__init__()
        self._job_context = job_context
        self._client = client
        self.job = job_context.job
        self.ref = job_context.ref

    def log(self, message: str, level: str = "info") -> None:
        """Write to the job's log."""
        self._job_context.log(message if level == "info" else f"{level}: {message}")

    def progress(self, done: float, total: float = 1.0, message: str = "") -> None:
        """Write to the job's log how far the action is."""
        percent = 100 * done / total if total else 100.0
        self._job_context.log(f"progress: {percent:.0f}%" + (f" {message}" if message else ""))

    @property
    def cancelled(self) -> bool:
        """Whether the job was asked to end, by a timeout or a cancel."""
        return self._job_context.cancelled

    def checkpoint(self) -> None:
        """End the script between two actions if the job was asked to end."""
        self._job_context.checkpoint()

    @property
    def client(self) -> HeroJobs:
        """A client of this worker's, for actions that look after other jobs."""
        return self._client()

    def submit(
        self,
        params: str,
        *,
        params_type: str = "heroscript",
        circle_id: str = "",
        topic: str = "",
        timeout: int = 0,
        at: int | datetime | None = None,
    ) -> Job:
        """Submit another job, which records this one as its parent; circle and topic default to this job's own.

        Raises:
            as `HeroJobs.submit`.
        """
        queue = Ref.parse(self.ref).queue
        return self.client.submit(
            params,
            params_type=params_type,
            circle_id=circle_id or self.job.circle_id or queue.circle,
            topic=topic or self.job.topic or queue.topic,
            timeout=timeout,
            at=at,
            parent=self.ref,
        )
