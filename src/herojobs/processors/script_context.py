"""What an action of a job's script can ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from herojobs.heroscript import Context
from herojobs.job import After, Job
from herojobs.names import Ref
from herojobs.processors.base import JobContext
from herojobs.processors.reach import check_circle

if TYPE_CHECKING:
    from herojobs.client import HeroJobs
    from herojobs.client.given import AnyRef


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
        """Tell how far the action is; see `JobContext.progress`."""
        self._job_context.progress(100 * done / total if total else 100.0, message)

    @property
    def parents(self) -> list[Job]:
        """The jobs that this one came after, as they ended, in the order of its `after`."""
        return self._job_context.parents

    def save_checkpoint(self, state: Any) -> None:
        """Keep a state for the job's next attempt; see `JobContext.save_checkpoint`."""
        self._job_context.save_checkpoint(state)

    def load_checkpoint(self) -> Any:
        """Return the state that was saved last, None if none; see `JobContext.load_checkpoint`."""
        return self._job_context.load_checkpoint()

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
        after: Iterable[AnyRef | After] = (),
        on_failure: str = "cancel",
    ) -> Job:
        """Submit another job, which records this one as its parent and has its session key.

        Circle and topic default to this job's own.

        Raises:
            Forbidden: the circle is another one, and the setting `cross_circle` doesn't allow that.
            as `HeroJobs.submit`.
        """
        from herojobs.client.given import as_after  # here, as the client is: few scripts submit

        queue = Ref.parse(self.ref).queue
        job = Job(
            params=params,
            params_type=params_type,
            circle_id=circle_id or self.job.circle_id or queue.circle,
            topic=topic or self.job.topic or queue.topic,
            timeout=timeout,
            time_scheduled=int(at.timestamp()) if isinstance(at, datetime) else at or 0,
            parent=self.ref,
            session_key=self.job.session_key,
            after=[as_after(each, on_failure) for each in after],
        )
        check_circle(self.ref, job.queue.circle, self.client.settings)
        return self.client.submit_many([job])[0]
