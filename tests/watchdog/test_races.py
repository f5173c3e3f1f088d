"""Named races between WatchDogs and clients, in many orders of their calls of Redis and OurDB.

The actors run the real code, over a real Redis and OurDB; only the order is ours. `HEROJOBS_ORDERS` says how many.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from herojobs import HeroJobs, InlineWatchDog, Job
from herojobs.errors import JobConflict, JobExists, JobNotFound
from herojobs.live.connect import connect_blocking
from herojobs.live.redis import AsyncRedis, run_sync
from herojobs.names import Ref
from herojobs.outcome import Done, Failed
from herojobs.settings import Settings, load
from herojobs.store import JobStore
from herojobs.watchdog import reconcile
from herojobs.watchdog.cycle import Cycle
from herojobs.watchdog.fair import Turns
from herojobs.watchdog.runs import Run
from support.steps import Steps

ORDERS = int(os.environ.get("HEROJOBS_ORDERS", "1000"))
ECHO = "!!core.echo content:hi"


class Scene:
    """Two WatchDogs that do one step at a time, and two clients, over one home."""

    def __init__(self, home: Path, redis_url: str) -> None:
        self.settings = load(home=home, redis_url=redis_url, retry_max_delay=0, sync="never")
        self.steps = Steps()
        self.dogs = [InlineWatchDog(settings=self.settings) for _ in range(2)]
        self.clients = [HeroJobs(settings=self.settings) for _ in range(2)]
        for dog in self.dogs:
            self.steps.watch(dog._redis, dog._store)
        for client in self.clients:
            _ = client._core
            opened: Any = client._opened
            self.steps.watch(opened._redis, opened._store)
        self.plain = HeroJobs(settings=self.settings)
        self.redis = connect_blocking(self.settings)

    def claim_and_end(self, dog: int, outcome: Any, lease: float = 15.0) -> Callable[[], bool | None]:
        """Return an actor that claims a job and reports how it ended; it returns whether that was accepted."""
        watchdog = self.dogs[dog]
        settings = msgspec.structs.replace(self.settings, lease=lease)

        def act() -> bool | None:
            watchdog._life._settings = settings
            runs = watchdog.claim("default")
            for run in runs:
                run.outcome = outcome
            return watchdog.finish(runs) if runs else None

        return act

    def waits(self) -> int:
        ((_, _, waiting, scheduled, *_),) = self.plain.queues()
        return waiting + scheduled

    def drain(self) -> None:
        """Have everything that waits or was left leased run to its end."""
        settings = msgspec.structs.replace(self.settings, lease=0.0)
        for _ in range(4):
            for dog in self.dogs:
                dog._life._settings = settings
                dog.run_pending()

    def forget(self) -> None:
        run_sync(self.redis.command("FLUSHDB"))

    def state(self, job: Job) -> bytes:
        return bytes(run_sync(self.redis.command("HGET", f"herojobs:default:default:{job.job_id}", "st")) or b"")

    def close(self) -> None:
        run_sync(self.redis.close())
        for each in (*self.dogs, *self.clients, self.plain):
            each.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power is cut here: what reached the system counts as stored."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def scene(tmp_path: Path, redis_url: str) -> Iterator[Scene]:
    found = Scene(tmp_path / "home", redis_url)
    yield found
    found.close()


def ends(scene: Scene, job: Job) -> list[str]:
    return [each.reason for each in scene.plain.history(job) if each.is_over]


def test_rescue_and_finish(scene: Scene) -> None:
    """A WatchDog's lease has run out while it runs the job; another one takes the job over."""
    seen = set()
    for seed in range(ORDERS):
        job = scene.plain.submit(ECHO)
        answers = scene.steps.run(
            seed, scene.claim_and_end(0, Done("a"), lease=0), scene.claim_and_end(1, Done("b"), lease=0)
        )
        assert not [each for each in answers if isinstance(each, Exception)], (seed, answers)
        now = scene.plain.get(job)
        if not now.is_over:  # each found that the other had it
            scene.drain()
            now = scene.plain.get(job)
        assert ends(scene, job) == ["done"], seed
        assert answers.count(True) <= 1, seed
        if True in answers:
            assert now.result == "ab"[answers.index(True)], seed
        scene.drain()
        assert (scene.state(job), scene.waits()) == (b"done", 0), seed
        seen.add(tuple(answers))
    assert len(seen) >= 3, "the orders differ"


