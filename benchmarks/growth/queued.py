"""What a job costs while very many others wait: submitting, claiming and ending beside up to a million queued jobs.

Counted is the CPU time of this process and of Redis, together.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from redis import Redis

from benchmarks.growth.history import BATCH, PARAMS, QUEUE
from benchmarks.growth.timing import Grown, best, by_step, powers
from herojobs import HeroJobs, Job
from herojobs.live import embedded
from herojobs.live.redis import BlockingRedis, run_sync
from herojobs.names import Queue
from herojobs.outcome import Done
from herojobs.settings import load
from herojobs.store import JobStore, Put
from herojobs.store.base import Position
from herojobs.watchdog.life import Life

PORTION = 10_000
SINGLES = 20
ENOUGH = 1.0
"""Seconds for the rounds of a step."""
MEMORY = "bytes of Redis memory, each queued job"


class Queued:
    """A queue that grows, and a WatchDog's steps on it, in this process."""

    def __init__(self, hero: HeroJobs, home: Path, bare: Redis) -> None:
        settings = load({}, home=home)
        self._hero = hero
        self._bare = bare
        self._redis = BlockingRedis(embedded.url(home))
        self._store = JobStore(settings)

        async def write(queue: Queue, puts: list[Put]) -> list[Position | None]:
            return self._store.put_many(queue, puts)

        self._life = Life(self._store, settings, self._redis, "bench", write)
        info: Any = bare.info("server")
        self._schedstat = Path(f"/proc/{info['process_id']}/schedstat")
        self._queue = QUEUE
        self._claimed: list[Any] = []

    def fill(self, count: int) -> float:
        """Have so many jobs in a new queue, and nothing else in Redis; return the bytes that each takes there."""
        self._queue = Queue("c", f"t{count}")
        self._bare.flushall()
        before = self.memory()
        for start in range(0, count, PORTION):
            self._submit(min(PORTION, count - start))
        return (self.memory() - before) / count

    def memory(self) -> int:
        """Return the bytes that Redis uses for what it holds."""
        info: Any = self._bare.info("memory")
        return int(info["used_memory"])

    def steps(self, count: int) -> dict[str, float]:
        """Return microseconds of every step, and bytes a queued job, with `count` jobs queued."""
        memory = self.fill(count)
        timed = partial(best, seconds=ENOUGH, clock=self._cpu)
        found = {
            "submit one": timed(self._submit_singly, SINGLES, self._remove_singles),
            f"submit {BATCH}, each": timed(lambda: self._submit(BATCH), BATCH, self._remove),
            f"claim {BATCH}, each": timed(self._claim, BATCH, self._refill),
            f"end {BATCH}, each": timed(self._end, BATCH, self._claim_more),
            "count what waits": timed(self._hero.queues),
        }
        return found | {MEMORY: memory}

    def _cpu(self) -> float:
        """Return the CPU seconds of this process and of Redis; of Redis where Linux tells."""
        with contextlib.suppress(FileNotFoundError):
            return time.process_time() + int(self._schedstat.read_text().split()[0]) / 1e9
        return time.process_time()

    def close(self) -> None:
        """Close what is open."""
        run_sync(self._redis.close())
        self._store.close()

    def _submit(self, count: int) -> None:
        circle, topic = self._queue
        self._hero.submit_many(Job(params=PARAMS, circle_id=circle, topic=topic) for _ in range(count))

    def _submit_singly(self) -> None:
        for _ in range(SINGLES):
            self._hero.submit(PARAMS, circle_id=self._queue.circle, topic=self._queue.topic)

    def _remove(self, count: int = BATCH) -> None:
        self._claim(count)
        self._end()

    def _remove_singles(self) -> None:
        self._remove(SINGLES)

    def _refill(self) -> None:
        self._end()
        self._submit(BATCH)

    def _claim_more(self) -> None:
        self._submit(BATCH)
        self._claim()

    def _claim(self, count: int = BATCH) -> None:
        token, call = self._life.claim(self._queue, count)
        claim = run_sync(self._redis.run(call))
        runs, calls = run_sync(self._life.accept(self._queue, token, claim.jobs))
        assert len(runs) == count
        assert not calls
        self._claimed += runs

    def _end(self) -> None:
        runs, self._claimed = self._claimed, []
        for run in runs:
            run.outcome = Done("a result of some length, too")
        run_sync(self._redis.run_many(run_sync(self._life.end(runs))))


def measure(most: int) -> Grown:
    """Return what everything costs as queued jobs grow to `most`, from as few as are claimed at once."""
    counts = [BATCH, *powers(1_000, most)]
    with _queued() as queued:
        rows = [queued.steps(count) for count in counts]
    return Grown("queued jobs", counts, by_step(rows))


@contextmanager
def _queued() -> Iterator[Queued]:
    with tempfile.TemporaryDirectory(prefix="hj") as folder:
        home = Path(folder)
        try:
            with HeroJobs(home=home) as hero, Redis(unix_socket_path=str(embedded.socket_path(home))) as bare:
                hero.submit(PARAMS, circle_id=QUEUE.circle, topic=QUEUE.topic)
                queued = Queued(hero, home, bare)
                try:
                    yield queued
                finally:
                    queued.close()
        finally:
            embedded.stop(home)
