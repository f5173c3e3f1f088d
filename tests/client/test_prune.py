"""Jobs that have been over for long are deleted, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from client.test_clients import ECHO, Twin, given, work  # noqa: F401 - fixtures
from herojobs import HeroJobs
from herojobs.client import prune
from herojobs.errors import InvalidJob, JobNotFound
from herojobs.job import encode, now_ms
from herojobs.names import Queue
from herojobs.store import JobStore, Put

DAY = 86_400


@pytest.fixture(params=["sync", "async"])
def hero(request: pytest.FixtureRequest, given: dict[str, Any]) -> Iterator[Any]:  # noqa: F811
    twin = Twin(request.param, given)
    yield twin
    twin.close_all()


def age(home: Path, queue: Queue, days: dict[int, float]) -> None:
    """Have jobs have been submitted, and have ended, some days ago."""
    from herojobs.settings import load

    store = JobStore(load({}, home=home))
    for id, since in days.items():
        job, position = store.tip(queue, id)
        job.created_ms = now_ms() - int(since * prune.DAY_MS)
        if job.is_over:
            job.ended_ms = job.created_ms
            job.time_end = job.ended_ms // 1000
        assert store.put_many(queue, [Put(id, encode(job), position)])[0]
        path = store.log_path(queue, id)
        if path.exists():
            import os

            os.utime(path, (job.created_ms / 1000,) * 2)
    store.close()


@pytest.fixture
def ended(hero: Any, work: Callable[[], int], given: dict[str, Any]) -> Any:  # noqa: F811
    """Six jobs of two topics: 1, 3 done, 2 failed long ago; 4 done just now, 5 waits since long; u/1 done long ago."""
    hero.submit_many(
        [{"params": p, "circle_id": "C", "topic": "t", "log": True} for p in (ECHO, "!!fake.return_error", ECHO, ECHO)]
        + [{"params": ECHO, "circle_id": "C", "topic": "u"}]
    )
    assert work() == 5
    hero.submit(ECHO, circle_id="C", topic="t", at=4_070_908_800)
    age(given["home"], Queue("c", "t"), {1: 40, 2: 40, 3: 20, 5: 40})
    age(given["home"], Queue("c", "u"), {1: 40})
    return hero


def left(hero: Any) -> list[str]:
    return sorted(str(job.ref) for job in hero.list(limit=100))


def test_only_what_is_over_for_longer_goes_with_history_log_and_hash(
    ended: Any,
    given: dict[str, Any],  # noqa: F811
) -> None:
    logs = given["home"] / "var" / "circles" / "c" / "t" / "logs"
    logs.mkdir(exist_ok=True)
    for id in range(1, 6):
        (logs / f"{id}.log").write_text("x")
    assert ended.prune(older_than=30 * DAY, dry_run=True).jobs == 3
    assert len(left(ended)) == 6
    assert ended.prune(older_than=timedelta(days=30)) == (3, 0, 0)
    assert left(ended) == ["c/t/3", "c/t/4", "c/t/5"]
    assert sorted(path.name for path in logs.iterdir()) == ["3.log", "4.log", "5.log"]
    for look in (ended.get, ended.history):
        with pytest.raises(JobNotFound):
            look("c/t/1")
    assert ended.prune(older_than=30 * DAY).jobs == 0
    assert ended.prune(older_than=0).jobs == 2
    assert left(ended) == ["c/t/5"]


def test_conditions(ended: Any) -> None:
    assert ended.prune(older_than=DAY, topic="T", status="error", dry_run=True).jobs == 1
    assert ended.prune(older_than=DAY, circle_id=" C", topic="u").jobs == 1
    assert ended.prune(older_than=DAY, circle_id="nobody").jobs == 0
    assert ended.prune(older_than=DAY, status="done").jobs == 2
    assert left(ended) == ["c/t/2", "c/t/4", "c/t/5"]
    with pytest.raises(InvalidJob, match="did you mean 'done'"):
        ended.prune(status="don")
    with pytest.raises(InvalidJob, match="older_than"):
        ended.prune(older_than=-1)


def test_settings_tell_it_by_circle(ended: Any, given: dict[str, Any]) -> None:  # noqa: F811
    assert ended.prune() == (0, 0, 0), "for ever by default"
    with HeroJobs(**given, retention=30, circle_retention={"other": 10}) as other:
        assert other.prune(dry_run=True).jobs == 3
    with HeroJobs(**given, retention=30, circle_retention={"c": 0}) as other:
        assert other.prune().jobs == 0
    with HeroJobs(**given, circle_retention={" C": 10}) as other:
        assert other.prune(topic="t").jobs == 3


def test_logs_go_before_their_jobs(ended: Any, given: dict[str, Any]) -> None:  # noqa: F811
    logs = given["home"] / "var" / "circles" / "c" / "t" / "logs"
    logs.mkdir(exist_ok=True)
    for id in (1, 4, 5, 99):
        (logs / f"{id}.log").write_text("x")
    age(given["home"], Queue("c", "t"), {1: 40, 5: 40})
    with HeroJobs(**given, log_retention=30) as other:
        assert other.prune() == (0, 1, 0)
        assert (logs / "5.log").exists(), "it isn't over"
        assert other.get("c/t/1").is_over
    with HeroJobs(**given, circle_log_retention={"c": 1e-9}) as other:
        assert other.prune(dry_run=True).logs == 2
        assert other.prune().logs == 2, "the log of job 4, and one that no job has"
    assert [path.name for path in logs.iterdir()] == ["5.log"]


def test_a_job_that_is_retried_in_this_moment_stays(
    ended: Any,
    given: dict[str, Any],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tips = JobStore.tips

    def retried_after(self: JobStore, queue: Queue, ids: Any) -> Any:
        found = tips(self, queue, ids)
        if 2 in ids:
            monkeypatch.undo()
            with HeroJobs(**given) as other:
                other.retry("c/t/2")
        return found

    monkeypatch.setattr(JobStore, "tips", retried_after)
    assert ended.prune(older_than=30 * DAY, topic="t").jobs == 1
    assert left(ended)[0] == "c/t/2"
    assert ended.get("c/t/2").status == "new"


def test_many_are_deleted_in_batches_and_the_disk_is_given_back(
    hero: Any,
    work: Callable[[], int],  # noqa: F811
    given: dict[str, Any],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from herojobs.ourdb import compact

    monkeypatch.setattr(compact, "MIN_GARBAGE", 10_000)
    hero.submit_many([{"params": ECHO, "circle_id": "c", "topic": "t"} for _ in range(1_200)])
    work()
    data = given["home"] / "var" / "circles" / "c" / "t" / "jobsdb" / "0.db"
    before = data.stat().st_size
    assert hero.prune(older_than=0) == (1_200, 0, 1)
    assert data.stat().st_size < before / 100
    assert left(hero) == []
    assert str(hero.submit(ECHO, circle_id="c", topic="t").ref) == "c/t/1201"