def test_cancel_and_finish(scene: Scene) -> None:
    seen = set()
    for seed in range(ORDERS):
        job = scene.plain.submit(ECHO)
        ended, cancelled = scene.steps.run(
            seed, scene.claim_and_end(0, Done("a")), lambda job=job: scene.clients[0].cancel(job)
        )
        assert not isinstance(ended, Exception), (seed, ended)
        scene.drain()
        now = scene.plain.get(job)
        assert ends(scene, job) == [now.reason], (seed, "one end, and nothing after it")
        if isinstance(cancelled, JobConflict):
            assert now.reason == "done", seed
        elif cancelled.is_over:
            assert cancelled.reason == now.reason, seed
        assert scene.state(job).decode() == now.status, seed
        assert scene.waits() == 0, seed
        seen.add((ended, now.reason))
    assert {reason for _, reason in seen} == {"done", "cancelled"}


def test_cancel_and_retry(scene: Scene) -> None:
    seen = set()
    for seed in range(ORDERS):
        job = scene.plain.submit(ECHO)
        scene.claim_and_end(1, Failed("no"))()
        answers = scene.steps.run(
            seed,
            lambda job=job: scene.clients[0].retry(job),
            lambda job=job: scene.clients[1].cancel(job),
            scene.claim_and_end(0, Done("again")),
        )
        retried, cancelled, _ = answers
        assert not [each for each in answers if isinstance(each, Exception) and not isinstance(each, JobConflict)]
        assert isinstance(retried, Job), (seed, retried)
        scene.drain()
        now = scene.plain.get(job)
        assert now.is_over, seed
        assert ends(scene, job) in (["failed", "done"], ["failed", "cancelled"]), seed
        if isinstance(cancelled, Job) and cancelled.is_over:
            assert now.reason == cancelled.reason, seed
        assert scene.state(job).decode() == now.status, seed
        assert scene.waits() == 0, seed
        seen.add((type(cancelled).__name__, now.reason))
    assert {reason for _, reason in seen} == {"done", "cancelled"}


class FakeChild:
    """Takes what it is given, and notes whether that was allowed."""

    ready, concurrent, killed, recalled, room, running = True, False, False, False, 3, None

    def __init__(self, allowed: Callable[[], bool]) -> None:
        self._allowed = allowed
        self.runs: dict[int, Run] = {}
        self.given: list[tuple[Run, bool]] = []

    def give(self, runs: list[Run]) -> None:
        self.given += [(run, self._allowed()) for run in runs]
        self.runs = {}


