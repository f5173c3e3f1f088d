"""Which processor runs which kind, and what jobs of other kinds end with."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from herojobs.errors import WorkerError
from herojobs.job import Job
from herojobs.processors.base import JobContext, JobFailed
from herojobs.processors.kinds import Processors
from herojobs.settings import load


def failure(kind: str, tmp_path: Path) -> str:
    job = Job(params="x", params_type=kind, circle_id="c")
    with pytest.raises(JobFailed) as caught:
        Processors(load({}, home=tmp_path)).get(kind).run(job, JobContext(job, "c/default/1", lambda text: None))
    return str(caught.value)


def test_a_kind_that_nobody_runs_says_so(tmp_path: Path) -> None:
    assert "no such kind" in failure("nonsense", tmp_path)


def test_without_the_rhai_engine_its_jobs_name_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "herojobs_rhai", None)
    monkeypatch.delitem(sys.modules, "herojobs.processors.rhai", raising=False)
    assert "pip install 'herojobs[rhai]'" in failure("rhaiscript", tmp_path)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"actors": ["no_such_module"]}, "no_such_module"),
        ({"actors": ["json"]}, "json"),
        ({"circle_actors": {"c": ["fak"]}}, 'circle c.*did you mean "fake"'),
    ],
)
def test_actors_that_cannot_be_loaded_are_named(tmp_path: Path, settings: dict[str, object], told: str) -> None:
    with pytest.raises(WorkerError, match=told):
        Processors(load({}, home=tmp_path, **settings)).get("heroscript")
