"""What a job can see of the jobs that it came after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from herojobs.errors import JobNotFound
from herojobs.job import Job, JobStatus
from herojobs.names import Ref
from herojobs.settings import Settings

if TYPE_CHECKING:
    from herojobs.store import JobStore


class ParentReader:
    """Reads them from OurDB, where their ends are before anything that comes after them starts.

    Args:
        settings: where the home is.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store: JobStore | None = None

    def read(self, job: Job) -> list[Job]:
        """Return the jobs that one came after, in its order; of a deleted one only that it was."""
        if not job.after:
            return []
        if self._store is None:
            from herojobs.store import JobStore  # here: few workers ever need it

            self._store = JobStore(self._settings)
        found = []
        for each in job.after:
            ref = Ref.parse(each.ref)
            try:
                parent = self._store.get(*ref)
            except JobNotFound:
                parent = Job(job_id=ref.id, circle_id=ref.queue.circle, topic=ref.queue.topic)
                parent.status, parent.error = JobStatus.ERROR.value, "it was deleted"
            parent.session_key = ""
            found.append(parent)
        return found


def shown_parents(parents: list[Job]) -> list[dict[str, Any]]:
    """Return jobs as scripts see them."""
    return [
        {"ref": str(job.ref), "status": str(job.status), "result": job.result, "error": job.error} for job in parents
    ]
