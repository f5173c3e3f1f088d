"""The last child and the parent, stepped: WatchDogs end two jobs while two others take up the job after both.

Every call of Redis is a step; between two steps of one anybody else may have any number of theirs. The real code runs,
over a transport that stops before each call.
"""

from __future__ import annotations

import random
from collections.abc import Coroutine, Generator, Iterator, Sequence
from typing import Any

import pytest

from herojobs import After, Job
from herojobs.live import admin
from herojobs.live.redis import BlockingRedis, run_sync
from herojobs.names import Queue
from herojobs.settings import Settings, load
from herojobs.testing import FakeClock
from herojobs.watchdog.inline import InlineWatchDog

ORDERS = 1000
Q = Queue("c", "t")
PARENTS = (Queue("c", "t"), Queue("c", "p"))


class Pause:
    """A step that waits for its turn."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class SteppedRedis(BlockingRedis):
    """Stops before each call while `stepping`."""

    stepping = False

    async def exchange(self, commands: Sequence[Any], repeatable: bool = False) -> list[Any]:
        if self.stepping:
            await Pause()
        return await super().exchange(commands, repeatable)


class Dog(InlineWatchDog):
    """A WatchDog whose calls can be stepped."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings=settings)
        run_sync(self._redis.close())
        self._redis = SteppedRedis(settings.redis_url)
        self._life._redis = self._life._flows._redis = self._flows._redis = self._redis  # type: ignore[attr-defined]

    async def end(self, runs: list[Any], queue: Queue) -> None:
        await self._finish(runs)
        await self._flows.deliver(queue)

    async def take_up(self, queue: Queue) -> list[Any]:
        runs, _ = await self._claim(queue, 10)
        for run in runs:
            self.execute(run)
        return runs

    @property
    def stepped(self) -> SteppedRedis:
        assert isinstance(self._redis, SteppedRedis)
        return self._redis


@pytest.fixture
def dogs(tmp_path: Any, redis_url: str) -> Iterator[list[Dog]]:
    settings = load({}, home=tmp_path / "home", redis_url=redis_url, sync="never")
    made = [Dog(settings) for _ in range(4)]
    yield made
    for dog in made:
        dog.close()


def run_in_some_order(actors: list[Coroutine[Any, Any, Any]], dice: random.Random, dies: int = -1) -> list[str]:
    """Step actors until all have ended; the actor `dies` ends at some step. Return the order."""
    left = dict(enumerate(actors))
    order = []
    dies_at = dice.randint(2, 7)
    while left:
        turn = dice.choice(list(left))
        order.append(str(turn))
        if turn == dies:
            dies_at -= 1
            if not dies_at:
                left.pop(turn).close()  # not before its first step, at which nothing has happened yet
                order.append("dies")
                continue
        try:
            left[turn].send(None)
        except StopIteration:
            del left[turn]
    return order


