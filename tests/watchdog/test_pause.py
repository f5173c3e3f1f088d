"""What is paused doesn't start, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from herojobs import HeroJobs, Job, WatchDog
from herojobs.live.connect import connect_blocking
from herojobs.live.redis import run_sync
from waiting import until

Start = Callable[..., WatchDog]
ECHO = "!!core.echo content:hi"


def test_a_paused_topic_waits_and_the_others_go_on(hero: HeroJobs, start: Start) -> None:
    start()
    start()
    hero.wait(hero.submit(ECHO, circle_id="c", topic="t"), 60)
    hero.pause("C", "T")
    assert hero.paused() == ["c/t"]
    held = hero.submit_many([Job(params=ECHO, circle_id="c", topic="t") for _ in range(20)])
    for topic in ("u", "v"):
        hero.wait(hero.submit(ECHO, circle_id="c", topic=topic), 60)
    assert {hero.get(job).status for job in held} == {"new"}
    assert [(q.topic, q.waiting, q.paused) for q in hero.queues("c")] == [
        ("t", 20, True),
        ("u", 0, False),
        ("v", 0, False),
    ]
    hero.resume("c", "t")
    assert {hero.wait(job, 60).result for job in held} == {"hi"}


def test_a_paused_circle_holds_topics_that_come_later_and_survives_everything(
    hero: HeroJobs, start: Start, redis_url: str
) -> None:
    watchdog = start(reconcile_interval=0.2)
    hero.pause("c")
    held = [hero.submit(ECHO, circle_id="c", topic=topic) for topic in ("a", "b")]
    hero.wait(hero.submit(ECHO, circle_id="d"), 60)
    watchdog.stop()
    redis = connect_blocking(hero.settings)
    run_sync(redis.command("FLUSHALL"))
    run_sync(redis.close())
    start(reconcile_interval=0.2)
    hero.wait(hero.submit(ECHO, circle_id="d"), 60)
    assert {hero.get(job).status for job in held} == {"new"}
    hero.resume("c")
    for job in held:
        # reconciliation leaves what is younger than five seconds
        assert hero.wait(job, 30).result == "hi"


def test_what_was_sent_ahead_comes_back(hero: HeroJobs, start: Start, tmp_path: Path) -> None:
    start()
    for _ in range(50):  # so that jobs are sent ahead
        job = hero.submit(ECHO, circle_id="c")
    hero.wait(job, 60)
    file = tmp_path / "marks"
    hero.submit_many([Job(params=f"!!good.mark file:'{file}' seconds:0.5", circle_id="c") for _ in range(10)])
    until(file.exists)
    hero.pause("c")
    begun = len(file.read_text().splitlines())
    until(lambda: not [q for q in hero.queues("c") if q.active])
    ran = len(file.read_text().splitlines())
    assert begun <= ran <= begun + 1, "at most the one that began in this very moment"
    assert [q.waiting for q in hero.queues("c")] == [10 - ran]
    waiting = hero.list(circle_id="c", status="new")
    assert {job.attempts for job in waiting} == {0}, "their start isn't counted"
    hero.resume("c")
    until(lambda: len(file.read_text().splitlines()) == 10)


def test_a_wrong_file_changes_nothing(hero: HeroJobs, start: Start) -> None:
    start()
    hero.pause("c")
    held = hero.submit(ECHO, circle_id="c")
    hero.wait(hero.submit(ECHO), 60)
    path = hero.settings.home / "var" / "rules.json"
    right = path.read_text()
    path.write_text("nonsense")
    hero.wait(hero.submit(ECHO), 60)
    assert hero.get(held).status == "new"
    path.write_text(right.replace('"c"', ""))
    assert hero.wait(held, 60).result == "hi"
