"""The index: it says what the files say, whatever has happened to them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herojobs.errors import InvalidJob
from herojobs.job import Job, encode
from herojobs.names import Queue
from herojobs.ourdb import OurDB
from herojobs.settings import load
from herojobs.store import JobIndex, JobStore, Put, catchup, search
from herojobs.store import index as asking
from herojobs.store.base import Progress
from herojobs.store.jobs import id_of
from store.making import Q, compact, ids, new, put


def columns(index: JobIndex) -> dict[int, str]:
    """Return the status of every job as the index has it, without a look at the store."""
    with index._reader.connection() as db:
        return dict(db.execute("SELECT key & 0xFFFFFFFF, status FROM job ORDER BY key"))


def words(index: JobIndex) -> set[int]:
    with index._reader.connection() as db:
        return {key & 0xFFFF_FFFF for (key,) in db.execute("SELECT rowid FROM words")}


def test_the_index_follows_the_files(store: JobStore, index: JobIndex) -> None:
    store.add_many(Q, new(5, created_ms=1_000))
    assert ids(index) == [5, 4, 3, 2, 1]
    put(store, 2, status="done", reason="done")
    store.delete(Q, [4])
    assert ids(index, status="done") == [2]
    assert ids(index, status="new") == index.open_ids(Q)[::-1] == [5, 3, 1]
    compact(store)
    store.add_many(Q, new(1, created_ms=2_000))
    assert ids(index) == [6, 5, 3, 2, 1]


def test_nothing_is_read_or_opened_where_nothing_happened(store: JobStore, index: JobIndex) -> None:
    for n in range(8):
        store.add_many(Queue("c", f"t{n}"), new(1))
    index.catch_up(text=True)
    told: list[Progress] = []
    store.close()
    index.catch_up(progress=told.append, text=True)
    assert told == []
    assert store._databases.open_count() == 0
    store.add_many(Queue("c", "t3"), new(2))
    index.catch_up(progress=told.append)
    assert told == [Progress(Queue("c", "t3"), 2, 3, 8)]


def test_only_what_is_new_is_read(store: JobStore, index: JobIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catchup, "BATCH", 10)
    store.add_many(Q, new(25))
    told: list[Progress] = []
    index.catch_up(progress=told.append)
    assert [each.versions for each in told] == [10, 20, 25]
    put(store, 3, status="done")
    index.catch_up(progress=told.append)
    assert told[-1].versions == 1
    assert columns(index)[3] == "done"


def test_answers_are_what_the_store_says_though_the_index_is_behind(store: JobStore, index: JobIndex) -> None:
    store.add_many(Q, new(3))
    index.catch_up()
    put(store, 2, status="done")
    store.delete(Q, [3])
    assert ids(index, status="new", fresh=False) == [1]
    assert index.open_ids(Q, fresh=False) == [1, 2, 3]


def test_jobs_deleted_before_a_compaction_vanish(store: JobStore, index: JobIndex) -> None:
    """The compaction drops the mark of the deletion, which the index hasn't seen."""
    store.add_many(Q, new(30, tags=["x"]))
    index.catch_up(text=True)
    store.delete(Q, range(1, 30, 2))
    compact(store)
    index.catch_up(text=True)
    assert list(columns(index)) == sorted(words(index)) == list(range(2, 31, 2))
    assert index.counts() == {"new": 15, "active": 0, "error": 0, "done": 0}


