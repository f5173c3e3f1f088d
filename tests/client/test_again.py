"""Jobs are run once more: singly, in bulk, as copies."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from client.test_clients import ECHO, given, hero, work  # noqa: F401 - fixtures
from herojobs.errors import InvalidJob, JobNotFound


def test_all_that_failed_go_again_in_their_order(hero: Any, work: Callable[[], int]) -> None:  # noqa: F811
    fields = {"params": "!!fake.return_error", "circle_id": "c"}
    hero.submit_many([fields | {"topic": "t"} for _ in range(1200)] + [fields | {"topic": "u"}])
    cancelled = hero.submit(ECHO, circle_id="c", topic="t")
    hero.cancel(cancelled)
    assert work() == 1201
    assert hero.retry_many(circle_id="c", topic="t", since=datetime.now(UTC) + timedelta(hours=1)) == []
    queued = hero.retry_many(circle_id="C", topic="T", reason="failed")
    assert sorted(ref.id for ref in queued) == list(range(1, 1201))
    assert [q.waiting for q in hero.queues("c")] == [1200, 0]
    assert hero.get("c/t/1").status == "new"
    assert work() == 1200
    assert len(hero.history("c/t/7")) == 6
    assert len(hero.retry_many()) == 1201, "not the cancelled one"
    assert [str(ref) for ref in hero.retry_many(reason="cancelled")] == [str(cancelled.ref)]
    with pytest.raises(InvalidJob, match="did you mean 'failed'"):
        hero.retry_many(reason="faild")


def test_a_duplicate_is_a_new_job(hero: Any, work: Callable[[], int]) -> None:  # noqa: F811
    job = hero.submit("!!fake.return_error", circle_id="c", priority=3, tags=["a"], timeout=9, retries=1)
    work()
    copy = hero.duplicate(job, params=ECHO, topic="u")
    assert (str(copy.ref), copy.priority, copy.tags, copy.timeout, copy.retries) == ("c/u/1", 3, ["a"], 9, 1)
    assert (copy.status, copy.attempts, copy.error) == ("new", 0, "")
    work()
    assert hero.get(copy).result == "hi"
    assert hero.get(job).reason == "retrying", "the first one is left alone"
    with pytest.raises(InvalidJob, match="did you mean 'timeout'"):
        hero.duplicate(job, timout=3)
    with pytest.raises(InvalidJob, match="timeout -1"):
        hero.duplicate(job, timeout=-1)
    with pytest.raises(JobNotFound):
        hero.duplicate("c/default/99")
