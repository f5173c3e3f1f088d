"""What jobs may do to others: in their circle, and as far as the session that submitted them may."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from herojobs import HeroJobs, InlineWatchDog, Job
from herojobs.sessions import Sessions
from herojobs.settings import load

Run = Callable[..., Job]
LATER = 4_102_444_800


@pytest.fixture
def hero(tmp_path: Path, redis_url: str) -> Iterator[HeroJobs]:
    with HeroJobs(home=tmp_path, redis_url=redis_url) as hero:
        yield hero


@pytest.fixture
def run(hero: HeroJobs, tmp_path: Path, redis_url: str) -> Iterator[Run]:
    """Run a job of circle `ours` and return it."""
    with InlineWatchDog(home=tmp_path, redis_url=redis_url) as watchdog:

        def run(kind: str, params: str, key: str = "") -> Job:
            job = hero.submit_many([Job(params=params, params_type=kind, circle_id="ours", session_key=key)])[0]
            watchdog.run_pending()
            return hero.get(job)

        yield run


@pytest.fixture
def sessions(tmp_path: Path, redis_url: str) -> Iterator[Sessions]:
    made = Sessions(load({}, home=tmp_path, redis_url=redis_url))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("rhaiscript", 'submit("heroscript", "!!core.echo", #{circle_id: "Theirs"})'),
        ("heroscript", "!!job.create params:'!!core.echo' circle:theirs"),
        ("openrpc", '{"method": "job.submit", "params": {"params": "!!core.echo", "circle_id": "theirs"}}'),
        ("heroscript", "!!job.delete ref:theirs/default/1"),
    ],
)
def test_no_job_reaches_another_circle(hero: HeroJobs, run: Run, kind: str, params: str) -> None:
    job = run(kind, params)
    assert job.status == "error"
    assert "a job of circle ours may not touch circle theirs" in job.error
    assert not hero.find(circle_id="theirs").jobs


ACTS = [
    *(("heroscript", f"!!job.{name} ref:ours/other/1") for name in ("cancel", "retry", "delete")),
    ("heroscript", "!!job.queue_empty topic:other"),
    *(("openrpc", json.dumps({"method": f"job.{name}", "params": ["ours/other/1"]}))
      for name in ("cancel", "retry", "delete")),
    ("openrpc", '{"method": "queue.empty", "params": {"topic": "other"}}'),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "params"), ACTS)
def test_a_submitters_job_does_what_a_submitter_may(
    hero: HeroJobs, run: Run, sessions: Sessions, kind: str, params: str
) -> None:
    other = hero.submit("!!core.echo", circle_id="ours", topic="other", at=LATER)
    submitter = sessions.create("sub", ["ours"], "submitter")[1]
    operator = sessions.create("op", ["ours"], "operator")[1]
    assert "session 'sub' is submitter, it takes operator" in run(kind, params, submitter).error
    assert hero.get(other).status == "new"
    assert "session" not in run(kind, params, operator).error
    sessions.revoke("op")
    hero.submit("!!core.echo", circle_id="ours", topic="other", at=LATER)
    assert "has ended" in run(kind, params.replace("other/1", "other/2"), operator).error


@pytest.mark.parametrize("kind", ["heroscript", "openrpc"])
def test_a_job_may_cancel_its_children(hero: HeroJobs, run: Run, sessions: Sessions, kind: str) -> None:
    key = sessions.create("sub", ["ours"], "submitter")[1]
    child = Job(params="!!core.echo", circle_id="ours", topic="other", time_scheduled=LATER, parent="ours/default/1")
    child = hero.submit_many([child])[0]
    ask = json.dumps({"method": "job.cancel", "params": [str(child.ref)]})
    job = run(kind, ask if kind == "openrpc" else f"!!job.cancel ref:{child.ref}", key)
    assert (str(job.ref), job.status) == ("ours/default/1", "done")
    assert hero.get(child).reason == "cancelled"


def test_a_script_does_not_get_its_session_key(run: Run, sessions: Sessions) -> None:
    key = sessions.create("sub", ["ours"], "submitter")[1]
    job = run("rhaiscript", "let key = job().session_key; key.len()", key)
    assert (job.status, job.result) == ("done", "3")
