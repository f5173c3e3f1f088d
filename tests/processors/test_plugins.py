"""Kinds of job from other distributions: found by their entry point, and harmless whatever they do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from herojobs import HeroJobs, InlineWatchDog, WatchDog
from herojobs.errors import UnknownKind
from herojobs.job import known_kinds

MODULE = """
from herojobs.processors.base import JobFailed, JobInterrupted


class Text(str):
    def __str__(self):
        return "another"


class Bad(JobFailed):
    def __str__(self):
        raise ValueError


class Shout:
    concurrent = False

    def __init__(self, settings):
        pass

    def is_concurrent(self, job):
        return False

    def run(self, job, context):
        context.log("shouting")
        match job.params:
            case "none":
                return None
            case "bytes":
                return b"bytes"
            case "subclass":
                return Text("text")
            case "partial":
                raise JobFailed("half", 42)
            case "detail":
                raise JobFailed("refused", detail={"code": 7, "data": ["x"]})
            case "odd detail":
                raise JobFailed("refused", detail={"text": chr(0xD800)})
            case "deep detail":
                deep = []
                for _ in range(500):
                    deep = [deep]
                raise JobFailed("refused", detail={"deep": deep})
            case "long detail":
                raise JobFailed("refused", detail={"text": "x" * 5_000_000})
            case "bad failure":
                raise Bad("x")
            case "number":
                raise JobFailed(42)
            case "long":
                return "x" * 5_000_000
            case "long failure":
                raise JobFailed("x" * 50_000_000)
        return job.params.upper()


class Whisper(Shout):
    concurrent = True

    async def run_async(self, job, context):
        return self.run(job, context).lower() if job.params.isupper() else self.run(job, context)


class Broken:
    def __init__(self, settings):
        raise RuntimeError("it needs a licence")
"""
ENTRY_POINTS = """[herojobs.processors]
shout = plugin_of_a_user:Shout
whisper = plugin_of_a_user:Whisper
broken = plugin_of_a_user:Broken
missing = no_such_module_anywhere:X
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a distribution that brings kinds of job."""
    folder = tmp_path / "site"
    info = folder / "plugin_of_a_user-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "plugin_of_a_user.py").write_text(MODULE)
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin-of-a-user\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(folder)
    known_kinds.cache_clear()
    yield
    sys.modules.pop("plugin_of_a_user", None)
    known_kinds.cache_clear()


def test_whatever_a_plug_in_does_its_jobs_end_alone(plugin: None, tmp_path: Path, redis_url: str) -> None:
    given = {"home": tmp_path / "home", "redis_url": redis_url}
    with HeroJobs(**given) as hero, WatchDog(**given, workers=1) as _:
        for kind, params, status, told in [
            ("shout", "hello", "done", "HELLO"),
            ("whisper", "HELLO", "done", "hello"),
            ("shout", "none", "error", "the processor returned NoneType, not text"),
            ("shout", "bytes", "error", "the processor returned bytes, not text"),
            ("shout", "subclass", "done", "text"),
            ("whisper", "subclass", "done", "text"),
            ("shout", "partial", "error", "half"),
            ("shout", "number", "error", "42"),
            ("shout", "bad failure", "error", "Bad, whose text can't be had (ValueError)"),
            ("whisper", "bad failure", "error", "Bad, whose text can't be had (ValueError)"),
            ("shout", "long", "error", "5,000,000 bytes"),
            ("shout", "long failure", "error", "xxx"),
            ("broken", "x", "error", "it needs a licence"),
            ("missing", "x", "error", "no_such_module_anywhere"),
        ]:
            job = hero.submit(params, params_type=kind, log=True, circle_id=kind)
            done = hero.wait(job, 60)
            assert (done.status, done.attempts) == (status, 1), (kind, params, done.error)
            assert told in (done.result if status == "done" else done.error), (kind, params)
            if kind == "shout":
                assert hero.log(job) == "shouting\n"
        assert hero.list(circle_id="shout", text="half")[0].result == "42"


@pytest.mark.parametrize(
    ("params", "detail"),
    [
        ("number", {}),
        ("detail", {"code": 7, "data": ["x"]}),
        ("odd detail", {"text": "?", "dropped": "it can't be written as JSON: UnicodeEncodeError"}),
        ("deep detail", {"dropped": "it was nested over 50 levels deep"}),
        ("long detail", {"dropped": "the detail had 5,000,011 bytes, the limit is 1,048,576"}),
    ],
)
def test_a_failure_tells_programs_its_detail(
    plugin: None, tmp_path: Path, redis_url: str, params: str, detail: dict[str, object]
) -> None:
    given = {"home": tmp_path / "home", "redis_url": redis_url}
    with HeroJobs(**given) as hero, InlineWatchDog(**given) as watchdog:
        job = hero.submit(params, params_type="shout", circle_id="c")
        watchdog.run_pending()
        assert hero.get(job).error_detail == detail
        assert hero.retry(job).error_detail == {}


def test_the_client_knows_their_kinds(plugin: None, tmp_path: Path, redis_url: str) -> None:
    with HeroJobs(home=tmp_path / "home", redis_url=redis_url) as hero:
        with pytest.raises(UnknownKind, match="did you mean 'shout'"):
            hero.submit("x", params_type="shuot")
        assert hero.submit("x", params_type="shout").job_id == 1
