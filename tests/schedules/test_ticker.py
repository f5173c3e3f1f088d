"""Each tick has one job: whatever dies between two steps, and however many are at it."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from herojobs.errors import RedisUnavailable
from herojobs.job import Job, encode
from herojobs.live import calls
from herojobs.live.redis import run_sync
from herojobs.names import Queue
from herojobs.store import Put

if TYPE_CHECKING:
    from schedules.conftest import TickerDriver

Tickers = Callable[[], "TickerDriver"]
Q = Queue.of("c", "t")
T0 = 1_800_000_000_000
MINUTE = 60_000
PARTS = ["_store_job", "submit", "_finish"]


class Died(BaseException):
    """The process that made the tick is gone."""


def template() -> Job:
    return Job(params="!!core.echo", circle_id="c", topic="t", priority=3, tags=["x"])


def ticks_of(driver: TickerDriver) -> list[int]:
    return [job.time_scheduled * 1000 for job in driver.jobs(Q)]


def queued(driver: TickerDriver) -> int:
    return sum(run_sync(driver.redis.run(calls.counts(Q))))


def test_a_tick_makes_a_job_of_the_template(tickers: Tickers) -> None:
    one = tickers()
    one.book.add("n", "* * * * *", template(), now=T0)
    assert one.step(T0 + MINUTE - 1) == 0
    assert one.step(T0 + MINUTE) == 1
    assert one.step(T0 + MINUTE) == 0
    (job,) = one.jobs(Q)
    assert (job.params, job.priority, job.tags) == ("!!core.echo", 3, ["x", "schedule:n"])
    assert job.schedule == f"n@{T0 // 1000 + 60}"
    assert queued(one) == 1
    schedule = one.book.get("n")
    assert (schedule.made, schedule.last_ref, schedule.last_ms) == (1, "c/t/1", T0 + MINUTE)
    assert schedule.next_ms == T0 + 2 * MINUTE


@pytest.mark.parametrize(
    ("missed", "made", "skipped"),
    [("skip", [10, 11], 9), ("once", [10, 11], 9), ("all", [*range(1, 12)], 0)],
)
def test_ticks_that_were_missed_beside_one_in_time(
    tickers: Tickers, missed: str, made: list[int], skipped: int
) -> None:
    """Eleven ticks are due; the last two are at most a minute late."""
    one = tickers()
    one.book.add("n", "* * * * *", template(), missed=missed, now=T0)
    one.step(T0 + 11 * MINUTE)
    assert ticks_of(one) == [T0 + n * MINUTE for n in made]
    assert one.book.get("n").skipped == skipped


@pytest.mark.parametrize(("missed", "made", "skipped"), [("skip", [], 3), ("once", [3], 2), ("all", [1, 2, 3], 0)])
def test_ticks_that_were_all_missed(tickers: Tickers, missed: str, made: list[int], skipped: int) -> None:
    one = tickers()
    one.book.add("n", "@every 1h", template(), missed=missed, now=T0)
    one.step(T0 + 200 * MINUTE)
    assert ticks_of(one) == [T0 + n * 60 * MINUTE for n in made]
    schedule = one.book.get("n")
    assert (schedule.skipped, schedule.next_ms) == (skipped, T0 + 240 * MINUTE)


def test_the_clock_may_go_back(tickers: Tickers) -> None:
    one = tickers()
    one.book.add("n", "* * * * *", template(), now=T0)
    assert one.step(T0 + MINUTE) == 1
    assert one.step(T0 - 1000 * MINUTE) == 0
    assert one.step(T0 + MINUTE + 1) == 0
    assert one.step(T0 + 2 * MINUTE) == 1


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("others", [0, 3], ids=["alone", "other jobs come meanwhile"])
def test_a_death_before_any_part_leaves_the_tick_to_the_next(tickers: Tickers, part: str, others: int) -> None:
    one, two = tickers(), tickers()
    one.book.add("n", "* * * * *", template(), now=T0)
    die_before(one, part)
    with pytest.raises(Died):
        one.step(T0 + MINUTE)
    for _ in range(others):
        two.store.add_many(Q, [template()])
    assert two.step(T0 + MINUTE + 4_000) == 0 or part == "_store_job"  # the first one may still live
    two.step(T0 + MINUTE + 6_000)
    mine = [job for job in two.jobs(Q) if job.schedule]
    assert [job.time_scheduled * 1000 for job in mine] == [T0 + MINUTE]
    assert queued(two) == 1
    assert two.book.get("n").made == 1


def test_whoever_was_paused_in_mid_tick_and_comes_back_makes_no_second_job(tickers: Tickers) -> None:
    """Another one has made the tick, and its id by now belongs to a job that has nothing to do with it."""
    for part in PARTS:
        one, two = tickers(), tickers()
        name = f"n{PARTS.index(part)}"
        one.book.add(name, "* * * * *", template(), now=T0)

        def meanwhile(at: str, part: str = part, two: TickerDriver = two) -> None:
            if at == part:
                two.store.add_many(Q, [template()])
                two.step(T0 + MINUTE + 6_000)

        one.before = meanwhile
        submit_with(one, meanwhile)
        one.step(T0 + MINUTE)
        keys = [job.schedule for job in two.jobs(Q) if job.schedule.startswith(f"{name}@")]
        assert keys == [f"{name}@{T0 // 1000 + 60}"], part
        assert two.book.get(name).made == 1


def test_redis_away_leaves_the_tick_and_says_so(tickers: Tickers) -> None:
    one = tickers()
    one.book.add("n", "* * * * *", template(), now=T0)
    submit_with(one, lambda _: (_ for _ in ()).throw(RedisUnavailable("Redis is away")))
    assert one.step(T0 + MINUTE) == 0
    assert one.book.get("n").error == "Redis is away"
    two = tickers()
    assert two.step(T0 + MINUTE + 6_000) == 0  # stored by the first one: it is the same job
    assert queued(two) == 1
    assert len(two.jobs(Q)) == 1
    assert two.book.get("n").error == ""


def test_a_thousand_ticks_by_five_one_of_which_dies_in_mid_tick(tickers: Tickers) -> None:
    drivers = [tickers() for _ in range(5)]
    drivers[0].book.add("n", "@every 10s", template(), missed="all", now=T0)
    end = T0 + 10_000_000
    dice = random.Random(7)
    lives = dice.randint(20, 60)

    def die(_: str) -> None:
        nonlocal lives
        lives -= 1
        if lives == 0:
            raise Died

    drivers[4].before = die
    now = [T0]
    lock = threading.Lock()

    def work(driver: TickerDriver) -> None:
        try:
            while driver.book.get("n").next_ms <= end:
                with lock:
                    now[0] = max(now[0], driver.book.get("n").next_ms) + dice.choice((0, 500, 6_000))
                    at = now[0]
                driver.step(at)
        except Died:
            pass

    threads = [threading.Thread(target=work, args=(driver,)) for driver in drivers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = ticks_of(drivers[0])
    assert sorted(made)[:1000] == [T0 + 10_000 * n for n in range(1, 1001)]
    assert len(set(made)) == len(made)
    assert lives <= 0
    assert queued(drivers[0]) == len(made)


def test_a_tick_whose_forerunner_isn_t_over_is_passed_over_if_it_is_to_be_unique(tickers: Tickers) -> None:
    one, two = tickers(), tickers()
    job = template()
    job.unique_key = "one at a time"
    one.book.add("n", "* * * * *", job, now=T0)
    die_before(one, "submit")
    with pytest.raises(Died):
        one.step(T0 + MINUTE)
    assert two.step(T0 + MINUTE + 6_000) == 0  # its own job has the key: it is made, not passed over
    assert two.book.get("n").made == 1
    assert two.step(T0 + 2 * MINUTE) == 0
    assert (two.book.get("n").skipped, len(two.jobs(Q))) == (1, 1)
    (first,) = two.jobs(Q)
    first.status = "done"
    two.store.put_many(Q, [Put(1, encode(first), None)])
    assert two.step(T0 + 3 * MINUTE) == 1
    assert ticks_of(two) == [T0 + MINUTE, T0 + 3 * MINUTE]


def die_before(driver: TickerDriver, part: str) -> None:
    def before(at: str) -> None:
        if at == part:
            raise Died

    driver.before = before
    submit_with(driver, before)


def submit_with(driver: TickerDriver, before: Callable[[str], object]) -> None:
    """Call `before` when the job goes to Redis, which isn't done by `apart`."""
    real = driver.redis.run

    async def run(call: calls.Call[object]) -> object:
        before("submit")
        return await real(call)

    driver.redis.run = run  # type: ignore[method-assign, assignment]
