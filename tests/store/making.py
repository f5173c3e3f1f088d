"""Jobs for the tests of stores."""

from __future__ import annotations

from typing import Any

from herojobs.job import Job, encode
from herojobs.names import Queue
from herojobs.store import JobIndex, JobStore, Put

Q = Queue("c", "t")


def new(count: int, **fields: Any) -> list[Job]:
    given = {"circle_id": "C", "topic": "t", **fields}
    return [Job(**{"params": f"!!core.echo content:word{n}", **given}) for n in range(count)]


def put(store: JobStore, id: int, queue: Queue = Q, **changes: Any) -> None:
    job, position = store.tip(queue, id)
    for name, value in changes.items():
        setattr(job, name, value)
    assert store.put_many(queue, [Put(id, encode(job), position)])[0] is not None


def compact(store: JobStore, queue: Queue = Q, keep: int | None = None) -> None:
    with store._databases.use(queue) as db:
        db.compact(keep=keep)


def ids(index: JobIndex, **conditions: Any) -> list[int]:
    return [job.job_id for job in index.find(**conditions).jobs]
