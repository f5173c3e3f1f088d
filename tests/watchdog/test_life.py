"""The life of a job, stepped: two WatchDogs, a client and reconciliation over one job, in orders that hurt.

Each WatchDog here is its `Life` and nothing else: the test makes its Redis calls when it likes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from herojobs import HeroJobs, Job
from herojobs.errors import JobConflict
from herojobs.live.calls import extend
from herojobs.live.recovery import restore
from herojobs.live.redis import BlockingRedis, run_sync
from herojobs.names import Queue
from herojobs.ourdb import OurDBError
from herojobs.outcome import Done, Failed, Outcome
from herojobs.settings import Settings, load
from herojobs.store import JobIndex, JobStore, Position, Put
from herojobs.watchdog import reconcile
from herojobs.watchdog.cycle import Cycle
from herojobs.watchdog.fair import Turns
from herojobs.watchdog.life import Life, for_redis
from herojobs.watchdog.reconcile import Reconciler
from herojobs.watchdog.runs import Run

Q = Queue("c", "t")


class Dog:
    """A WatchDog taken apart."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.redis = BlockingRedis(settings.redis_url)
        self.store = JobStore(settings)
        self.life = Life(self.store, settings, self.redis, name, self._write)

    async def _write(self, queue: Queue, puts: list[Put]) -> list[Position | None]:
        return self.store.put_many(queue, puts)

    def claim(self) -> Callable[[], list[Run]]:
        """Claim in Redis; what is returned makes the jobs active in OurDB, and tells Redis."""
        token, call = self.life.claim(Q, 10)
        claimed = run_sync(self.redis.run(call)).jobs

        def accept() -> list[Run]:
            runs, calls = run_sync(self.life.accept(Q, token, claimed))
            self.tell(calls + self.life.tell_started(runs))
            return runs

        return accept

    def end(self, run: Run, outcome: Outcome) -> Callable[[], list[Any]]:
        """End a run in OurDB; what is returned tells Redis."""
        run.outcome = outcome
        calls = run_sync(self.life.end([run]))
        return lambda: self.tell(calls)

    def give_back(self, run: Run, counted: bool = True) -> Callable[[], list[Any]]:
        calls = run_sync(self.life.give_back([run], counted=counted))
        return lambda: self.tell(calls)

    def tell(self, calls: list[Any]) -> list[Any]:
        return run_sync(self.redis.run_many(calls))

    def close(self) -> None:
        run_sync(self.redis.close())
        self.store.close()


@pytest.fixture
def settings(tmp_path: Path, redis_url: str) -> Settings:
    return load({}, home=tmp_path, redis_url=redis_url, lease=1)


@pytest.fixture
def hero(settings: Settings) -> Iterator[HeroJobs]:
    with HeroJobs(settings=settings) as client:
        yield client


@pytest.fixture
def dogs(settings: Settings) -> Iterator[tuple[Dog, Dog]]:
    pair = Dog(settings, "a"), Dog(settings, "b")
    yield pair
    for dog in pair:
        dog.close()


def submit(hero: HeroJobs, **fields: Any) -> Job:
    return hero.submit("!!core.echo", circle_id="c", topic="t", **fields)


def expire(dog: Dog) -> None:
    """Have all leases run out."""
    key = "herolease:c:t"
    for id in run_sync(dog.redis.command("ZRANGE", key, 0, -1)):
        run_sync(dog.redis.command("ZADD", key, 1, id))


def states(hero: HeroJobs, job: Job) -> list[str]:
    return [version.status for version in hero.history(job)]


def in_redis(dog: Dog) -> str:
    return str(run_sync(dog.redis.command("HGET", "herojobs:c:t:1", "st")).decode())


def places(hero: HeroJobs) -> tuple[int, int, int]:
    ((_, _, waiting, scheduled, active, *_),) = hero.queues()
    return waiting, scheduled, active


