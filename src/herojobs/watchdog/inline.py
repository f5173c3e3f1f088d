"""A WatchDog without processes, for tests: runs jobs in the calling process, when it is told to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from herojobs.checkpoints import Checkpoints
from herojobs.frames import Over
from herojobs.job import now_ms
from herojobs.live.connect import connect_blocking
from herojobs.live.transport import run_sync
from herojobs.names import Queue
from herojobs.outcome import Done, Failed, Outcome, OutOfMemory
from herojobs.processors.base import JobContext
from herojobs.processors.kinds import Processors
from herojobs.processors.parents import ParentReader
from herojobs.processors.results import with_results
from herojobs.schedules import ScheduleBook, Ticker
from herojobs.settings import Settings, load
from herojobs.store import JobStore, Position, Put
from herojobs.store.rules import RuleFile
from herojobs.watchdog.flows import Flows
from herojobs.watchdog.life import Life, tell_progress
from herojobs.watchdog.logs import JobLogs
from herojobs.watchdog.runs import Run
from herojobs.worker.run import micros_since, over, over_by

AT_ONCE = 50


class InlineWatchDog:
    """Runs waiting jobs one after another in this thread; everything else is as with a `WatchDog`.

        hero.submit("!!parcel.pack name:box", circle_id="test")
        assert InlineWatchDog(actors=["myapp.actors"]).run_pending() == 1

    A breakpoint or a mock in an actor works. Timeouts aren't enforced, and a job that ends the process ends yours.

    Args:
        settings: all settings; read from the environment and the home folder if not given.
        overrides: any setting by its name, see `herojobs.settings.Settings`.

    Raises:
        SettingsError: a setting is wrong.
        WorkerError: the actors can't be loaded.
    """

    def __init__(self, *, settings: Settings | None = None, **overrides: Any) -> None:
        self.settings = load(base=settings, **overrides)
        self._redis = connect_blocking(self.settings)
        self._store = JobStore(self.settings)
        self._processors = Processors(self.settings)
        self._processors.get("heroscript")
        self._rules = RuleFile(self.settings.home)
        self._runner = asyncio.Runner()  # one loop for all jobs: connections outlive them
        self._book = ScheduleBook(self.settings)
        self._ticker = Ticker(self._book, self._store, self._redis, _at_once)
        self._parents = ParentReader(self.settings)
        self._checkpoints = Checkpoints(self.settings.circles_dir, flush=self.settings.sync != "never")
        self._flows = Flows(self._store, self._redis)
        self._logs = JobLogs(self._store, self.settings)
        self._life = Life(self._store, self.settings, self._redis, f"inline-{now_ms()}", self._write)

    def run_pending(self) -> int:
        """Run all jobs that wait or whose schedule is due now, and those that they submit; return how many ran.

        Raises:
            RedisUnavailable: Redis can't be reached.
        """
        return run_sync(self._run_pending())

    def close(self) -> None:
        """Close connections and databases."""
        self._processors.close()
        self._runner.close()
        run_sync(self._redis.close())
        self._ticker.close()
        self._book.close()
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # one step at a time, for tests of what may happen in between

    def claim(self, circle_id: str, topic: str = "default", n: int = 1) -> list[Run]:
        """Take up to `n` jobs of a queue, as a WatchDog does that is about to run them."""
        return run_sync(self._claim(Queue.of(circle_id, topic), n))[0]

    def execute(self, run: Run) -> None:
        """Run a claimed job's content; its end isn't told to anyone yet."""
        run.outcome = self._run(run)

    def finish(self, runs: Sequence[Run]) -> bool:
        """Write the ends of runs that were executed; return whether all were accepted: none was taken over."""
        return run_sync(self._finish(runs))

    async def _run_pending(self) -> int:
        total = 0
        await self._ticker.step()
        while True:
            ran = moved = 0
            for queue in await self._redis.find_queues():
                runs, claimed = await self._claim(queue, AT_ONCE)
                moved += claimed
                for run in runs:
                    run.outcome = self._run(run)
                await self._finish(runs)
                await self._flows.deliver(queue)
                ran += len(runs)
            total += ran
            if not moved:  # what ended without running may have let others go
                return total

    async def _claim(self, queue: Queue, n: int) -> tuple[list[Run], int]:
        if self._rules.read().is_paused(queue):
            return [], 0
        token, call = self._life.claim(queue, n)
        claimed = await self._redis.run(call)
        runs, calls = await self._life.accept(queue, token, claimed.jobs)
        await self._redis.run_many(calls)
        return runs, len(claimed.jobs)

    async def _finish(self, runs: Sequence[Run]) -> bool:
        answers = await self._redis.run_many(await self._life.end(runs))
        return sum(sum(answer) for answer in answers) == len(runs)

    def _run(self, run: Run) -> Outcome:
        began = time.perf_counter_ns()
        output: list[str] = []

        def report(percent: float, text: str) -> None:
            run_sync(self._redis.run_many(tell_progress({run: (percent, text)})))

        context = JobContext(run.job, run.ref, output.append, report, self._checkpoints, parents=self._parents.read)
        try:
            context.job = job = with_results(run.job, context)
            processor = self._processors.get(job.params_type)
            concurrent = processor.concurrent
            if concurrent is None:
                concurrent = processor.is_concurrent(job)
            result = self._runner.run(processor.run_async(job, context)) if concurrent else processor.run(job, context)
            message = over(run.number, result, micros_since(began), self.settings)
        except Exception as e:
            message = over_by(run.number, run.job, e, micros_since(began), self.settings)
        run.took, run.job.usage = message.took, context.usage
        run.has_checkpoint = context.has_checkpoint
        run_sync(self._redis.run_many(self._logs.write([(run, text) for text in output])))
        return _outcome(message)

    async def _write(self, queue: Queue, puts: list[Put]) -> list[Position | None]:
        return self._store.put_many(queue, puts)


async def _at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def _outcome(message: Over) -> Outcome:
    if message.how == "done":
        return Done(message.text)
    return OutOfMemory(message.text) if message.how == "oom" else Failed(message.text, message.partial, message.detail)