def test_an_interrupted_sweep_is_done_again(store: JobStore, index: JobIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add_many(Q, new(6))
    index.catch_up()
    store.delete(Q, [1, 2])
    compact(store)
    with monkeypatch.context() as patch:
        patch.setattr(JobStore, "existing", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            index.catch_up()
    assert len(columns(index)) == 6
    index.catch_up()
    assert list(columns(index)) == [3, 4, 5, 6]


def test_a_compaction_during_a_catch_up(store: JobStore, index: JobIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catchup, "BATCH", 10)
    store.add_many(Q, new(40))
    compacted: list[int] = []

    def then(progress: Progress) -> None:
        if len(compacted) < 2:
            compacted.append(progress.versions)
            store.delete(Q, [len(compacted)])
            put(store, 30 + len(compacted), status="done")
            compact(store, keep=1)

    index.catch_up(progress=then)
    assert compacted == [10, 20]
    assert columns(index) == {id: "done" if id in (31, 32) else "new" for id in range(3, 41)}


def test_a_queue_whose_folder_is_gone_or_another(store: JobStore, index: JobIndex) -> None:
    other = Queue("c", "other")
    store.add_many(Q, new(9))
    store.add_many(other, new(4))
    index.catch_up(text=True)
    store.close()
    store.path(Q).rename(store.path(Q).with_name("aside"))
    store.path(other).rename(store.path(other).with_name("aside"))
    store.add_many(other, new(2))
    index.catch_up(text=True)
    assert list(columns(index)) == [1, 2]
    assert words(index) == {1, 2}


def test_words_are_found(store: JobStore, index: JobIndex) -> None:
    store.add_many(Q, new(12))
    put(store, 3, status="error", error="Zeitüberschreitung: the peer hung up")
    assert ids(index, text="word7") == [8]
    assert ids(index, text="echo WOR") == list(range(12, 0, -1))
    assert ids(index, text="zeituber peer") == [3]
    assert ids(index, text='"peer hung"') == [3]
    assert ids(index, text='"hung peer"') == ids(index, text='"peer hun"') == []
    assert ids(index, text="!!core.echo word1") == [12, 11, 2]
    assert ids(index, text="!!") == list(range(12, 0, -1))
    assert ids(index, text="??") == []
    assert ids(index, text="") == ids(index, text=" ") == list(range(12, 0, -1))
    assert ids(index, text="word7", status="done") == []
    store.delete(Q, [8])
    assert ids(index, text="word7") == []


def test_text_is_indexed_when_somebody_searches_and_leaves_with_its_job(store: JobStore, index: JobIndex) -> None:
    store.add_many(Q, new(3))
    index.catch_up()
    assert words(index) == set()
    assert ids(index, text="word0") == [1]
    assert words(index) == {1, 2, 3}
    store.delete(Q, [1])
    index.catch_up()  # not of text, yet what somebody has deleted is gone
    assert words(index) == {2, 3}


def test_a_search_sees_all_queues_or_those_asked_for(store: JobStore, index: JobIndex) -> None:
    for n in range(5):
        store.add_many(Queue(f"c{n % 2}", f"t{n}"), new(1, circle_id=f"c{n % 2}", topic=f"t{n}", params="needle"))
    assert len(ids(index, text="need")) == 5
    assert len(ids(index, text="need", circle="c1")) == 2
    assert len(ids(index, text="need", topic="T4")) == 1


def test_another_programs_jobs_are_listed(store: JobStore, index: JobIndex) -> None:
    with OurDB(store.path(Q), id_of=id_of) as db:
        db.add(b'{"jobid":0,"circleid":"c","topic":"t","params":"x","params_type":"ai","status":"","time_scheduled":7}')
        db.add(b'{"JOBID":2,"Status":"error","params":null,"time_scheduled":%d}' % (1 << 62))
        db.add(b"no job")
        db.add(b'{"jobid":4,"status":"new"}')
        db.set(4, b"no job any more")
    assert ids(index) == [2, 1]
    assert ids(index, status="error") == [2]
    assert ids(index, kind="ai", since=7_000, until=7_001) == [1]
    assert index.open_ids(Q) == [1]


def test_odd_conditions_find_nothing(store: JobStore, index: JobIndex) -> None:
    store.add_many(Q, new(1, tags=["%"]))
    for odd in ("\ud800", "a\0b", "'; DROP TABLE job; --", "", "%%"):
        for name in ("kind", "reason", "tag"):
            assert ids(index, **{name: odd}) == ([1] if (name, odd) == ("reason", "") else [])
    assert ids(index, tag="%") == [1]


def test_session_keys_are_not_in_the_index(store: JobStore, index: JobIndex) -> None:
    store.add_many(Q, new(3, session_key="verysecret"))
    index.catch_up(text=True)
    assert ids(index, session_key="verysecret") == [3, 2, 1]
    index.close()
    assert all(b"verysecret" not in path.read_bytes() for path in store.index_path.parent.glob("index*"))


def test_a_thread_does_not_wait_long_for_another_that_catches_up(store: JobStore, index: JobIndex) -> None:
    store.add_many(Q, new(3))
    begun, go_on = threading.Event(), threading.Event()

    def hold(_: Progress) -> None:
        begun.set()
        assert go_on.wait(60)

    holding = threading.Thread(target=index.catch_up, kwargs={"progress": hold})
    holding.start()
    assert begun.wait(60)
    other = JobIndex(store)  # as another process would
    assert index.catch_up(wait=0) is False
    assert other.catch_up(wait=0) is False
    assert other.open_ids(Q, fresh=False) == [1, 2, 3]
    go_on.set()
    holding.join()
    assert index.catch_up(wait=0) is True
    other.close()


Step = tuple[str, int]


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from(["add", "end", "delete", "compact", "look", "text", "lose"]),
                                st.integers(1, 12)), max_size=25))  # fmt: skip