def test_an_end_after_a_takeover_is_refused_by_ourdb_and_redis(hero: HeroJobs, dogs: tuple[Dog, Dog]) -> None:
    a, b = dogs
    job = submit(hero)
    (late,) = a.claim()()
    expire(a)
    (run,) = b.claim()()
    assert a.end(late, Done("late"))() == []
    assert (hero.get(job).status, in_redis(a)) == ("active", "active")
    assert b.end(run, Done("right"))() == [[True]]
    done = hero.get(job)
    assert (done.result, done.attempts, in_redis(a)) == ("right", 2, "done")
    assert states(hero, job) == ["new", "active", "active", "done"]


def test_an_end_between_another_s_claim_and_its_active_counts(hero: HeroJobs, dogs: tuple[Dog, Dog]) -> None:
    """OurDB decides: the end came first, so the other one settles instead of running it again."""
    a, b = dogs
    job = submit(hero)
    (run,) = a.claim()()
    expire(a)
    accept = b.claim()
    assert a.end(run, Done("first"))() == [[False]]
    assert accept() == []
    assert (hero.get(job).result, in_redis(a), places(hero)) == ("first", "done", (0, 0, 0))
    assert states(hero, job) == ["new", "active", "done"]


def test_an_active_that_comes_after_a_takeover_is_refused(hero: HeroJobs, dogs: tuple[Dog, Dog]) -> None:
    """A WatchDog stopped between its claim and its look into OurDB starts nothing that another one runs."""
    a, b = dogs
    job = submit(hero)
    accept = a.claim()
    expire(a)
    (run,) = b.claim()()
    late = accept()
    if late:  # it wrote active after the other's: then the other's end is refused, and its own counts
        assert b.end(run, Done("b"))() == []
        assert a.end(late[0], Done("a"))() == [[False]]
    else:
        b.end(run, Done("b"))()
    assert states(hero, job)[-1] == "done"
    assert sum(version.is_over for version in hero.history(job)) == 1


def test_a_job_that_ourdb_lost_is_taken_from_redis(hero: HeroJobs, dogs: tuple[Dog, Dog]) -> None:
    job = submit(hero)
    dogs[0].store.delete(Q, [job.job_id])
    (run,) = dogs[0].claim()()
    assert (run.job.params, run.job.status) == (job.params, "active")
    dogs[0].end(run, Done("ok"))()
    assert in_redis(dogs[0]) == "done"


def test_a_late_put_back_moves_nothing(hero: HeroJobs, dogs: tuple[Dog, Dog]) -> None:
    a, b = dogs
    job = submit(hero)
    (late,) = a.claim()()
    expire(a)
    (run,) = b.claim()()
    assert a.give_back(late)() == []
    assert places(hero) == (0, 0, 1)
    b.end(run, Failed("x"))()
    assert (states(hero, job), in_redis(a)) == (["new", "active", "active", "error"], "error")


def test_a_late_extension_and_restoration_are_refused(hero: HeroJobs, dogs: tuple[Dog, Dog]) -> None:
    a, b = dogs
    submit(hero)
    (late,) = a.claim()()
    expire(a)
    (run,) = b.claim()()
    (answer,) = a.tell([extend(Q, 1000, [(1, late.token)])])
    assert answer.lost == [1]
    entry = (1, late.token, for_redis(late.job, 1, late.data), 1, True)
    assert a.tell([restore(Q, 1000, [entry])]) == [[False]]
    assert b.end(run, Done("x"))() == [[True]]


def test_a_job_whose_watchdogs_vanish_is_lost_after_its_attempts(hero: HeroJobs, dogs: tuple[Dog, Dog]) -> None:
    a, _ = dogs
    job = submit(hero, max_attempts=2)
    for _ in range(2):
        assert len(a.claim()()) == 1
        expire(a)
    assert a.claim()() == []
    lost = hero.get(job)
    assert (lost.status, lost.reason, lost.attempts) == ("error", "lost", 2)
    assert lost.error == "lost: 2 attempts began and none reported its end"
    assert states(hero, job) == ["new", "active", "active", "error"]
    assert places(hero) == (0, 0, 0)


