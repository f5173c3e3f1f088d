"""The actor `job`: scripts that submit other jobs and look after them (HeroScript 12.3)."""

from __future__ import annotations

import builtins
from datetime import datetime
from typing import Any

import msgspec

from herojobs.errors import HeroJobsError, JobNotFound
from herojobs.heroscript import ActionError, action, actor
from herojobs.job import Job
from herojobs.names import Queue, Ref
from herojobs.processors.parents import shown_parents
from herojobs.processors.reach import check_circle, check_manages
from herojobs.processors.script_context import ScriptContext

_CIRCLE = {"circleid": "circle", "circle_id": "circle"}
_JOB = {**_CIRCLE, "jobid": "id", "job_id": "id"}


@actor("job")
class JobActor:
    """Submits jobs and looks after them; circle and topic default to those of the running job."""

    def __init__(self, context: ScriptContext) -> None:
        self._context = context

    @action(aliases=_CIRCLE)
    def create(
        self,
        params: str,
        params_type: str = "heroscript",
        circle: str = "",
        topic: str = "",
        timeout: int = 60,
        at: datetime | None = None,
        after: builtins.list[str] | None = None,
        on_failure: str = "cancel",
    ) -> str:
        """Submit a job and return its reference; `at` delays it, `after` names jobs that it comes after."""
        queue = self._queue(circle, topic)
        with _errors():
            job = self._context.submit(
                params,
                params_type=params_type,
                circle_id=queue.circle,
                topic=queue.topic,
                timeout=timeout,
                at=at,
                after=after or (),
                on_failure=on_failure,
            )
        return str(job.ref)

    @action(aliases=_JOB)
    def get(self, ref: str = "", circle: str = "", topic: str = "", id: int = 0) -> dict[str, Any]:
        """Return a job as JSON."""
        with _errors():
            return _shown(self._context.client.get(self._ref(ref, circle, topic, id)))

    @action(aliases=_JOB)
    def history(self, ref: str = "", circle: str = "", topic: str = "", id: int = 0) -> list[dict[str, Any]]:
        """Return all versions of a job as JSON, the oldest first."""
        with _errors():
            return [_shown(job) for job in self._context.client.history(self._ref(ref, circle, topic, id))]

    @action(aliases=_JOB)
    def delete(self, ref: str = "", circle: str = "", topic: str = "", id: int = 0) -> bool:
        """Remove a job for good; false if there is none."""
        with _errors():
            try:
                self._context.client.delete(self._managed(self._ref(ref, circle, topic, id)))
            except JobNotFound:
                return False
        return True

    @action(aliases=_JOB)
    def cancel(self, ref: str = "", circle: str = "", topic: str = "", id: int = 0) -> bool:
        """Cancel a job; false if there is none."""
        with _errors():
            try:
                self._context.client.cancel(self._managed(self._ref(ref, circle, topic, id)))
            except JobNotFound:
                return False
        return True

    @action(aliases=_JOB)
    def retry(self, ref: str = "", circle: str = "", topic: str = "", id: int = 0) -> str:
        """Queue a job again that is over; return its reference."""
        with _errors():
            return str(self._context.client.retry(self._managed(self._ref(ref, circle, topic, id))).ref)

    @action
    def parents(self) -> list[dict[str, Any]]:
        """Return the jobs that the running one came after as JSON: ref, status, result, error of each."""
        return shown_parents(self._context.parents)

    @action
    def progress(self, percent: float, text: str = "") -> None:
        """Tell how far the running job is, 0 to 100."""
        self._context.progress(percent, 100.0, text)

    @action(aliases=_CIRCLE)
    def list(self, circle: str = "", topic: str = "", status: str | None = None, limit: int = 100) -> Any:
        """Return the references of jobs as a JSON list, the newest first; without a topic those of all topics."""
        queue = self._queue(circle, topic)
        with _errors():
            found = self._context.client.find(
                circle_id=queue.circle, topic=topic or None, status=status or None, limit=limit
            )
        return [str(job.ref) for job in found.jobs]

    @action(aliases=_CIRCLE)
    def queue_size(self, circle: str = "", topic: str = "") -> int:
        """Return how many jobs wait in a queue."""
        queue = self._queue(circle, topic)
        with _errors():
            queues = self._context.client.queues(queue.circle)
        return sum(each.waiting for each in queues if each.topic == queue.topic)

    @action(aliases=_CIRCLE)
    def queue_empty(self, circle: str = "", topic: str = "") -> int:
        """Remove all waiting jobs of a queue; return their number."""
        queue = self._queue(circle, topic)
        with _errors():
            check_manages(self._context.job, queue.circle, self._context.client.settings)
            return self._context.client.empty(queue.circle, queue.topic)

    @action(aliases=_CIRCLE)
    def queue_get(self, circle: str = "", topic: str = "") -> dict[str, Any] | None:
        """Return the job that is next in a queue as JSON, without taking it; nothing if none waits."""
        queue = self._queue(circle, topic)
        with _errors():
            job = self._context.client.peek(queue.circle, queue.topic)
        return None if job is None else _shown(job)

    def _queue(self, circle: str, topic: str) -> Queue:
        own = Ref.parse(self._context.ref).queue
        with _errors():
            queue = Queue.of(circle or own.circle, topic or own.topic)
            check_circle(self._context.ref, queue.circle, self._context.client.settings)
        return queue

    def _managed(self, ref: Ref) -> Ref:
        """Return the reference of a job that the running one may cancel, retry and delete: its own children, too."""
        client = self._context.client
        if self._context.job.session_key and client.get(ref).parent != self._context.ref:
            check_manages(self._context.job, ref.queue.circle, client.settings)
        return ref

    def _ref(self, ref: str, circle: str, topic: str, id: int) -> Ref:
        if not ref and not id:
            raise ActionError('it needs "ref", or "id" with "circle" and "topic"')
        parsed = Ref.parse(ref) if ref else Ref(self._queue(circle, topic), id)
        self._queue(*parsed.queue)
        return parsed


class _errors:  # noqa: N801 - used like a function
    """Turns what a client raises into the action's failure."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, HeroJobsError):
            raise ActionError(str(error)) from error


def _shown(job: Job) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(job.masked())
    return shown
