"""A canary: a session key that was used for everything is found nowhere but in the records of its jobs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import redis as redis_py

from cli.inprocess import InProcess
from herojobs import HeroJobs, Job
from herojobs.errors import HeroJobsError, InvalidJob
from herojobs.job import decode_foreign
from herojobs.sessions import Sessions
from herojobs.settings import load

SCRIPT = """
print("I am " + job().session_key);
log(job().session_key);
"""
ACTOR = """
import sys
from herojobs.heroscript import action, actor
from herojobs.processors.script_context import ScriptContext

@actor("leaky")
class Leaky:
    def __init__(self, context: ScriptContext) -> None:
        self.key = context.job.session_key

    @action
    def result(self) -> str:
        print("out", self.key)
        print("err", self.key, file=sys.stderr)
        return f"my key is {self.key}"

    @action
    def fail(self) -> str:
        raise RuntimeError(f"{self.key} is refused")

"""


def test_nothing_tells_the_canary(
    tmp_path: Path, redis_url: str, herojobs_here: InProcess, caplog: pytest.LogCaptureFixture
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "leaky_actor.py").write_text(ACTOR)
    env = {"HEROJOBS_HOME": str(home), "HEROJOBS_REDIS_URL": redis_url, "HEROJOBS_REQUIRE_SESSION": "1",
           "HEROJOBS_ACTORS": "leaky_actor", "PYTHONPATH": str(tmp_path)}  # fmt: skip
    settings = load(env)
    sessions = Sessions(settings)
    _, canary = sessions.create("canary", ["c"], "operator")
    caplog.set_level("DEBUG")
    seen: list[bytes] = []
    listener = redis_py.Redis.from_url(redis_url).pubsub()
    listener.psubscribe("*")
    hearing = threading.Event()

    def listen() -> None:
        for message in listener.listen():
            seen.append(repr(message).encode())
            hearing.set()
            if message["data"] == b"over":
                return

    thread = threading.Thread(target=listen)
    thread.start()
    assert hearing.wait(60)
    log = tmp_path / "watchdog.log"
    with log.open("wb") as errors:
        watchdog = subprocess.Popen(
            [sys.executable, "-m", "herojobs", "watchdog", "--workers", "1"],
            env={**os.environ, **env, "PYTHONUNBUFFERED": "1"},
            stdout=errors,
            stderr=errors,
        )
    try:
        with HeroJobs(settings=settings, session_key=canary) as hero:
            scripts = ["!!leaky.result", "!!leaky.fail", "!!job.get id:1", "!!job.history id:1",
                       "!!no.such", "!!job.create params:'!!leaky.result'"]  # fmt: skip
            jobs = hero.submit_many([Job(params=each, circle_id="c", log=True, retries=0) for each in scripts])
            jobs += hero.submit_many([Job(params=SCRIPT, params_type="rhaiscript", circle_id="c", log=True)])
            ended = [hero.wait(job, timeout=60) for job in jobs]
            assert ended[0].result == "my key is ***"
            assert ended[1].error.startswith("***") or "*** is refused" in ended[1].error
            assert ended[0].session_key == canary  # its own record has it
            shown = [repr(job) for job in ended] + [str(job) for job in hero.history(jobs[0])]
            shown += [hero.log(job) for job in jobs]
        with redis_py.Redis.from_url(redis_url) as redis:  # jobs of other programs: broken, and of a wrong key
            for id, text in enumerate((f'{{"sessionkey":"{canary}","circleid":', f'{{"sessionKey":"{canary}x"}}'), 100):
                redis.hset(f"herojobs:c:default:{id}", "job", text)
                redis.rpush("heroqueue:c:default", id)
        for command in (
            ["list", "--json"], ["list"], ["get", "c/default/1"], ["get", "c/default/1", "--json"],
            ["history", "c/default/1"], ["history", "c/default/1", "--json"], ["logs", "c/default/1"],
            ["wait", "c/default/2", "--json"], ["queues", "--json"], ["list", "--text", canary],
            ["session", "list", "--json", "--all"], ["session", "show", "canary"], ["ourdb", "check", "c/default"],
            ["ourdb", "cat", "c/default", "1", "--history"], ["settings", "--json"], ["doctor"],
            ["retry", "c/default/1", "--json"], ["cancel", "c/default/1"], ["delete", "c/default/7", "--json"],
            ["session", "revoke", "canary", "--json"],
            ["submit", "--text", "!!core.echo", "--circle", "c", "--json"],
        ):  # fmt: skip
            ran = herojobs_here(*command, **env)
            shown += [ran.stdout, ran.stderr]
            if command[-1] == "--json" and ran.returncode == 0:
                json.loads(ran.stdout)
    finally:
        watchdog.terminate()
        watchdog.wait(30)
        with redis_py.Redis.from_url(redis_url) as redis:
            redis.publish("end", "over")
        thread.join(60)
        listener.close()
        sessions.close()
    places = {"output": "\n".join(shown).encode(), "Redis channels": b"\n".join(seen), "logging": caplog.text.encode()}
    places |= {str(file.relative_to(tmp_path)): file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    records = [name for name in places if "/jobsdb/" in name]
    assert any(canary.encode() in places.pop(name) for name in records)  # the canary is where it should be
    assert "home/var/index.sqlite3" in places
    assert len(places["Redis channels"]) > 1000
    assert len(places["watchdog.log"]) > 10
    found = {name for name, data in places.items() if canary.encode() in data or canary[14:50].encode() in data}
    assert not found


def _told(call: Callable[[], object]) -> str:
    with pytest.raises(HeroJobsError) as told:
        call()
    return f"{told.value} {told.value!r} {vars(told.value)}"


def test_errors_about_wrong_jobs_dont_tell_it(tmp_path: Path, redis_url: str) -> None:
    canary = "any other program's secret"
    with HeroJobs(home=tmp_path, redis_url=redis_url) as hero:
        told = [
            _told(lambda: hero.submit_many([{"params": "!!x.y", "session_key": canary, "timeout": "1"}])),
            _told(lambda: hero.submit_many([{"params": "!!x.y", "session_key": [canary]}])),
            _told(lambda: hero.submit_many([Job(params="!!x.y", session_key=[canary])])),  # type: ignore[arg-type]
            _told(lambda: hero.submit_many([Job(params="", session_key=canary)])),
            _told(lambda: hero.submit_many([Job(params="!!x.y", circle_id="c", session_key=canary + "\ud800")])),
            _told(lambda: decode_foreign(f'{{"SessionKey": "{canary}", '.encode())),
            _told(lambda: decode_foreign(f'{{"sessionkey": "{canary}", "timeout": "x"}}'.encode())),
            _told(lambda: decode_foreign(f'{{"session_key":"{canary}'.encode())),
            _told(lambda: (_ for _ in ()).throw(InvalidJob("session_key", canary, "wrong"))),
        ]
    assert not [text for text in told if "other program" in text]
