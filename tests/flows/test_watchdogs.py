"""Flows with real WatchDogs, a kill included, and the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from herojobs import HeroJobs, Job, WatchDog
from herojobs.live.redis import BlockingRedis, run_sync

LAST = "let sum = 0; for p in parents() { sum += parse_int(p.result) } sum"


def test_flows_end_well_though_a_watchdog_is_killed(tmp_path: Path, redis_url: str) -> None:
    env = os.environ | {
        "HEROJOBS_HOME": str(tmp_path / "home"),
        "HEROJOBS_REDIS_URL": redis_url,
        "HEROJOBS_LEASE": "1.5",
        "HEROJOBS_RECONCILE_INTERVAL": "1",
    }
    command = [sys.executable, "-m", "herojobs", "watchdog", "--workers", "1"]
    dogs = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(2)]
    try:
        for dog in dogs:
            assert dog.stdout
            assert dog.stdout.readline() == b"ready\n"
        with HeroJobs(home=tmp_path / "home", redis_url=redis_url) as hero:
            lasts = []
            for n in range(20):
                parts = [
                    Job(params=f"{n}", params_type="rhaiscript", circle_id="c", topic=f"t{k % 3}", max_attempts=10)
                    for k in range(5)
                ]
                last = Job(params=LAST, params_type="rhaiscript", circle_id="c", topic="last", max_attempts=10)
                lasts.append(hero.fan_in(parts, last)[1])
                if n == 10:
                    dogs[0].send_signal(signal.SIGKILL)
            results = [hero.wait(job, timeout=60).result for job in lasts]
            assert results == [str(5 * n) for n in range(20)]
            assert sum(queue.held for queue in hero.queues()) == 0
    finally:
        for dog in dogs:
            dog.terminate()
            dog.wait(60)
    redis = BlockingRedis(redis_url)
    left = [
        key for key in run_sync(redis.command("KEYS", "*")) if key.startswith((b"herowait", b"heroheld", b"heromail"))
    ]
    run_sync(redis.close())
    assert left == []


def test_an_action_sees_its_parents_in_a_worker(tmp_path: Path, redis_url: str) -> None:
    given = {"home": tmp_path / "home", "redis_url": redis_url, "actors": ("support.actors",)}
    with WatchDog(workers=1, **given), HeroJobs(**given) as hero:
        one = hero.submit("!!core.echo content:a", circle_id="c", topic="x")
        two = hero.submit("!!core.echo content:b", circle_id="c", topic="y")
        child = hero.submit("!!good.join", circle_id="c", after=[two, one])
        assert hero.wait(child, 60).result == "b+a"


@pytest.fixture
def herojobs(tmp_path: Path, redis_url: str) -> object:
    def run(*words: str) -> tuple[int, str]:
        env = os.environ | {"HEROJOBS_HOME": str(tmp_path / "home"), "HEROJOBS_REDIS_URL": redis_url}
        done = subprocess.run(
            [sys.executable, "-m", "herojobs", *words], env=env, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    return run


def test_the_command(herojobs: object) -> None:
    assert callable(herojobs)
    herojobs("submit", "--text", "!!core.echo", "-c", "c", "-t", "a")
    assert herojobs("submit", "--text", "!!core.echo", "-c", "c", "--after", "c/a/1") == (0, "c/default/1\n")
    code, out = herojobs("submit", "--text", "!!core.echo", "-c", "c", "--after", "c/a/2")
    assert (code, out) == (2, "error: after 'c/a/2': there is no such job\n")
    code, out = herojobs("flow", "c/a/1")
    assert code == 0
    assert out.splitlines()[2].split() == ["c/default/1", "new", "c/a/1"]
    code, out = herojobs("flow", "c/default/1", "--cancel")
    assert out.endswith("2 cancelled\n")