def test_watchdogs_that_vanish_cost_a_job_nothing_that_no_worker_began(hero: HeroJobs, dogs: tuple[Dog, Dog]) -> None:
    a, b = dogs
    job = submit(hero, max_attempts=1)
    for dog in (a, b, a, b):
        token, call = dog.life.claim(Q, 10)
        claimed = run_sync(dog.redis.run(call)).jobs
        runs, calls = run_sync(dog.life.accept(Q, token, claimed))
        assert (len(runs), calls, runs[0].job.attempts) == (1, [], 1)
        expire(dog)
    (run,) = a.claim()()
    a.end(run, Done("x"))()
    assert (hero.get(job).status, hero.get(job).attempts) == ("done", 1)


@pytest.mark.parametrize("told", [False, True])
def test_cancel_and_finish_leave_one_end(hero: HeroJobs, dogs: tuple[Dog, Dog], told: bool) -> None:
    a, _ = dogs
    job = submit(hero)
    (run,) = a.claim()()
    tell = a.end(run, Done("x"))
    if told:
        tell()
    with pytest.raises(JobConflict):
        hero.cancel(job)
    tell()
    assert states(hero, job) == ["new", "active", "done"]
    assert (in_redis(a), hero.get(job).result) == ("done", "x")


def test_a_cancel_is_known_to_whoever_has_the_job_next(hero: HeroJobs, dogs: tuple[Dog, Dog]) -> None:
    a, b = dogs
    job = submit(hero)
    (run,) = a.claim()()
    assert hero.cancel(job).status == "active"
    (answer,) = a.tell([extend(Q, 1000, [(1, run.token)])])
    assert answer.cancelled == [1]
    a.give_back(run)()
    assert b.claim()() == []
    assert hero.get(job).reason == "cancelled"
    assert states(hero, job) == ["new", "active", "new", "error"]


