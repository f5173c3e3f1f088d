"""One job of a key, whatever dies, is deleted or damaged."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from herojobs import job as jobs
from herojobs.errors import JobExists
from herojobs.job import Job
from herojobs.names import Queue
from herojobs.settings import load
from herojobs.store import JobStore, Put
from herojobs.store.keys import KeyedJobs

Q = Queue.of("c", "t")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    found = JobStore(load(home=tmp_path))
    yield found
    found.close()


@pytest.fixture
def keyed(store: JobStore, tmp_path: Path) -> Iterator[KeyedJobs]:
    found = KeyedJobs(load(home=tmp_path, idempotency_ttl=100), store)
    yield found
    found.close()


def new(**fields: Any) -> Job:
    return Job(**({"circle_id": "c", "topic": "t", "params": "x", "created_ms": jobs.now_ms()} | fields))


def add(keyed: KeyedJobs, *given: Job) -> list[int]:
    return [each.job.job_id for each in keyed.add_many(Q, given)]


def change(store: JobStore, id: int, **fields: Any) -> None:
    job = store.get(Q, id)
    for name, value in fields.items():
        setattr(job, name, value)
    assert store.put_many(Q, [Put(id, jobs.encode(job), None)])[0] is not None


def test_a_second_submission_finds_the_first(keyed: KeyedJobs, store: JobStore) -> None:
    assert add(keyed, new(idempotency_key="a"), new(idempotency_key="a"), new(idempotency_key="b")) == [1, 1, 2]
    change(store, 1, status="done", result="r")
    (kept,) = keyed.add_many(Q, [new(idempotency_key="a")])
    assert (kept.job.job_id, kept.job.result, kept.is_new) == (1, "r", False)
    assert jobs.decode(kept.data) == kept.job
    with pytest.raises(JobExists, match="c/t/1"):
        keyed.add_many(Q, [new(), new(idempotency_key="a")], must_be_new=True)
    assert store.next_id(Q) == 3, "nothing was written"
    change(store, 1, created_ms=jobs.now_ms() - 101_000)
    assert add(keyed, new(idempotency_key="a")) == [3]


@pytest.mark.parametrize(
    ("until", "states"),
    [
        (
            "",
            [
                ({}, True),
                ({"status": "active", "time_start": 5}, True),
                ({"status": "new"}, True),
                ({"status": "done"}, False),
            ],
        ),
        ("started", [({}, True), ({"status": "active", "time_start": 5}, False), ({"status": "new"}, False)]),
        (60, [({}, True), ({"status": "done"}, True), ({"created_ms": 1000}, False)]),
    ],
)
def test_how_long_a_key_is_taken(keyed: KeyedJobs, store: JobStore, until: Any, states: list[Any]) -> None:
    assert add(keyed, new(unique_key="k", unique_until=until)) == [1]
    for fields, taken in states:
        change(store, 1, **fields)
        assert (add(keyed, new(unique_key="k", unique_until=until)) == [1]) is taken, fields


def test_the_lock_goes_with_its_job(keyed: KeyedJobs, store: JobStore) -> None:
    assert add(keyed, new(unique_key="k")) == [1]
    store.delete(Q, [1])
    assert add(keyed, new(unique_key="k")) == [2]


def test_kinds_and_queues_are_apart(keyed: KeyedJobs) -> None:
    assert add(keyed, new(unique_key="k"), new(idempotency_key="k"), new(unique_key="l")) == [1, 2, 3]
    other = Queue.of("c", "u")
    assert keyed.add_many(other, [new(unique_key="k", topic="u")])[0].is_new


def test_a_job_that_runs_again_takes_its_key_back_or_is_refused(keyed: KeyedJobs, store: JobStore) -> None:
    add(keyed, new(unique_key="k"))
    change(store, 1, status="error")
    assert add(keyed, new(unique_key="k")) == [2]
    with pytest.raises(JobExists, match="c/t/2"):
        keyed.take(Q, store.get(Q, 1))
    change(store, 2, status="done")
    keyed.take(Q, store.get(Q, 1))
    change(store, 1, status="new")
    assert add(keyed, new(unique_key="k")) == [1]


@pytest.mark.parametrize("harm", ["gone", "nonsense", "torn", "changed"])
def test_the_file_is_derived(keyed: KeyedJobs, store: JobStore, tmp_path: Path, harm: str) -> None:
    assert add(keyed, *(new(unique_key=f"k{n}") for n in range(500)), new()) == list(range(1, 502))
    change(store, 500, status="done")
    path = store.path(Q).with_name("keys.sqlite3")
    if harm != "changed":
        keyed.close()
        for each in path.parent.glob("keys.sqlite3-*"):
            each.unlink()
    if harm == "gone":
        path.unlink()
    elif harm == "nonsense":
        path.write_bytes(b"x" * 5000)
    elif harm == "torn":
        path.write_bytes(path.read_bytes()[:9000])
    else:
        path.unlink()
    again = KeyedJobs(load(home=tmp_path), store)
    assert [each.job.job_id for each in again.add_many(Q, [new(unique_key="k3"), new(unique_key="k499")])] == [4, 502]
    again.close()
    assert add(keyed, new(unique_key="k499")) == [502]


def test_old_keys_are_dropped(keyed: KeyedJobs, store: JobStore) -> None:
    ids = add(keyed, *(new(unique_key=f"k{n}") for n in range(100)))
    store.put_many(Q, [Put(id, jobs.encode(new(job_id=id, status="done", unique_key="x")), None) for id in ids])
    for n in range(60):
        add(keyed, new(unique_key=f"l{n}"))
    path = store.path(Q).with_name("keys.sqlite3")
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM keys WHERE key LIKE 'k%'").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM keys").fetchone() == (60,)
    db.close()


def _submit(home: Path, count: int, pipe: Any) -> None:
    store = JobStore(load(home=home))
    keyed = KeyedJobs(load(home=home), store)
    for n in range(count):
        pipe.send(keyed.add_many(Q, [new(idempotency_key=f"k{n}"), new()])[0].job.job_id)
    keyed.close()
    store.close()


def test_processes_that_submit_the_same_key_at_once_get_one_job(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    ends = [fork.Pipe(duplex=False) for _ in range(3)]
    workers = [fork.Process(target=_submit, args=(tmp_path, 100, send)) for _, send in ends]
    for worker in workers:
        worker.start()
    got = [[receive.recv() for _ in range(100)] for receive, _ in ends]
    for worker in workers:
        worker.join()
    assert got[0] == got[1] == got[2]
    assert len(set(got[0])) == 100


def test_a_submitter_killed_at_any_moment_leaves_no_second_job_and_no_lock(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    store = JobStore(load(home=tmp_path))
    keyed = KeyedJobs(load(home=tmp_path), store)
    for round_ in range(12):
        receive, send = fork.Pipe(duplex=False)
        worker = fork.Process(target=_submit, args=(tmp_path, 10_000, send))
        worker.start()
        for _ in range(3 + round_):
            receive.recv()
        assert worker.pid
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
    count = store.next_id(Q) - 1
    seen: dict[str, int] = {}
    for id in range(1, count + 1):
        job = store.get(Q, id)
        assert not job.idempotency_key or seen.setdefault(job.idempotency_key, id) == id, "one job of each key"
    for n in range(len(seen) + 3):
        (kept,) = keyed.add_many(Q, [new(idempotency_key=f"k{n}")])
        assert kept.is_new is (f"k{n}" not in seen)
        assert kept.is_new or kept.job.job_id == seen[f"k{n}"]
    keyed.close()
    store.close()