async def test_pause_and_claim(tmp_path: Path, redis_url: str) -> None:
    """Pause and resume fall into every gap of an exchange: nothing starts once `pause` is back, nothing is lost."""
    settings = load(
        home=tmp_path / "home", redis_url=redis_url, lease=3600, sync="never"
    )  # nobody ticks: that's no standstill
    steps = Steps()
    redis, store = AsyncRedis(redis_url), JobStore(settings)
    paused = False
    toggle_at: list[int] = []
    with HeroJobs(settings=settings) as hero:

        def before() -> None:
            nonlocal paused
            toggle_at[:] = [at - 1 for at in toggle_at]
            if toggle_at and toggle_at[0] == 0:
                toggle_at.pop(0)
                (hero.resume if paused else hero.pause)("c", "t")
                paused = not paused

        steps.watch(redis, store, before)
        cycle = Cycle(redis, store, settings, Turns(lambda queue: True), "w")
        child = FakeChild(lambda: not paused)
        cycle.pool._exclusive = [child]  # type: ignore[list-item]
        held_back = 0
        for order in range(ORDERS):
            jobs = [hero.submit(ECHO, circle_id="c", topic="t") for _ in range(2)]
            toggle_at[:] = sorted({1 + order % 11, 1 + order // 11 % 13, 1 + order // 143 % 17})
            child.given.clear()
            cycle.pool._ticked = cycle._loop.time()  # nothing ticks here; it would think that it was stopped
            for _ in range(3):
                cycle._turns.heat(jobs[0].queue)
                await cycle.exchange()
            assert all(allowed for _, allowed in child.given), order
            held_back += len(child.given) < 2
            toggle_at.clear()
            if paused:
                hero.resume("c", "t")
                paused = False
            while len(child.given) < 2:
                cycle.heed_rules()
                cycle._turns.heat(jobs[0].queue)
                await cycle.exchange()
            given = [run for run, _ in child.given]
            assert sorted(run.db_id for run in given) == [job.job_id for job in jobs], order
            for run in given:
                assert run.job.attempts == 1, (order, "what was held back has lost no attempt")
                run.outcome = Done("x")
                cycle.pool.ended.append(run)
            await cycle.exchange()
        assert held_back > ORDERS / 10
        assert [(q.waiting, q.active) for q in hero.queues()] == [(0, 0)]
    await redis.close()
    store.close()


def test_unique_and_crash(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client dies at any call while it submits a job with a key, or a WatchDog while it ends that job."""
    monkeypatch.setattr(reconcile, "SETTLE_MS", 0)
    scene = Scene(tmp_path / "home", redis_url)
    crashes = 0
    for order in range(min(ORDERS, 14 * 5 * 3)):  # all that there are: where it dies, and what happens then
        key = f"key{order}"
        died = _die_at(1 + order % 14, lambda key=key: _submit_and_end(scene.settings, key))
        crashes += died
        if order % 5 == 0:
            scene.forget()
        first = scene.plain.submit(ECHO, unique_key=key)
        assert scene.plain.submit(ECHO, unique_key=key).ref == first.ref, order
        with pytest.raises(JobExists):
            scene.plain.submit(ECHO, unique_key=key, if_exists="raise")
        if order % 3 == 0:
            try:
                scene.plain.delete(first)
            except JobConflict:  # the dead WatchDog's lease is still there
                scene.drain()
        else:
            scene.drain()
            assert scene.plain.get(first).is_over or order % 5 == 0, order
        if order % 3 and not scene.plain.get(first).is_over:  # only reconciliation knows of it
            continue
        second = scene.plain.submit(ECHO, unique_key=key)
        assert second.ref != first.ref, (order, "no lock outlives its job")
        keyed = [job for job in map(scene.plain.get, _ids(scene, second)) if job.unique_key == key]
        assert sum(not job.is_over for job in keyed) == 1, order
        scene.drain()
    assert crashes > min(ORDERS, 210) / 2
    scene.close()


def _ids(scene: Scene, last: Job) -> list[Ref]:
    found = []
    for number in range(max(1, last.job_id - 4), last.job_id + 1):
        ref = Ref(last.queue, number)
        try:
            scene.plain.get(ref)
        except JobNotFound:
            continue
        found.append(ref)
    return found


def _submit_and_end(settings: Settings, key: str) -> None:
    with HeroJobs(settings=settings) as hero:
        _ = hero._core
        _step(hero._opened)
        hero.submit(ECHO, unique_key=key)
        with InlineWatchDog(settings=settings) as dog:
            _step(dog)
            dog._life._settings = msgspec.structs.replace(settings, lease=0.0)  # it is taken over at once
            runs = dog.claim("default")
            for run in runs:
                run.outcome = Done("x")
            dog.finish(runs)


_left = 0


def _step(of: Any) -> None:
    def before() -> None:
        global _left
        _left -= 1
        if _left == 0:
            os._exit(9)  # as SIGKILL: nothing is cleaned up

    Steps().watch(of._redis, of._store, before)


def _die_at(step: int, act: Callable[[], None]) -> bool:
    """Run something in a process of its own, which dies before its nth call; return whether it did."""
    global _left
    pid = os.fork()
    if pid == 0:
        try:
            _left = step
            act()
        except BaseException:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, 9), code
    return code == 9
