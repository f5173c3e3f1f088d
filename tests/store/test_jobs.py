"""What the store over OurDB does beyond the contract of all stores."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herojobs.job import Job, encode
from herojobs.names import Queue
from herojobs.ourdb import OurDB
from herojobs.settings import load
from herojobs.store import JobStore, Position, Put
from herojobs.store.databases import limit_for
from herojobs.store.jobs import id_of
from store.making import Q, compact, new, put


def test_a_compaction_between_two_versions_changes_nothing(store: JobStore) -> None:
    store.add_many(Q, new(2))
    put(store, 1, status="active")
    position = store.tip(Q, 1)[1]
    stale = store.tip(Q, 2)[1]
    put(store, 2, status="active")
    compact(store)
    done = encode(Job(job_id=1, status="done"))
    (accepted, refused) = store.put_many(Q, [Put(1, done, position), Put(2, done, stale)])
    assert accepted is not None
    assert refused is None
    compact(store)
    assert store.put_many(Q, [Put(1, done, accepted)])[0] is not None
    assert store.get(Q, 2).status == "active"


def test_a_place_that_another_version_has_got_is_not_taken_for_it(store: JobStore) -> None:
    """The only job's end lies where its first version lay: somebody who knows that place only must not end it again."""
    store.add_many(Q, new(1))
    stale = store.tip(Q, 1)[1]
    put(store, 1, status="done", result="first")
    compact(store, keep=1)
    assert store.tip(Q, 1)[1].location == stale.location
    assert store.put_many(Q, [Put(1, encode(Job(job_id=1, result="second")), stale)]) == [None]
    assert store.get(Q, 1).result == "first"


def test_ends_and_compactions_at_the_same_time_lose_no_end(store: JobStore) -> None:
    store.add_many(Q, new(60))
    stop = threading.Event()

    def compact_again() -> None:
        while not stop.is_set():
            compact(store)

    compacting = threading.Thread(target=compact_again)
    compacting.start()
    positions: list[Position | None] = [tip and tip.position for tip in store.tips(Q, range(1, 61))]
    for status in ("active", "done"):
        for id in range(1, 61):
            data = encode(Job(job_id=id, status=status))
            (positions[id - 1],) = store.put_many(Q, [Put(id, data, positions[id - 1])])
            assert positions[id - 1] is not None
    stop.set()
    compacting.join()
    assert all([job.status for job in store.history(Q, id)] == ["new", "active", "done"] for id in range(1, 61))


def test_many_queues_need_few_open_databases(store: JobStore) -> None:
    queues = [Queue("c", f"t{n}") for n in range(600)]
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for queue in queues:
        store.add_many(queue, new(1, topic=queue.topic))
    assert store._databases.open_count() <= 4
    if before:
        assert len(os.listdir("/proc/self/fd")) < before + 60
    assert all(store.get(queue, 1).topic == queue.topic for queue in queues)
    assert store.queues() == sorted(queues)


def test_no_database_is_closed_under_a_call(store: JobStore) -> None:
    """Sixteen threads use forty queues, four of which may be open."""
    queues = [Queue("c", f"t{n}") for n in range(40)]
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(40):
                queue = queues[(number * 7 + step) % 40]
                jobs = new(2, topic=queue.topic)
                store.add_many(queue, jobs)
                assert store.get_many(queue, [job.job_id for job in jobs]) == jobs
        except BaseException as e:
            errors.append(e)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert store._databases.open_count() <= 4


def test_another_programs_records_are_read_by_where_they_lie(store: JobStore) -> None:
    """The original's first versions hold id 0, its names are whatever its caller gave (Redis layout, B14)."""
    with OurDB(store.path(Q), id_of=id_of) as db:
        db.add(b'{"jobid":0,"circleid":"","topic":"","params":"x","params_type":"ai","status":""}')
        db.add(b'{"JobID":9,"Circleid":"elsewhere","topic":null,"params":"y","params_type":"ai"}')
        db.add(b"no job")
        db.add(b"[" * 100_000)
    first, second = store.get(Q, 1), store.get(Q, 2)
    assert (first.job_id, first.queue, first.status) == (1, Q, "new")
    assert (second.job_id, second.queue, second.params) == (2, Q, "y")
    assert store.get_many(Q, [1, 2, 3, 4]) == [first, second, None, None]
    assert store.history(Q, 3) == []


