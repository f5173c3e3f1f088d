"""Taking in databases of other programs, and of ours under a raw name."""

from __future__ import annotations

from pathlib import Path

import pytest

from herojobs.errors import JobConflict
from herojobs.job import Job, encode
from herojobs.names import Queue
from herojobs.ourdb import OurDB
from herojobs.store import JobIndex, JobStore
from herojobs.store import imports as importing
from herojobs.store.imports import import_database, raw_databases
from store.making import Q, ids


def made(folder: Path, *records: bytes) -> Path:
    with OurDB(folder, dump=False) as db:
        db.add_many(list(records))
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*.db") if each.is_file()}


def test_every_job_of_a_program_that_gives_all_the_same_id(store: JobStore, index: JobIndex, tmp_path: Path) -> None:
    """Side by side, each with id 1; the original's first versions say 0 (OurDB format B3, B11)."""
    path = tmp_path / "raw"
    with OurDB(path, incremental=False, dump=False) as db:
        for n in range(3):
            for status in ("new", "active", "done"):
                named = b"%d" % (status != "new")
                db.set(n, b'{"jobid":%b,"params":"p%d","params_type":"ai","status":"%b"}' % (named, n, status.encode()))
    before = files(path)
    imported = import_database(store, path, Q)
    assert (imported.jobs, imported.ended, imported.unreadable) == (3, 0, 0)
    assert imported.renumbered == [(0, 1), (0, 2), (0, 3)]
    assert [(job.job_id, job.params, job.status, job.queue) for job in store.get_many(Q, [1, 2, 3]) if job] == [
        (n + 1, f"p{n}", "done", Q) for n in range(3)
    ]
    assert [job.status for job in store.history(Q, 2)] == ["new", "active", "done"]
    assert files(path) == before
    assert ids(index, status="done") == [3, 2, 1]


def test_ids_are_kept_where_they_are_free(store: JobStore, tmp_path: Path) -> None:
    jobs = [encode(Job(job_id=id, params=f"p{id}", status="done")) for id in (2, 7, 7, 4_000_000_000, 9)]
    imported = import_database(store, made(tmp_path / "old", *jobs), Q)
    assert imported.renumbered == [(7, 8), (4_000_000_000, 9), (9, 10)]
    assert store.get(Q, 7).params == store.get(Q, 8).params == "p7"
    assert not store.doubtful(Q)


@pytest.mark.parametrize("run_open", [False, True])
def test_jobs_that_waited_for_years_run_only_if_wanted(store: JobStore, tmp_path: Path, run_open: bool) -> None:
    path = made(tmp_path / "old", encode(Job(job_id=1, params="x")), encode(Job(job_id=2, params="x", status="active")))
    imported = import_database(store, path, Q, run_open=run_open)
    assert imported.ended == (0 if run_open else 2)
    assert [job.reason for job in store.get_many(Q, [1, 2]) if job] == (["", ""] if run_open else ["lost", "lost"])


def test_deleted_jobs_stay_deleted_and_rubbish_is_counted(store: JobStore, tmp_path: Path) -> None:
    path = made(tmp_path / "old", *(encode(Job(job_id=id, params="x", status="done")) for id in (1, 2)), b"rubbish")
    with OurDB(path, dump=False) as db:
        db.delete(1)
    imported = import_database(store, path, Q)
    assert (imported.jobs, imported.unreadable) == (1, 1)
    assert store.get_many(Q, [1]) == [None]


def test_raw_names_are_found_with_the_queue_they_mean(store: JobStore, tmp_path: Path) -> None:
    circles = tmp_path / "var" / "circles"
    raw = made(circles / "My Circle" / "reports" / "jobsdb", encode(Job(job_id=1, params="x", status="done")))
    nameless = made(circles / "é" / "t" / "jobsdb", b"x")
    made(circles / "c" / "t" / "jobsdb", b"x")
    assert raw_databases(circles) == [(raw, Queue("my_circle", "reports")), (nameless, None)]
    (path, queue), _ = raw_databases(circles)
    assert queue is not None
    assert import_database(store, path, queue).jobs == 1
    assert store.get(queue, 1).circle_id == "my_circle"


def test_a_queue_that_has_jobs_is_left_alone(store: JobStore, tmp_path: Path) -> None:
    store.add_many(Q, [Job(params="mine")])
    with pytest.raises(JobConflict, match="c/t has jobs"):
        import_database(store, made(tmp_path / "old", b"x"), Q)
    assert store.get(Q, 1).params == "mine"
    with pytest.raises(FileNotFoundError, match=r"0\.db"):
        import_database(store, tmp_path / "none", Queue("c", "new"))


def test_an_import_that_fails_half_way_leaves_nothing(
    store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(tmp_path / "old", *(encode(Job(job_id=id, params="x", status="done")) for id in range(1, 9)))
    add = importing._add

    def fail(new: OurDB, wanted: int, job: Job) -> int:
        if wanted == 5:
            raise OSError("disk on fire")
        return add(new, wanted, job)

    monkeypatch.setattr(importing, "_add", fail)
    with pytest.raises(OSError, match="on fire"):
        import_database(store, path, Q)
    assert store.queues() == []
    assert not list(store.path(Q).parent.iterdir())
    monkeypatch.undo()
    assert import_database(store, path, Q).jobs == 8