def test_whatever_happens_the_index_says_what_the_store_says(
    steps: list[Step], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = JobStore(load({}, home=tmp_path_factory.mktemp("steps"), sync="never"))
    index = JobIndex(store)
    model: dict[int, str] = {}
    highest = 0
    for what, number in [*steps, ("text", 1), ("look", 1)]:
        if what == "add":
            store.add_many(Q, jobs := new(number))
            model |= {job.job_id: "new" for job in jobs}
            highest = jobs[-1].job_id
        elif what == "end" and number in model:
            put(store, number, status="done", result=f"result{number}")
            model[number] = "done"
        elif what == "delete":
            assert store.delete(Q, [number]) == ([number] if model.pop(number, None) else [])
        elif what == "compact" and highest:
            compact(store, keep=1)
        elif what == "lose":
            index.close()
            store.index_path.unlink(missing_ok=True)
        elif what == "look":
            assert ids(index) == sorted(model, reverse=True)
            assert columns(index) == dict(sorted(model.items()))
            assert index.open_ids(Q) == [id for id in sorted(model) if model[id] == "new"]
        elif what == "text":
            done = [id for id in sorted(model, reverse=True) if model[id] == "done" and f"{id}".startswith("1")]
            assert ids(index, text="result1") == done
    index.close()
    store.close()


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobIndex]:
    store = JobStore(load({}, home=tmp_path_factory.mktemp("search")))
    store.add_many(Q, new(3))
    made = JobIndex(store)
    yield made
    made.close()
    store.close()


@settings(deadline=None)
@given(text=st.one_of(st.text(), st.text(alphabet='"*^:(){}+-NEARORANDT \0\ud800a,'), st.sampled_from(
    ['"', '""', "NEAR(a b)", "params:x", "a OR", "NOT a", "^a", "a*", "*", "-a", "{a b}:c", "a.b" * 300, "a " * 900]
)))  # fmt: skip
def test_no_text_is_a_syntax_error(text: str, searched: JobIndex) -> None:
    for job in searched.find(text=text).jobs:
        assert not text.strip() or search.parse(text).fits(job)


@settings(deadline=None)
@given(params=st.text(min_size=1, max_size=40))
def test_a_job_is_found_by_every_word_of_its_own(params: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """As far as the index and Python agree on what a letter is, which for ASCII and Latin they do."""
    store = JobStore(load({}, home=tmp_path_factory.mktemp("own"), sync="never"))
    index = JobIndex(store)
    params = "".join(each for each in params if ord(each) < 0x180)
    store.add_many(Q, [Job(params=params + " end")])
    for word in [*params.replace("\0", " ").split(), "end"]:
        assert ids(index, text=word) == [1], word
    index.close()
    store.close()


def test_too_long_a_text_is_told(index: JobIndex) -> None:
    with pytest.raises(InvalidJob, match="at most 2,000"):
        index.find(text="a" * 2_001)


def test_pages_of_one_job_each(store: JobStore, index: JobIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "MAX_LIMIT", 2)
    store.add_many(Q, new(9, session_key="you"))
    store.add_many(Q, new(1, session_key="me", created_ms=0))
    assert ids(index, session_key="me", limit=1) == [10]
    assert len(ids(index, session_key="you", limit=2)) == 2


def test_a_version_over_another_in_one_batch_counts_once(store: JobStore, index: JobIndex, tmp_path: Path) -> None:
    store.add_many(Q, new(1))
    for status in ("active", "new", "active", "error"):
        store.put_many(Q, [Put(1, encode(Job(job_id=1, status=status)), None)])
    index.catch_up()
    assert columns(index) == {1: "error"}