@pytest.mark.parametrize("when", ["claimed", "active", "ended", "told"])
def test_a_wipe_at_each_step_loses_nothing(
    settings: Settings, hero: HeroJobs, dogs: tuple[Dog, Dog], monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Redis is emptied, reconciliation comes, another WatchDog takes what it finds: one end stays."""
    monkeypatch.setattr(reconcile, "SETTLE_MS", 0)
    a, b = dogs
    job = submit(hero)
    runs: list[Run] = []
    later: Callable[[], Any] = lambda: None  # noqa: E731 - what the first WatchDog has still to say
    accept = a.claim()
    if when != "claimed":
        runs = accept()
    if when in ("ended", "told"):
        later = a.end(runs[0], Done("a"))
    if when == "told":
        later()
    run_sync(a.redis.command("FLUSHALL"))
    store, index = JobStore(settings), None
    index = JobIndex(store)
    reconciler = Reconciler(a.redis, store, index, settings, Turns(lambda queue: True))  # type: ignore[arg-type]
    brought = 0
    deadline = time.monotonic() + 60
    while not brought and when in ("claimed", "active"):  # an active job must be missing for a lease
        brought = step(reconciler)
        assert time.monotonic() < deadline
    index.close()
    store.close()
    second = b.claim()()
    assert len(second) == (1 if when in ("claimed", "active") else 0)
    if when == "claimed":
        runs = accept()
    if runs and when != "told":
        later = later if when == "ended" else a.end(runs[0], Done("a"))
        later()
    for run in second:
        b.end(run, Done("b"))()
    assert hero.get(job).status == "done"
    assert sum(version.is_over for version in hero.history(job)) == 1
    assert b.claim()() == []


def test_a_running_job_that_redis_lost_is_back_a_lease_later_though_counts_hide_it(
    settings: Settings, hero: HeroJobs, dogs: tuple[Dog, Dog], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis has another id more than OurDB, as between an end in OurDB and in Redis."""
    monkeypatch.setattr(reconcile, "SETTLE_MS", 0)
    clock = time.monotonic()
    monkeypatch.setattr(reconcile, "time", SimpleNamespace(monotonic=lambda: clock))
    a, _ = dogs
    job = submit(hero)
    a.claim()()
    run_sync(a.redis.command("DEL", "herolease:c:t"))
    run_sync(a.redis.command("ZADD", "herolease:c:t", 2**45, 77))
    store = JobStore(settings)
    index = JobIndex(store)
    reconciler = Reconciler(a.redis, store, index, settings, Turns(lambda queue: True))  # type: ignore[arg-type]
    brought = [step(reconciler)]
    clock += settings.lease / 2
    brought.append(step(reconciler))
    clock += settings.lease / 2
    brought.append(step(reconciler))
    assert brought == [0, 0, 1]
    assert states(hero, job) == ["new", "active", "new"]
    index.close()
    store.close()


def step(reconciler: Reconciler) -> int:
    """Run one pass; it waits for a thread, so it needs a loop."""
    import asyncio

    return asyncio.run(reconciler.step())


def test_reconciliation_leaves_a_submission_alone_that_is_under_way(
    settings: Settings, hero: HeroJobs, dogs: tuple[Dog, Dog], monkeypatch: pytest.MonkeyPatch
) -> None:
    """OurDB has the job, Redis hasn't yet: when the pass queues it too, it is queued once."""
    a, _ = dogs
    store = JobStore(settings)
    index = JobIndex(store)
    reconciler = Reconciler(a.redis, store, index, settings, Turns(lambda queue: True))  # type: ignore[arg-type]
    brought: list[int] = []
    add_many = JobStore.add_many

    def between(self: JobStore, *args: Any, **kwargs: Any) -> Any:
        written = add_many(self, *args, **kwargs)
        brought.append(step(reconciler))
        return written

    monkeypatch.setattr(JobStore, "add_many", between)
    submit(hero)
    monkeypatch.setattr(reconcile, "SETTLE_MS", 0)
    submit(hero)
    assert brought == [0, 1]
    assert places(hero) == (2, 0, 0)
    assert len(a.claim()()) == 2
    index.close()
    store.close()


async def test_ends_of_several_queues_are_written_once_though_one_fails(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full for the second queue's database: the first queue's ends aren't written again."""
    from herojobs.live.redis import AsyncRedis

    redis = AsyncRedis(settings.redis_url)
    store = JobStore(settings)
    cycle = Cycle(redis, store, settings, Turns(lambda queue: True), "w")
    with HeroJobs(settings=settings) as hero:
        jobs = [hero.submit("!!core.echo", circle_id=circle) for circle in ("one", "two")]
        for job in jobs:
            token, call = cycle._life.claim(job.queue, 1)
            runs, _ = await cycle._life.accept(job.queue, token, (await redis.run(call)).jobs)
            runs[0].outcome = Done("x")
            cycle.pool.ended += runs
        put_many = store.put_many

        def full(queue: Queue, *args: Any, **kwargs: Any) -> Any:
            if queue.circle == "two":
                raise OurDBError("no space left")
            return put_many(queue, *args, **kwargs)

        with monkeypatch.context() as patched:
            patched.setattr(store, "put_many", full)
            for _ in range(3):
                with pytest.raises(OurDBError):
                    await cycle.exchange()
        cycle.stop_claiming()
        await cycle.exchange()
        for job in jobs:
            assert [version.status for version in hero.history(job)] == ["new", "active", "done"]
            assert await redis.command("HGET", f"herojobs:{job.queue.key}:1", "st") == b"done"
        assert cycle.is_settled()
    await redis.close()
    store.close()


async def test_a_cancel_heard_late_reaches_its_own_queue_alone(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis tells of it when it hears that the job is active; another queue has a job of the same number."""
    from herojobs.live.redis import AsyncRedis

    redis = AsyncRedis(settings.redis_url)
    store = JobStore(settings)
    cycle = Cycle(redis, store, settings, Turns(lambda queue: True), "w")
    cancelled: list[str] = []
    monkeypatch.setattr(cycle.pool, "cancel", lambda run: cancelled.append(run.ref))
    with HeroJobs(settings=settings) as hero:
        jobs = [hero.submit("!!core.echo", circle_id=circle) for circle in ("one", "two")]
        runs: list[Run] = []
        for job in jobs:
            token, call = cycle._life.claim(job.queue, 1)
            accepted, _ = await cycle._life.accept(job.queue, token, (await redis.run(call)).jobs)
            runs += accepted
        monkeypatch.setattr(cycle.pool, "runs", lambda: runs)
        monkeypatch.setattr(cycle.pool, "untold", lambda before: runs)
        for run in runs:
            run.deadline = 1.0
        await redis.command("HSET", "herojobs:two:default:1", "cx", "1")
        cycle.stop_claiming()
        await cycle.exchange()
    assert cancelled == ["two/default/1"]
    await redis.close()
    store.close()


async def test_what_was_claimed_long_before_redis_answers_starts_nowhere(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease may have run out by now, and another WatchDog have it."""
    from herojobs.live.redis import AsyncRedis

    redis = AsyncRedis(settings.redis_url)
    store = JobStore(settings)
    turns = Turns(lambda queue: True)
    cycle = Cycle(redis, store, settings, turns, "w")
    cycle.pool.room = lambda: 5  # type: ignore[method-assign]
    passed = 0.0
    clock = cycle._loop.time
    run_many = cycle.calls.run_many

    async def slowly(calls: Any) -> Any:
        nonlocal passed
        replies = await run_many(calls)
        passed += settings.lease * 0.6
        return replies

    with HeroJobs(settings=settings) as hero, monkeypatch.context() as patched:
        job = hero.submit("!!core.echo", circle_id="c", topic="t")
        turns.heat(job.queue)
        patched.setattr(cycle, "_loop", SimpleNamespace(time=lambda: clock() + passed))
        patched.setattr(cycle.calls, "run_many", slowly)
        await cycle.exchange()
        assert not cycle.pool.runs()
        assert places(hero) == (0, 0, 1)
        patched.setattr(cycle.calls, "run_many", run_many)
        cycle.stop_claiming()
        await cycle.exchange()
        assert places(hero) == (1, 0, 0)
        assert states(hero, job) == ["new"]
    await redis.close()
    store.close()


async def test_what_one_exchange_brought_starts_while_the_next_is_at_redis(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what no worker can take any more, since the WatchDog stops in a hurry, goes back."""
    from herojobs.live.redis import AsyncRedis

    redis = AsyncRedis(settings.redis_url)
    store = JobStore(settings)
    turns = Turns(lambda queue: True)
    cycle = Cycle(redis, store, settings, turns, "w")
    monkeypatch.setattr(cycle.pool, "room", lambda: 1 + len(cycle._arrived))
    accept, run_many, seen = cycle._life.accept, cycle.calls.run_many, list[str]()

    async def accept_and_note(*args: Any) -> Any:
        seen.append("taken in")
        return await accept(*args)

    async def run_many_and_note(calls: Any) -> Any:
        seen.append("sent")
        replies = await run_many(calls)
        seen.append("answered")
        return replies

    monkeypatch.setattr(cycle._life, "accept", accept_and_note)
    monkeypatch.setattr(cycle.calls, "run_many", run_many_and_note)
    with HeroJobs(settings=settings) as hero:
        (first, *_) = hero.submit_many([Job(params="!!core.echo", circle_id="c", topic="t") for _ in range(5)])
        turns.heat(first.queue)
        await cycle._exchange()
        await cycle._exchange()
        assert seen == ["sent", "answered", "sent", "taken in", "answered"]
        assert [run.db_id for run in cycle.pool.runs()] == [1]
        assert places(hero) == (3, 0, 2)
        cycle.stop_claiming()
        await cycle.give_back(cycle.pool.close())
        await cycle.exchange()
        assert places(hero) == (5, 0, 0)
        assert cycle.is_settled()
    await redis.close()
    store.close()
