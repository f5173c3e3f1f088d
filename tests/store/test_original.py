"""The original's operations on a job in OurDB."""

from __future__ import annotations

import pytest

from herojobs.errors import InvalidJob, JobConflict, JobNotFound
from herojobs.job import Job
from herojobs.store import JobStore
from herojobs.store.original import finish, load, save
from store.making import Q


def test_a_job_lives_in_the_database_alone(store: JobStore) -> None:
    job = Job(params="x", circle_id="C", topic="t")
    save(store, job)
    assert job.job_id == 1
    job.status = "active"
    save(store, job)
    assert load(store, "c", "T", 1).time_start > 0
    finish(store, job, "done", "well")
    done = load(store, "C", "t", 1)
    assert done == job
    assert (done.result, done.reason) == ("well", "done")
    assert done.time_end == done.ended_ms // 1000 > 0
    assert [each.status for each in store.history(Q, 1)] == ["new", "active", "done"]


def test_it_ends_once(store: JobStore) -> None:
    job = Job(params="x", circle_id="c", topic="t")
    save(store, job)
    finish(store, job, "error", err="broken")
    assert load(store, "c", "t", 1).reason == "failed"
    with pytest.raises(JobConflict, match="c/t/1 is over"):
        finish(store, job, "done", "after all")
    assert load(store, "c", "t", 1).error == "broken"


def test_what_is_wrong_is_named(store: JobStore) -> None:
    job = Job(params="x", circle_id="c", topic="t")
    with pytest.raises(JobNotFound):
        load(store, "c", "t", 1)
    save(store, job)
    with pytest.raises(InvalidJob, match="did you mean 'done'"):
        finish(store, job, "don")
    with pytest.raises(JobNotFound, match="c/t/9"):
        save(store, Job(job_id=9, params="x", circle_id="c", topic="t"))
    job.params = "\ud800"
    for write in (lambda: save(store, job), lambda: finish(store, job, "done")):
        with pytest.raises(InvalidJob, match=r"^params"):
            write()
