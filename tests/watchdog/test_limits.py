"""Limits and weights hold over several WatchDogs; a lone job doesn't wait behind another circle's ten thousand."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from herojobs import HeroJobs, Job, WatchDog
from herojobs.errors import InvalidLimit
from herojobs.live.connect import connect_blocking
from herojobs.live.redis import run_sync
from herojobs.names import Queue
from herojobs.watchdog.fair import Turns
from watchdog.test_pause import until

Start = Callable[..., WatchDog]


def spans(file: Path) -> list[tuple[str, str, int]]:
    lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
    return sorted(((ref, what, int(ns)) for ref, what, ns in lines), key=lambda each: each[2])


def most_at_once(file: Path) -> int:
    most = running = 0
    for _, what, _ in spans(file):
        running += 1 if what == "start" else -1
        most = max(most, running)
    return most


def submit(hero: HeroJobs, file: Path, count: int, seconds: float, topics: str = "t", circle: str = "c") -> list[Job]:
    script = f"!!good.span file:'{file}' seconds:{seconds}"
    return hero.submit_many([Job(params=script, circle_id=circle, topic=topics[n % len(topics)]) for n in range(count)])


@pytest.mark.parametrize(("name", "topics"), [("c/t", "t"), ("c", "tuv"), ("*", "tuv"), ("c/*", "t")])
def test_no_more_run_at_once_over_two_watchdogs(
    hero: HeroJobs, start: Start, tmp_path: Path, name: str, topics: str
) -> None:
    file = tmp_path / "spans"
    limit = {name: {"jobs": 2}}
    for _ in range(2):
        start(workers=2, limit=limit)
    for job in submit(hero, file, 30, 0.05, topics):
        assert hero.wait(job, 30).status == "done"
    assert most_at_once(file) == 2


@pytest.mark.parametrize("crash", [False, True])
def test_jobs_of_a_key_run_one_by_one_and_keep_nobody_else(
    hero: HeroJobs, start: Start, tmp_path: Path, crash: bool
) -> None:
    hero.set_limit("c/t", key_jobs=1)
    for _ in range(2):
        start(workers=2)
    files = {key: tmp_path / f"spans-{key}" for key in ("", "x", "y")}
    jobs = hero.submit_many(
        [
            Job(params=f"!!good.span file:'{files[key]}' seconds:0.03", circle_id="c", topic="t", limit_key=key)
            for key in ["x"] * 20 + ["y"] * 5 + [""] * 10
        ]
    )
    if crash:
        jobs.append(hero.submit("!!bad.die", circle_id="c", topic="t", limit_key="x", max_attempts=2))
        jobs.append(hero.submit(f"!!good.span file:'{files['x']}'", circle_id="c", topic="t", limit_key="x"))
    done = [hero.wait(job, 30) for job in jobs]
    assert [job.reason for job in done] == ["done"] * 35 + (["killed", "done"] if crash else [])
    assert (most_at_once(files["x"]), most_at_once(files["y"])) == (1, 1)
    assert max(job.ended_ms for job in done[20:35]) < max(job.ended_ms for job in done[:20])
    assert {job.attempts for job in done[:35]} == {1}


@pytest.mark.parametrize("name", ["c/t", "c"])
def test_no_more_start_in_a_time(hero: HeroJobs, start: Start, tmp_path: Path, name: str) -> None:
    file = tmp_path / "spans"
    hero.set_limit(name, rate="5/s")
    for _ in range(2):
        start(workers=2)
    began = time.monotonic()
    for job in submit(hero, file, 16, 0):
        assert hero.wait(job, 30).status == "done"
    assert 3 <= time.monotonic() - began < 60, "three windows, and no more than the machine's load"
    starts = [ns for _, what, ns in spans(file) if what == "start"]
    # A start follows its claim, at which it is counted, by what the machine's load makes of it.
    assert starts[15] - starts[0] > 2.5e9


def test_limits_change_while_watchdogs_run(hero: HeroJobs, start: Start, tmp_path: Path, given: dict[str, Any]) -> None:
    start(workers=3)
    hero.wait(hero.submit("!!core.echo", circle_id="c"), 60)
    assert hero.set_limit("C/T", jobs=1).jobs == 1
    one, three = tmp_path / "one", tmp_path / "three"
    for job in submit(hero, one, 6, 0.05):
        hero.wait(job, 60)
    assert most_at_once(one) == 1
    with HeroJobs(**given, limit={"d": {"jobs": 9}}) as other:
        assert sorted(other.limits()) == ["c/t", "d"]
        with pytest.raises(InvalidLimit, match="settings"):
            other.remove_limit("d")
    hero.remove_limit("c/t")
    for job in submit(hero, three, 12, 0.2):
        hero.wait(job, 60)
    assert most_at_once(three) == 3
    for call, told in (
        (lambda: hero.remove_limit("c/t"), "none of this name"),
        (lambda: hero.set_limit("c/t", weight=3), "only circles"),
        (lambda: hero.set_limit("c", rate="often"), "no rate"),
        (lambda: hero.set_limit("c", key_jobs=1), "within a topic"),
        (lambda: hero.set_limit("c/t", key_rate="-"), "no rate"),
    ):
        with pytest.raises(InvalidLimit, match=told):
            call()


def test_a_wiped_redis_and_a_stopped_watchdog_free_and_keep_what_they_should(
    hero: HeroJobs, start: Start, tmp_path: Path
) -> None:
    file = tmp_path / "spans"
    hero.set_limit("c", jobs=1)
    first, second = start(lease=1.5), start(lease=1.5)
    held = submit(hero, file, 1, 2.5)
    until(lambda: spans(file))
    redis = connect_blocking(hero.settings)
    run_sync(redis.command("FLUSHALL"))
    until(lambda: run_sync(redis.command("KEYS", "heroslots:*")))  # the wipe was noticed
    run_sync(redis.close())
    more = submit(hero, file, 2, 0.05, "u")
    for job in [*held, *more]:
        assert hero.wait(job, 30).status == "done"
    assert most_at_once(file) == 1
    first.stop()
    for job in submit(hero, file, 2, 0.05, "v"):
        assert hero.wait(job, 30).status == "done"
    second.stop()


def test_circles_share_by_their_weights() -> None:
    turns = Turns(lambda queue: True)
    turns.weight = {"a": 3, "b": 1, "c": 1}.__getitem__
    got = dict.fromkeys("abc", 0)
    for room in (1, 2, 5, 1, 1, 7) * 100:
        for name in "abc":
            turns.heat(Queue.of(name, "t"))
        for queue, n in turns.wishes(room, 0):
            got[queue.circle] += n
            turns.charge(queue, n)
            turns.note(queue, 1, 0)
    assert sum(got.values()) == 1700
    assert abs(got["a"] - 1020) <= 10
    assert abs(got["b"] - got["c"]) <= 10


def test_a_circle_that_comes_back_has_no_credit_and_no_debt() -> None:
    turns = Turns(lambda queue: True)
    busy, late = Queue.of("busy", "t"), Queue.of("late", "t")
    turns.heat(busy)
    for _ in range(1000):
        turns.wishes(1, 0)
        turns.charge(busy, 1)
        turns.note(busy, 1, 0)
    turns.heat(late)
    order = []
    for _ in range(10):
        ((queue, _),) = turns.wishes(1, 0)
        order.append(queue.circle)
        turns.charge(queue, 1)
        turns.note(queue, 1, 0)
    assert order.count("late") in (5, 6)


@pytest.mark.parametrize("seconds", [0.0, 0.03])
def test_one_job_behind_ten_thousand_of_another_circle_starts_next(
    hero: HeroJobs, start: Start, tmp_path: Path, seconds: float
) -> None:
    """While work is under way, for jobs that a worker isn't sent a hundred of at once; else from a standing start."""
    # Of several workers one may stand still for want of a processor, while the others run what was given out later.
    file, workers = tmp_path / "spans", 2 if seconds else 1
    script = f"!!good.span file:'{file}' seconds:{seconds}"
    if seconds:
        start(workers=workers)
    hero.submit_many([Job(params=script, circle_id="a") for _ in range(10_000)])
    if seconds:
        until(lambda: len(spans(file)) > 40)
    began = time.time_ns()
    lone = hero.submit(script, circle_id="b")
    if not seconds:
        began = 0
        start(workers=workers)
    assert hero.wait(lone, 30).status == "done"
    starts = [ref for ref, what, ns in spans(file) if what == "start" and ns > began]
    assert starts.index(str(lone.ref)) <= 2 * workers
