"""The original's operations on a job in OurDB: save, load and finish (Redis layout, A5).

They write OurDB only: nothing is queued, and nobody is told. Programs that run their jobs themselves use them, like a
proxy that keeps a record of its calls; everybody else submits.
"""

from __future__ import annotations

from herojobs.errors import InvalidJob, JobConflict, JobNotFound, did_you_mean
from herojobs.job import Job, JobStatus, Reason, now_ms
from herojobs.names import Queue, Ref
from herojobs.store.base import Put, Store
from herojobs.store.jobs import encoded

_ENDS = (JobStatus.DONE.value, JobStatus.ERROR.value)


def save(store: Store, job: Job) -> None:
    """Store a job as it is: a new one, whose `job_id` is 0, gets its id; of another this is the newest version.

    Raises:
        InvalidName: circle or topic can't be a name.
        JobNotFound: no job has its id.
        InvalidJob: its text can't be encoded.
    """
    queue = job.queue
    if not job.job_id:
        store.add_many(queue, [job])
        store.remember_spelling(queue, job.circle_id, job.topic)
        return
    if job.status == JobStatus.ACTIVE and not job.time_start:
        job.started_ms = now_ms()
        job.time_start = job.started_ms // 1000
    if store.put_many(queue, [Put(job.job_id, encoded(job), None)])[0] is None:
        raise JobNotFound(Ref(queue, job.job_id))


def load(store: Store, circle_id: str, topic: str, id: int) -> Job:
    """Return a job as it is now.

    Raises:
        InvalidName: circle or topic can't be a name.
        JobNotFound: there is no such job.
    """
    return store.get(Queue.of(circle_id, topic), id)


def finish(store: Store, job: Job, status: str, result: str = "", err: str = "") -> None:
    """End a job: set status, result, error and times, in `job` and in the store.

    Unlike the original's, it ends a job once: the first end counts.

    Raises:
        InvalidJob: the status isn't done or error, or the text can't be encoded.
        JobNotFound: there is no such job.
        JobConflict: it is over already.
    """
    if status not in _ENDS:
        raise InvalidJob("status", status, "no end of a job", did_you_mean(status, _ENDS))
    queue = job.queue
    while True:
        newest, position = store.tip(queue, job.job_id)
        if newest.is_over:
            raise JobConflict(f"{Ref(queue, job.job_id)} is over already: {newest.explain_end()}")
        job.status, job.result, job.error = status, result, err
        job.reason = (Reason.DONE if status == JobStatus.DONE else Reason.FAILED).value
        job.ended_ms = now_ms()
        job.time_end = job.ended_ms // 1000
        if store.put_many(queue, [Put(job.job_id, encoded(job), position)])[0] is not None:
            return