def test_names_that_are_not_fixed_are_no_queues(store: JobStore) -> None:
    store.add_many(Q, new(1))
    store.path(Queue("x", "y")).parent.parent.joinpath("Raw Name", "jobsdb").mkdir(parents=True)
    assert store.queues() == [Q]


def test_spellings_are_shared_by_processes(store: JobStore) -> None:
    other = JobStore(store._settings)
    store.add_many(Q, new(1))
    assert store.remember_spelling(Q, "C", "T") == []
    assert other.remember_spelling(Q, "C", "T") == []
    assert len(other.remember_spelling(Q, "C", "t\n'")) == 1
    assert store.remember_spelling(Q, "C", "t\n'") == []  # told already
    assert [len(other.remember_spelling(Q, "C", "t" + "!" * n)) for n in range(1, 40)].count(1) == 18
    other.close()


def test_a_spelling_that_was_cut_off_harms_nobody(store: JobStore) -> None:
    store.add_many(Q, new(1))
    store.path(Q).with_name("spelling").write_bytes(b'"T"\n"half')
    assert store.spelling(Q) == ("c", "T")


def test_no_dump_is_kept_where_none_is_wanted(store: JobStore) -> None:
    lean = JobStore(load({}, home=store.index_path.parents[1], ourdb_dump=False))
    lean.add_many(Q, new(1))
    lean.close()
    assert not (store.path(Q) / "lookup_dump.db").exists()


@given(st.integers(0, 2**32 - 1), st.text(max_size=10))
def test_the_id_is_read_from_any_job(id: int, text: str) -> None:
    assert id_of(encode(Job(job_id=id, params=text))) == id


@given(st.binary(max_size=60))
def test_rubbish_has_no_id(data: bytes) -> None:
    assert id_of(b"\xff" + data) == 0
    assert id_of(b"[" * 100_000) == id_of(b"[]") == id_of(b"") == 0


@pytest.mark.parametrize(("files", "databases"), [(64, 16), (1024, 144), (20_000, 2_000)])
def test_no_more_databases_stay_open_than_the_limit_on_files_lets(files: int, databases: int) -> None:
    assert limit_for(files) == databases


def test_databases_that_are_closed_in_the_background_are_whole(store: JobStore) -> None:
    queues = [Queue("c", f"t{n}") for n in range(12)]
    for _ in range(3):
        for queue in queues:
            store.add_many(queue, new(2, topic=queue.topic))
    assert store._databases.open_count() <= 4
    store.close()
    for queue in queues:
        assert (store.path(queue) / "lookup_dump.db" / ".inc").exists()
        with OurDB(store.path(queue), id_of=id_of) as db:
            assert db.next_id == 7
            assert db.check().ok


def test_a_database_closed_without_settling_is_whole(tmp_path: Path) -> None:
    db = OurDB(tmp_path / "db", id_of=id_of)
    db.add(encode(Job(job_id=1)))
    db.close(settle=False)
    assert not (tmp_path / "db" / "lookup_dump.db").exists()
    with OurDB(tmp_path / "db", id_of=id_of) as again:
        assert again.add(encode(Job(job_id=2))) == 2
        assert again.check().ids == 2


def test_a_deletion_may_want_a_version_to_be_the_newest(store: JobStore) -> None:
    store.add_many(Q, new(3))
    seen = [store.tip(Q, id)[1] for id in (1, 2, 3)]
    put(store, 2, status="done")
    compact(store)
    assert store.delete(Q, [1, 2, 3], seen) == [1, 3]
    assert store.get(Q, 2).status == "done"
