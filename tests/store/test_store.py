"""The history of jobs and its index."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herojobs.errors import InvalidJob, JobConflict, JobNotFound, ParamsTooLarge
from herojobs.job import Job, encode
from herojobs.names import Queue
from herojobs.settings import load
from herojobs.store import JobIndex, JobStore, Put
from herojobs.store.imports import import_database
from herojobs.store.jobs import id_of

Q = Queue("c", "t")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    made = JobStore(load({}, home=tmp_path), max_open=4)
    yield made
    made.close()


def jobs(count: int, **fields: object) -> list[Job]:
    return [Job(params=f"!!core.echo content:word{n}", circle_id="C", topic="t", **fields) for n in range(count)]  # type: ignore[arg-type]


def test_new_jobs_get_ids_and_their_json_holds_them(store: JobStore) -> None:
    new = jobs(3)
    written = store.add_many(Q, new)
    assert [job.job_id for job in new] == [1, 2, 3]
    assert written == [encode(job) for job in new]
    assert store.get_many(Q, [3, 9, 1]) == [new[2], None, new[0]]
    assert store.queues() == [Q]


def test_a_job_that_cannot_be_stored_stores_none(store: JobStore) -> None:
    for bad, error in ((Job(params="\ud800"), InvalidJob), (Job(params="x" * 17_000_000), ParamsTooLarge)):
        new = [*jobs(2), bad]
        with pytest.raises(error):
            store.add_many(Q, new)
        assert [job.job_id for job in new] == [0, 0, 0]
    assert store.add_many(Q, jobs(1))
    assert store.get(Q, 1)


def test_of_two_that_follow_the_same_version_one_is_accepted(store: JobStore) -> None:
    (job,) = new = jobs(1)
    store.add_many(Q, new)
    _, position = store.tip(Q, 1)
    first, second = (encode(Job(job_id=1, result=result)) for result in "ab")
    (accepted,) = store.put_many(Q, [Put(1, first, position)])
    assert store.put_many(Q, [Put(1, second, position), Put(7, second, None)]) == [None, None]
    assert store.put_many(Q, [Put(1, second, accepted)])[0] is not None
    assert [version.result for version in store.history(Q, 1)] == ["", "a", "b"]
    assert job.result == ""


def test_a_compaction_between_two_versions_changes_nothing(store: JobStore) -> None:
    store.add_many(Q, jobs(2))
    store.put_many(Q, [Put(1, encode(Job(job_id=1, status="active")), None)])
    _, position = store.tip(Q, 1)
    stale = store.tip(Q, 2)[1]
    store.put_many(Q, [Put(2, encode(Job(job_id=2, status="active")), stale)])
    with store._databases.use(Q) as db:
        db.compact()
    done = encode(Job(job_id=1, status="done"))
    assert store.put_many(Q, [Put(1, done, position), Put(2, done, stale)])[0] is not None
    assert store.get(Q, 1).status == "done"
    assert store.get(Q, 2).status == "active"


def test_foreign_ids_are_kept_where_they_are_free(store: JobStore) -> None:
    store.add_many(Q, jobs(1))
    tip = store.put_at(Q, 5, Job(params="x"))
    assert store.tip(Q, 5)[1] == tip.position
    with pytest.raises(JobConflict):
        store.put_at(Q, 5, Job(params="y"))
    assert store.add_many(Q, jobs(1))
    assert store.get(Q, 6)


def test_deleting_takes_history_and_log(store: JobStore) -> None:
    store.add_many(Q, jobs(2))
    log = store.log_path(Q, 1)
    log.parent.mkdir(parents=True)
    log.write_text("x")
    assert store.delete(Q, [1, 9]) == [1]
    assert not log.exists()
    for look in (store.get, store.history, store.tip):
        with pytest.raises(JobNotFound, match="c/t/1"):
            look(Q, 1)


def test_looking_makes_no_folder(store: JobStore, tmp_path: Path) -> None:
    with pytest.raises(JobNotFound):
        store.get(Queue("no", "such"), 1)
    assert store.tips(Queue("no", "such"), [1]) == [None]
    assert not list(tmp_path.glob("**/jobsdb"))


def test_many_queues_need_few_open_databases(store: JobStore) -> None:
    queues = [Queue("c", f"t{n}") for n in range(60)]
    for queue in queues:
        store.add_many(queue, jobs(1))
    assert store._databases.open_count() <= 4
    assert all(store.get(queue, 1).job_id == 1 for queue in queues)


def test_a_second_spelling_is_told_once(store: JobStore) -> None:
    store.add_many(Q, jobs(1))
    assert store.remember_spelling(Q, "C", "t") == []
    warnings = store.remember_spelling(Q, "c!", "t")
    assert len(warnings) == 1
    assert "'c!'" in warnings[0]
    assert store.remember_spelling(Q, "c!", "t") == []
    assert store.spelling(Q) == ("C", "t")


def test_a_foreign_database_is_imported(store: JobStore, tmp_path: Path) -> None:
    store.add_many(Q, jobs(3))
    store.close()
    raw = tmp_path / "var" / "circles" / "My Circle" / "jobsdb"
    raw.parent.mkdir(parents=True)
    store.path(Q).rename(raw)
    fresh = JobStore(load({}, home=tmp_path))
    assert import_database(fresh, raw, Q).jobs == 3
    assert fresh.get(Q, 2).params.endswith("word1")
    with pytest.raises(JobConflict):
        import_database(fresh, raw, Q)
    fresh.close()


@given(st.integers(0, 2**32 - 1), st.text(max_size=10))
def test_the_id_is_read_from_any_job(id: int, text: str) -> None:
    assert id_of(encode(Job(job_id=id, params=text))) == id


def test_rubbish_has_no_id() -> None:
    assert id_of(b"\xff{") == id_of(b"[]") == id_of(b"") == 0


@pytest.fixture
def index(store: JobStore) -> Iterator[JobIndex]:
    made = JobIndex(store)
    yield made
    made.close()


def found(index: JobIndex, **conditions: object) -> list[int]:
    return [job.job_id for job in index.find(**conditions).jobs]  # type: ignore[arg-type]


def test_the_index_follows_the_files(store: JobStore, index: JobIndex) -> None:
    store.add_many(Q, jobs(5, created_ms=1_000))
    assert found(index) == [5, 4, 3, 2, 1]
    store.put_many(Q, [Put(2, encode(Job(job_id=2, status="done", reason="done", created_ms=1_000)), None)])
    store.delete(Q, [4])
    assert found(index, status="done") == [2]
    assert found(index, status="new") == [5, 3, 1]
    assert index.open_ids(Q) == [1, 3, 5]
    assert index.counts(circle="c") == {"new": 3, "active": 0, "done": 1, "error": 0}
    with store._databases.use(Q) as db:
        db.compact()
    store.add_many(Q, jobs(1, created_ms=2_000))
    assert found(index) == [6, 5, 3, 2, 1]
    assert found(index, since=1_500) == [6]
    assert found(index, until=1_500) == [5, 3, 2, 1]


def test_words_are_found_and_no_text_is_a_syntax_error(store: JobStore, index: JobIndex) -> None:
    store.add_many(Q, jobs(12))
    assert found(index, text="word7") == [8]
    assert found(index, text="echo wor") == list(range(12, 0, -1))
    store.delete(Q, [8])
    assert found(index, text="word7") == []


@given(text=st.text(max_size=20))
def test_any_text_can_be_searched(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    store = JobStore(load({}, home=tmp_path_factory.getbasetemp() / "search"))
    index = JobIndex(store)
    assert index.find(text=text).jobs == []
    index.close()
    store.close()


@pytest.mark.parametrize("harm", ["deleted", "rubbish", "another version"])
def test_a_lost_index_is_made_anew(store: JobStore, index: JobIndex, harm: str) -> None:
    store.add_many(Q, jobs(3))
    assert len(found(index)) == 3
    index.close()
    if harm == "deleted":
        store.index_path.unlink()
    elif harm == "rubbish":
        store.index_path.write_bytes(b"rubbish" * 1000)
    else:
        with sqlite3.connect(store.index_path) as db:
            db.execute("PRAGMA user_version = 99")
        db.close()
    assert len(found(index)) == 3


def test_session_keys_are_not_in_the_index(store: JobStore, index: JobIndex) -> None:
    store.add_many(Q, jobs(3, session_key="verysecret"))
    index.catch_up(text=True)
    index.close()
    assert all(b"verysecret" not in path.read_bytes() for path in store.index_path.parent.glob("index.sqlite3*"))


def test_a_catch_up_that_is_killed_is_gone_on_with(store: JobStore, index: JobIndex, tmp_path: Path) -> None:
    store.add_many(Q, jobs(20_000))
    code = (
        "import sys\nfrom pathlib import Path\nfrom herojobs.settings import load\n"
        "from herojobs.store import JobIndex, JobStore\n"
        "index = JobIndex(JobStore(load({}, home=Path(sys.argv[1]))))\n"
        "index.catch_up(progress=lambda _: print(flush=True))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()
    assert len(index.open_ids(Q)) == 20_000
