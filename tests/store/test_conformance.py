"""The contract of `herojobs.store.base`, for every store: a new one is a line in STORES."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herojobs.errors import InvalidJob, JobConflict, JobNotFound, ParamsTooLarge
from herojobs.job import Job, decode, encode
from herojobs.names import Queue
from herojobs.settings import load
from herojobs.store import JobIndex, JobStore, Position, Put
from herojobs.store.base import Index, Store
from store.making import Q, new

Made = tuple[Store, Index]


def ourdb(home: Path) -> Made:
    store = JobStore(load({}, home=home))
    return store, JobIndex(store)


STORES: list[Callable[[Path], Made]] = [ourdb]


@pytest.fixture(params=STORES, ids=lambda make: make.__name__)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Made]:
    store, index = request.param(tmp_path)
    yield store, index
    index.close()
    store.close()


@pytest.fixture
def store(made: Made) -> Store:
    return made[0]


@pytest.fixture
def index(made: Made) -> Index:
    return made[1]


def position(store: Store, id: int) -> Position:
    return store.tip(Q, id)[1]


def test_new_jobs_get_ids_and_their_json_holds_them(store: Store) -> None:
    jobs = new(3)
    written = store.add_many(Q, jobs)
    assert [job.job_id for job in jobs] == [1, 2, 3]
    assert written == [encode(job) for job in jobs]
    assert [tip and tip.data for tip in store.tips(Q, [1, 2, 3])] == written
    assert store.get_many(Q, [3, 9, 1]) == [jobs[2], None, jobs[0]]
    assert store.queues() == [Q]


def test_no_job_is_no_write(store: Store) -> None:
    assert store.add_many(Q, []) == []
    assert store.put_many(Q, []) == []
    assert store.get_many(Q, []) == store.tips(Q, []) == []


@pytest.mark.parametrize("field", ["params", "session_key", "tags"])
def test_text_that_cannot_be_encoded_stores_nothing_and_changes_no_job(store: Store, field: str) -> None:
    bad = Job(params="x", job_id=77)
    setattr(bad, field, ["ok", "a\ud800b"] if field == "tags" else "a\ud800b")
    jobs = [*new(2), bad, *new(1)]
    before = [job.job_id for job in jobs]
    with pytest.raises(InvalidJob, match=f"^{field}"):
        store.add_many(Q, jobs)
    assert [job.job_id for job in jobs] == before
    store.add_many(Q, jobs := new(1))
    assert jobs[0].job_id == 1


def test_a_job_over_the_limit_stores_nothing_and_changes_no_job(store: Store) -> None:
    jobs = [*new(2), Job(params="x" * 17_000_000)]
    with pytest.raises(ParamsTooLarge, match="bytes"):
        store.add_many(Q, jobs)
    assert [job.job_id for job in jobs] == [0, 0, 0]
    store.add_many(Q, jobs[:1])
    with pytest.raises(ParamsTooLarge):
        store.put_many(Q, [Put(1, encode(Job(job_id=1, result="x" * 17_000_000)), None)])
    with pytest.raises(ParamsTooLarge):
        store.put_at(Q, 9, jobs[2])
    assert jobs[2].job_id == 0
    assert len(store.history(Q, 1)) == 1


def test_of_two_that_follow_the_same_version_one_is_accepted(store: Store) -> None:
    store.add_many(Q, new(1))
    seen = position(store, 1)
    first, second = (encode(Job(job_id=1, result=result)) for result in "ab")
    (accepted,) = store.put_many(Q, [Put(1, first, seen)])
    assert accepted == position(store, 1)
    assert store.put_many(Q, [Put(1, second, seen), Put(7, second, None)]) == [None, None]
    assert store.put_many(Q, [Put(1, second, accepted)]) == [position(store, 1)]
    assert [version.result for version in store.history(Q, 1)] == ["", "a", "b"]


def test_threads_that_end_the_same_jobs_end_each_once(store: Store) -> None:
    store.add_many(Q, new(200))
    tips = store.tips(Q, range(1, 201))
    together = threading.Barrier(4)
    accepted: list[list[int]] = []

    def end(name: int) -> None:
        puts = [Put(id, encode(Job(job_id=id, status="done", result=str(name))), tip.position)
                for id, tip in enumerate(tips, 1) if tip]  # fmt: skip
        together.wait()
        taken = []
        for start in range(0, 200, 20):
            part = puts[start : start + 20]
            taken += [each.id for each, at in zip(part, store.put_many(Q, part), strict=True) if at is not None]
        accepted.append(taken)

    threads = [threading.Thread(target=end, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(id for taken in accepted for id in taken) == list(range(1, 201))
    assert all(len(store.history(Q, id)) == 2 for id in range(1, 201))


def test_a_deleted_job_takes_no_version(store: Store) -> None:
    store.add_many(Q, new(2))
    seen = position(store, 1)
    data = encode(Job(job_id=1))
    assert store.delete(Q, [1]) == [1]
    assert store.put_many(Q, [Put(1, data, seen), Put(1, data, None)]) == [None, None]
    store.add_many(Q, jobs := new(1))
    assert jobs[0].job_id == 3


def test_deleting_takes_history_and_log(store: Store) -> None:
    store.add_many(Q, new(2))
    log = store.log_path(Q, 1)
    log.parent.mkdir(parents=True)
    log.write_text("x")
    assert store.delete(Q, [1, 9]) == [1]
    assert not log.exists()
    for look in (store.get, store.history, store.tip):
        with pytest.raises(JobNotFound, match="c/t/1"):
            look(Q, 1)
    assert store.get_many(Q, [1, 2])[0] is None


def test_foreign_ids_are_kept_where_they_are_free(store: Store) -> None:
    store.add_many(Q, new(1))
    job = Job(params="x")
    tip = store.put_at(Q, 5, job)
    assert job.job_id == 5
    assert tip == store.tips(Q, [5])[0]
    for taken in (1, 3, 5):
        with pytest.raises(JobConflict, match=f"c/t/{taken}"):
            store.put_at(Q, taken, other := Job(params="y"))
        assert other.job_id == 0
    store.add_many(Q, jobs := new(1))
    assert jobs[0].job_id == 6


def test_looking_at_what_is_not_there_makes_nothing(store: Store) -> None:
    queue = Queue("no", "such")
    with pytest.raises(JobNotFound):
        store.get(queue, 1)
    with pytest.raises(JobNotFound):
        store.history(queue, 1)
    assert store.tips(queue, [1]) == store.get_many(queue, [1]) == [None]
    assert store.put_many(queue, [Put(1, b"{}", None)]) == [None]
    assert store.delete(queue, [1]) == []
    assert store.queues() == []


def test_a_second_spelling_is_told_once(store: Store) -> None:
    store.add_many(Q, new(1))
    assert store.remember_spelling(Q, "C", "t") == []
    (warning,) = store.remember_spelling(Q, " c", "t")
    assert "' c'" in warning
    assert "'C'" in warning
    assert store.remember_spelling(Q, " c", "t") == []
    assert store.spelling(Q) == ("C", "t")
    assert store.spelling(Queue("no", "such")) == ("no", "such")


@settings(max_examples=40, deadline=None)
@given(
    jobs=st.lists(
        st.builds(Job, params=st.text(), result=st.text(), error=st.text(), tags=st.lists(st.text())), max_size=5
    )
)
def test_what_was_stored_is_what_is_read(jobs: list[Job], tmp_path_factory: pytest.TempPathFactory) -> None:
    for make in STORES:
        store, index = make(tmp_path_factory.mktemp("any"))
        for job in jobs:
            job.circle_id, job.topic = Q
        written = store.add_many(Q, jobs)
        assert store.get_many(Q, [job.job_id for job in jobs]) == jobs == [decode(data) for data in written]
        index.close()
        store.close()


def test_questions_over_many_jobs(store: Store, index: Index) -> None:
    other = Queue("c", "other")
    store.add_many(Q, new(3, created_ms=1_000, tags=["a,b"]))
    store.add_many(other, new(2, topic="other", created_ms=2_000, params_type="ai", session_key="me"))
    done = encode(Job(job_id=2, circle_id="c", topic="t", status="done", reason="done", created_ms=1_000))
    store.put_many(Q, [Put(2, done, position(store, 2))])

    def refs(**conditions: object) -> list[str]:
        return [str(job.ref) for job in index.find(**conditions).jobs]  # type: ignore[arg-type]

    assert refs() == ["c/other/2", "c/other/1", "c/t/3", "c/t/2", "c/t/1"]
    assert refs(circle=" C") == refs()
    assert refs(topic="T") == ["c/t/3", "c/t/2", "c/t/1"]
    assert refs(circle="nobody") == refs(status="active") == refs(tag="a") == []
    assert refs(status="done") == refs(reason="done") == ["c/t/2"]
    assert refs(kind="ai") == refs(since=1_001) == refs(session_key="me") == ["c/other/2", "c/other/1"]
    assert refs(tag="a,b", until=2_000) == ["c/t/3", "c/t/1"]
    assert refs(text="word1") == ["c/other/2"]
    assert index.open_ids(Q) == [1, 3]
    assert index.open_ids(Queue("no", "such")) == []
    assert index.counts() == {"new": 4, "active": 0, "error": 0, "done": 1}
    assert index.counts(topic="t") == {"new": 2, "active": 0, "error": 0, "done": 1}
    assert sum(index.counts(circle="nobody").values()) == 0


def test_pages_follow_each_other_without_gap_or_repeat(store: Store, index: Index) -> None:
    queues = [Queue("c", name) for name in ("x", "y", "z")]
    for queue in queues:
        store.add_many(queue, new(7, topic=queue.topic, created_ms=5))  # all at the same time
    seen: list[str] = []
    cursor = None
    while True:
        page = index.find(limit=4, before=cursor)
        seen += [str(job.ref) for job in page.jobs]
        cursor = page.cursor
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 21


def test_a_page_is_full_though_few_jobs_fit(store: Store, index: Index) -> None:
    for n in range(10):
        store.add_many(Q, new(150, created_ms=n, session_key="me" if n in (0, 9) else "you"))
    page = index.find(session_key="me", limit=200)
    assert len(page.jobs) == 200
    assert len(index.find(session_key="me", limit=200, before=page.cursor).jobs) == 100


@pytest.mark.parametrize(
    ("conditions", "names"),
    [
        ({"status": "don"}, "did you mean 'done'"),
        ({"limit": 0}, "1 to 1000"),
        ({"limit": 1001}, "1 to 1000"),
        ({"before": "x"}, "cursor"),
        ({"before": "1.²"}, "cursor"),
        ({"circle": "..."[:2]}, "circle_id"),
        ({"text": "x" * 5_000}, "5,000 characters"),
    ],
)
def test_impossible_conditions_are_named(index: Index, conditions: dict[str, object], names: str) -> None:
    with pytest.raises(InvalidJob, match=names):
        index.find(**conditions)  # type: ignore[arg-type]
