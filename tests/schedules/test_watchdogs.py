"""Schedules by real WatchDogs, clients and the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from herojobs import AsyncHeroJobs, HeroJobs, InlineWatchDog, Job, WatchDog
from herojobs.settings import Settings
from waiting import until

JOB = Job(params="!!fake.return_success message:tick", circle_id="c", topic="t")


def test_one_job_a_tick_though_a_watchdog_is_killed(settings: Settings) -> None:
    command = [sys.executable, "-m", "herojobs", "watchdog", "--workers", "1"]
    env = os.environ | {"HEROJOBS_HOME": str(settings.home), "HEROJOBS_REDIS_URL": settings.redis_url}
    dogs = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(2)]
    try:
        for dog in dogs:
            assert dog.stdout
            assert dog.stdout.readline() == b"ready\n"
        with HeroJobs(settings=settings) as hero:
            hero.schedules.add("s", "* * * * * *", JOB, missed="all")
            wait_for_jobs(hero, 2)
            dogs[0].send_signal(signal.SIGKILL)
            wait_for_jobs(hero, 5)
            hero.schedules.pause("s")
            jobs = hero.list(circle_id="c")
            ticks = sorted(int(job.schedule.partition("@")[2]) for job in jobs)
            assert ticks == list(range(ticks[0], ticks[0] + len(ticks)))
            done = [hero.wait(job, timeout=60) for job in jobs]
            assert {job.result for job in done} == {"tick"}
    finally:
        for dog in dogs:
            dog.terminate()
            dog.wait(60)


def wait_for_jobs(hero: HeroJobs, count: int) -> None:
    until(lambda: len(hero.list(circle_id="c")) >= count)


def test_a_library_watchdog_and_the_inline_one_make_what_is_due(settings: Settings) -> None:
    with HeroJobs(settings=settings) as hero:
        hero.schedules.add("s", "@every 1s", JOB)
        with WatchDog(settings=settings, workers=1):
            wait_for_jobs(hero, 1)
        hero.schedules.remove("s")
        with InlineWatchDog(settings=settings) as inline:
            inline.run_pending()
            before = len(hero.list(circle_id="c"))
            added = hero.schedules.add("u", "@every 1s", JOB)
            time.sleep(max(0.0, added.next_ms / 1000 - time.time()))
            assert inline.run_pending() >= 1
            assert len(hero.list(circle_id="c")) > before


async def test_both_clients_have_the_same(settings: Settings) -> None:
    with HeroJobs(settings=settings, session_key="key") as hero:
        added = hero.schedules.add("s", "@daily", {"params": "!!core.echo", "circle_id": "c"}, tz="Asia/Tokyo")
        async with AsyncHeroJobs(settings=settings) as other:
            assert await other.schedules.list("c") == [added]
            assert added.job.session_key == "key"
            assert (await other.schedules.pause("s")).paused
            assert not (await other.schedules.resume("s", "c")).paused
            job = await other.schedules.run("s")
            assert (job.tags, job.schedule, str(job.ref)) == (["schedule:s"], "", "c/default/1")
            await other.schedules.add("s", "@hourly", added.job, replace=True)
            assert (await other.schedules.get("s")).when == "@hourly"
            assert (await other.schedules.remove("s")).name == "s"
        assert hero.schedules.list() == []


def test_the_command(settings: Settings, tmp_path: Path) -> None:
    def herojobs(*words: str) -> tuple[int, str]:
        env = os.environ | {"HEROJOBS_HOME": str(settings.home), "HEROJOBS_REDIS_URL": settings.redis_url}
        done = subprocess.run(
            [sys.executable, "-m", "herojobs", "schedule", *words], env=env, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    script = tmp_path / "report.rhai"
    script.write_text("40 + 2")
    code, out = herojobs("add", "report", "30 2 * * *", str(script), "-c", "acme", "--tz", "Europe/Paris")
    assert code == 0
    assert out.count(" 02:30:00 +0") == 3
    code, out = herojobs("list")
    assert "acme" in out
    assert "30 2 * * *" in out
    code, out = herojobs("show", "report", "-n", "4")
    assert "rhaiscript" in out
    assert out.count(" 02:30:00 +0") == 4
    code, out = herojobs("pause", "raport")
    assert (code, out) == (3, "error: there is no schedule 'raport'; did you mean 'report'?\n")
    assert herojobs("pause", "report") == (0, "schedule report is paused\n")
    assert herojobs("run", "report") == (0, "acme/default/1\n")
    assert herojobs("remove", "report")[0] == 0
    code, out = herojobs("add", "report", "30 2 * *", "--text", "x")
    assert code == 2
    assert out.startswith("error: when '30 2 * *': wrong number of fields; use five fields")