class Scene:
    """Two jobs that run and one that comes after both, made anew for each order."""

    def __init__(self, dogs: list[Dog], on_failure: str, fails: bool) -> None:
        self.dogs = dogs
        self.on_failure = on_failure
        self.fails = fails
        self.redis = BlockingRedis(dogs[0].settings.redis_url)

    def begin(self) -> tuple[int, list[Coroutine[Any, Any, Any]]]:
        """Return the id of the one that waits, and the actors."""
        store = self.dogs[0]._store
        claims = []
        refs = []
        for dog, queue in zip(self.dogs, PARENTS, strict=False):
            script = "!!fake.return_error" if self.fails and queue == Q else "!!core.echo content:x"
            parent = self._submit(queue, script, [])
            refs.append(str(parent.ref))
            (run,) = dog.claim(*queue)
            dog.execute(run)
            claims.append((dog, run, queue))
        child = self._submit(Q, "!!job.parents", [After(ref, self.on_failure) for ref in refs])
        for dog in self.dogs:
            dog.stepped.stepping = True
        assert store.get(Q, child.job_id).status == "new"
        actors = [dog.end([run], queue) for dog, run, queue in claims]
        actors += [self.dogs[2].take_up(Q), self.dogs[3].take_up(Q)]
        return child.job_id, actors

    def settle(self) -> None:
        """Let everybody go on without stepping."""
        for dog in self.dogs:
            dog.stepped.stepping = False

    def _submit(self, queue: Queue, script: str, after: list[After]) -> Job:
        from herojobs.live.calls import submit

        job = Job(circle_id=queue.circle, topic=queue.topic, params=script, after=after, created_ms=1, time_scheduled=1)
        (data,) = self.dogs[0]._store.add_many(queue, [job])
        run_sync(self.redis.run(submit(queue, [(job.job_id, data, 0, 0)])))
        return job

    def places(self) -> admin.Counts:
        return run_sync(self.redis.run(admin.counts(Q)))

    def leftovers(self) -> list[bytes]:
        keys: list[bytes] = run_sync(self.redis.command("KEYS", "*"))
        return [key for key in keys if key.startswith((b"herokids", b"herowait", b"heroheld", b"heromail"))]

    def finish_taken(self) -> None:
        """Have the runs end that `take_up` gave, and whatever waits."""
        self.dogs[0].run_pending()


@pytest.mark.parametrize(
    ("on_failure", "fails", "end"), [("cancel", False, "done"), ("run", True, "done"), ("fail", True, "failed")]
)
def test_the_job_after_both_is_let_go_exactly_once(dogs: list[Dog], on_failure: str, fails: bool, end: str) -> None:
    scene = Scene(dogs, on_failure, fails)
    store = dogs[0]._store
    dice = random.Random(2026)
    seen: set[tuple[str, ...]] = set()
    for _ in range(ORDERS // 3 + 1):
        id, actors = scene.begin()
        taken: list[Any] = []
        actors = [*actors[:2], *(_collect(actor, taken) for actor in actors[2:])]
        order = run_in_some_order(actors, dice)
        seen.add(tuple(order))
        scene.settle()
        counts = scene.places()
        # It runs now, or it waits to be claimed, or it has ended; never held though both are over.
        assert counts.held == 0, order
        assert len(taken) + counts.waiting + store.get(Q, id).is_over == 1, order
        for run in taken:
            assert dogs[2].finish([run]), order
        dogs[0].run_pending()
        job = store.get(Q, id)
        assert job.reason == end, (order, job)
        assert job.attempts == (end == "done"), order
        if end == "done":
            assert job.result.count('"ref"') == 2, order
            assert '"status":"new"' not in job.result
            assert '"status":"active"' not in job.result
        assert scene.leftovers() == [], order
        assert scene.places().total == 0, order
    assert len(seen) > ORDERS // 4
    run_sync(scene.redis.close())


def test_whoever_dies_on_the_way_reconciliation_finds_it(dogs: list[Dog]) -> None:
    scene = Scene(dogs, "cancel", False)
    store = dogs[0]._store
    dice = random.Random(7)
    with FakeClock() as clock:
        for n in range(ORDERS // 4):
            id, actors = scene.begin()
            taken: list[Any] = []
            actors = [*actors[:2], *(_collect(actor, taken) for actor in actors[2:])]
            order = run_in_some_order(actors, dice, dies=n % 4)
            scene.settle()
            clock.move(seconds=dogs[0].settings.lease + 1)  # what the dead had goes back
            for queue in PARENTS:
                run_sync(dogs[0]._flows.deliver(queue))
            dogs[0].run_pending()
            run_sync(dogs[0]._flows.recheck(Q))
            dogs[0].run_pending()
            job = store.get(Q, id)
            assert (job.status, job.result.count('"status":"done"')) == ("done", 2), (order, job)
            assert run_sync(dogs[0]._flows.recheck(Q)) == 0, order
            assert scene.places().total == 0, order
            assert [version.status for version in store.history(Q, id)].count("done") == 1, order
    run_sync(scene.redis.close())


async def _collect(actor: Coroutine[Any, Any, list[Any]], into: list[Any]) -> None:
    into += await actor
