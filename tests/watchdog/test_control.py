"""Progress, checkpoints, and what a cancel has met, with real workers."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from redis import Redis

from herojobs import HeroJobs, InlineWatchDog, WatchDog
from herojobs.live.events import decode_events
from waiting import until

Start = Callable[..., WatchDog]


def test_how_far_a_job_is_can_be_seen_and_heard(hero: HeroJobs, start: Start, tmp_path: Path, redis_url: str) -> None:
    redis = Redis.from_url(redis_url)
    channel = redis.pubsub()
    channel.subscribe("heroevents:c:t")
    channel.get_message(timeout=60)
    job = hero.submit(f"!!good.half until:'{tmp_path}/go'", circle_id="c", topic="t")
    assert hero.progress(job) is None
    start()
    heard = []
    while not any(event.event == "progress" for event in heard):
        heard += decode_events(channel.get_message(timeout=60)["data"])
    (event,) = [event for event in heard if event.event == "progress"]
    assert (event.id, event.percent, event.text) == (1, 50, "half of it is done")
    told = hero.progress(job)
    assert told is not None
    assert (told.percent, told.text) == (50, "half of it is done")
    (tmp_path / "go").touch()
    assert hero.wait(job, 60).result == "whole"
    until(lambda: hero.progress(job) is None)  # OurDB has the end before Redis
    channel.close()
    redis.close()


def test_the_next_attempt_goes_on_from_the_checkpoint(hero: HeroJobs, start: Start, tmp_path: Path) -> None:
    start()
    work = tmp_path / "work"
    work.mkdir()
    job = hero.submit(f"!!good.in_steps steps:6 die_after:4 folder:'{work}'", circle_id="c")
    done = hero.wait(job, 30)
    assert (done.result, done.attempts) == ("4 [4, 5]", 2)
    assert [(work / str(step)).read_text() for step in range(6)] == ["x"] * 6
    assert not list(hero.settings.home.rglob("checkpoints/1"))  # dropped, once the job was done


def test_a_job_that_ended_in_error_keeps_its_checkpoint_for_a_retry(hero: HeroJobs, given: dict[str, Any]) -> None:
    with InlineWatchDog(**given) as watchdog:
        job = hero.submit('save_checkpoint(#{page: 3}); throw "no"', params_type="rhaiscript", circle_id="c")
        watchdog.run_pending()
        assert hero.get(job).reason == "failed"
        again = hero.duplicate(job, params="load_checkpoint().page")
        hero.retry(job)
        watchdog.run_pending()
        assert hero.get(again).status == "error"  # another job, which has none
        assert list(hero.settings.home.rglob("checkpoints/1"))
        hero.delete(job)
        assert not list(hero.settings.home.rglob("checkpoints/1"))


def test_a_cancel_tells_what_it_met(hero: HeroJobs, start: Start) -> None:
    queued = hero.submit("!!core.echo", circle_id="c")
    later = hero.submit("!!core.echo", circle_id="c", at=int(time.time()) + 1000)
    assert hero.cancel(queued).cancelled_while == "queued"
    assert hero.cancel(later).cancelled_while == "scheduled"
    start(grace=3)  # on a busy machine too
    for script, met in (("!!fake.spin seconds:60", "running"), ("!!bad.stubborn", "killed")):
        job = hero.submit(f"!!good.speak\n{script}", circle_id="c", log=True)
        until(lambda job=job: "echoed" in hero.log(job))  # type: ignore[misc]
        hero.cancel(job)
        assert hero.wait(job, 60).cancelled_while == met
    retried = hero.submit("!!fake.return_error", circle_id="c", retries=3, retry_delay=1000)
    while hero.get(retried).reason != "retrying":
        time.sleep(0.01)
    assert hero.cancel(retried).cancelled_while == "retrying"
    assert hero.retry(retried).cancelled_while == ""
