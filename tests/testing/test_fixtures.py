"""The fixtures as a user's tests meet them. Our own conftest has fixtures of the same names only in other folders."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from herojobs import AsyncHeroJobs, HeroJobs, InlineWatchDog, Job, WatchDog
from herojobs.errors import JobConflict, WaitTimeout
from herojobs.job import now_ms
from herojobs.settings import Settings, load
from herojobs.testing import FakeClock, InlineHero

EXAMPLE = Path(__file__).parents[2] / "examples" / "shop"
ECHO = "!!core.echo content:hi"


def test_the_example_project_s_tests_pass() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore"],
        cwd=EXAMPLE,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


def test_the_plugin_imports_nothing_until_it_is_used() -> None:
    ours = "('herojobs', 'msgspec', 'redis')"
    code = f"import sys, herojobs.testing.plugin; print(*[name for name in sys.modules if name.startswith({ours})])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["herojobs", "herojobs.testing", "herojobs.testing.plugin"]


def test_each_test_begins_empty(hero: InlineHero) -> None:
    assert hero.submitted() == []
    assert hero.queues() == []
    hero.submit(ECHO, circle_id="left over")


test_each_test_begins_empty_again = test_each_test_begins_empty


async def test_clients_of_the_program_under_test_use_the_same_home(hero: InlineHero) -> None:
    with HeroJobs() as mine:
        mine.submit(ECHO, circle_id="a")
    async with AsyncHeroJobs() as other:
        await other.submit(ECHO, circle_id="b")
    assert [job.circle_id for job in hero.submitted(params="content:hi")] == ["a", "b"]


@pytest.mark.herojobs(default_timeout=7, actors=["support.actors"])
def test_the_marker_gives_settings(hero_settings: Settings) -> None:
    assert (hero_settings.default_timeout, hero_settings.actors) == (7, ("support.actors",))


def test_run_and_wait(hero: InlineHero) -> None:
    assert hero.run(ECHO).result == "hi"
    job = hero.submit("!!job.create params:'!!core.echo content:child'", circle_id="c")
    assert hero.wait(job).result == "c/default/2"
    hero.assert_submitted(parent="c/default/1", status="done", count=1)


def test_a_job_that_nothing_will_run_is_told_at_once(hero: InlineHero, hero_clock: FakeClock) -> None:
    job = hero.submit(ECHO, at=hero_clock.now + timedelta(seconds=90))
    with pytest.raises(WaitTimeout, match=r"default/default/1 is new .* it is due in 90 s: move the clock"):
        hero.wait(job)
    hero_clock.move(seconds=89)
    assert hero.run_pending() == 0
    hero_clock.move(seconds=1)
    assert hero.wait(job).ended_ms == hero_clock.ms


def test_failures_say_what_was_submitted_and_what_the_nearest_lacks(hero: InlineHero) -> None:
    with pytest.raises(AssertionError) as e:
        hero.assert_submitted(kind="ai")
    assert str(e.value).endswith("no job was submitted at all")
    hero.submit(ECHO, circle_id="mail", tags=["x"])
    hero.submit("40 + 2", circle_id="sums", params_type="rhaiscript")
    with pytest.raises(AssertionError) as e:
        hero.assert_submitted(kind="heroscript", circle_id="Mail", params="content:ho")
    assert str(e.value).splitlines() == [
        "a job with kind 'heroscript', circle_id 'Mail', params containing 'content:ho' should have been submitted; "
        "there is none",
        "submitted were 2 jobs:",
        "  mail/default/1  heroscript  new  '!!core.echo content:hi'  tags x",
        "  sums/default/1  rhaiscript  new  '40 + 2'",
        "the nearest is mail/default/1: its params differ",
    ]
    with pytest.raises(AssertionError, match="no job should have been submitted; there are 2"):
        hero.assert_submitted(count=0)


def test_the_clock_moves_schedules_and_what_redis_does(hero: InlineHero, hero_clock: FakeClock) -> None:
    hero_clock.set(datetime(2027, 3, 1, tzinfo=UTC))
    hero.schedules.add("daily", "@daily", Job(params=ECHO, circle_id="c"), missed="all")
    for _ in range(10):
        hero_clock.move(days=1)
        assert hero.run_pending() == 1
    assert [job.time_end for job in hero.submitted()] == [
        int(datetime(2027, 3, day, tzinfo=UTC).timestamp()) for day in range(2, 12)
    ]


def test_the_clock_is_the_systems_again_afterwards() -> None:
    with FakeClock(datetime(2001, 1, 1, tzinfo=UTC)) as clock:
        assert now_ms() == clock.ms
    assert now_ms() > 1_790_000_000_000


def test_a_real_watchdog(hero_watchdog: WatchDog, hero: InlineHero) -> None:
    job = hero.submit("!!fake.spin seconds:30", timeout=1)
    assert hero.wait(job, timeout=60).reason == "timeout"
    assert hero_watchdog.settings.workers == 1


@pytest.fixture
def second(hero_settings: Settings) -> Iterator[InlineWatchDog]:
    with InlineWatchDog(settings=load(base=hero_settings)) as watchdog:
        yield watchdog


def test_stepping_a_takeover(hero: InlineHero, hero_clock: FakeClock, second: InlineWatchDog) -> None:
    """The first WatchDog is paused past its lease; what it found is refused."""
    job = hero.submit(ECHO, circle_id="c")
    (slow,) = hero.watchdog.claim("c")
    hero.watchdog.execute(slow)
    assert second.claim("c") == []
    hero_clock.move(seconds=hero.settings.lease + 1)
    (taken,) = second.claim("c")
    second.execute(taken)
    assert second.finish([taken])
    assert not hero.watchdog.finish([slow])
    assert [version.status for version in hero.history(job)] == ["new", "active", "active", "done"]


def test_stepping_a_cancel_that_comes_while_a_job_runs(hero: InlineHero) -> None:
    job = hero.submit(ECHO, circle_id="c")
    (run,) = hero.watchdog.claim("c")
    assert hero.cancel(job).status == "active"
    hero.watchdog.execute(run)
    assert hero.watchdog.finish([run])
    with pytest.raises(JobConflict):
        hero.cancel(job)


def test_the_clock_moves_retries_and_expiry(hero: InlineHero, hero_clock: FakeClock) -> None:
    failing = hero.submit("!!fake.return_error", circle_id="c", retries=2, retry_delay=60)
    soon = hero_clock.ms // 1000
    late = hero.submit(ECHO, circle_id="c", topic="later", at=soon + 500, expires_at=soon + 550)
    hero.run_pending()
    for tries in (1, 2):
        assert (hero.get(failing).reason, hero.get(failing).retried) == ("retrying", tries)
        assert hero.run_pending() == 0
        hero_clock.move(minutes=4)
        assert hero.run_pending() == 1
    assert hero.get(failing).reason == "failed"
    hero_clock.move(seconds=100)
    hero.run_pending()
    assert hero.get(late).reason == "expired"
