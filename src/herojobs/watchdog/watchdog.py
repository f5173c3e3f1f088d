"""The WatchDog as a library object and as a foreground process."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import uvloop

from herojobs.errors import HeroJobsError, SettingsError
from herojobs.live.connect import connect_async
from herojobs.names import Queue
from herojobs.settings import Settings, load
from herojobs.store import JobIndex, JobStore
from herojobs.store.databases import allow_many_files
from herojobs.watchdog.cycle import Cycle
from herojobs.watchdog.fair import Turns
from herojobs.watchdog.flows import Flows
from herojobs.watchdog.keeper import Alarm, Ears, Leases, Lookout, Postman, Publisher, every
from herojobs.watchdog.notifier import Notifier
from herojobs.watchdog.reconcile import Reconciler
from herojobs.watchdog.timer import Timer
from herojobs.watchdog.upkeep import Upkeep

log = logging.getLogger("herojobs.watchdog")

GC_THRESHOLD = 10_000
"""New objects after which garbage is looked for: thousands belong to the jobs under way, and few ever form cycles."""
TICK = 0.05
"""Seconds between two looks at deadlines and deaths."""
PUBLISH = 60.0
"""Seconds between two looks whether Redis, which may have been wiped, knows the sessions."""
LOOK = 0.2
"""Seconds between two looks for jobs that nobody announced."""


class WatchDog:
    """Runs jobs: claims them from Redis, has worker processes run them, and writes what becomes of them.

    As a library object it lives in a thread of its own; its workers are child processes.

        with WatchDog(workers=2, actors=["myapp.actors"]):
            ...

    Args:
        workers: exclusive worker processes; default one a core.
        actors: modules of actors, as importable names, that the workers load.
        circles: circles to serve; default all.
        settings: all settings at once; what is given besides counts before it.
        overrides: any other setting by its name, see `herojobs.settings.Settings`.

    Raises:
        SettingsError: a setting is wrong.
    """

    def __init__(
        self,
        *,
        workers: int | None = None,
        actors: Sequence[str] | None = None,
        circles: Sequence[str] | None = None,
        settings: Settings | None = None,
        **overrides: Any,
    ) -> None:
        self.settings = load(base=settings, workers=workers, actors=actors, **overrides)
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        if isinstance(circles, str):
            raise SettingsError(f"circles {circles!r}: not a list; use [{circles!r}]")
        self._circles = None if circles is None else {Queue.of(circle, "x").circle for circle in circles}
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._hurry: asyncio.Event | None = None
        self._error: BaseException | None = None

    def start(self) -> None:
        """Start in the background; return when the first worker is ready.

        Raises:
            RedisUnavailable: Redis can't be reached.
            WorkerError: the workers can't start, for example because a module of actors doesn't import.
        """
        if self._thread is not None:
            raise HeroJobsError("this WatchDog runs already")
        ready = threading.Event()

        def live() -> None:
            try:
                uvloop.run(self._serve(ready.set))
            except BaseException as e:  # handed to the thread that started us
                self._error = e
            finally:
                ready.set()

        self._error = None
        self._thread = threading.Thread(target=live, name="herojobs-watchdog")
        self._thread.start()
        ready.wait()
        self._raise_error()

    def stop(self, *, hurry: bool = False) -> None:
        """Stop: no new jobs; running ones get `stop_timeout` seconds, then go back to their queues.

        Args:
            hurry: put running jobs back at once.
        """
        thread, loop = self._thread, self._loop
        if thread is None:
            return
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                loop.call_soon_threadsafe(self._ask_to_stop, hurry)
        thread.join()
        self._thread = None
        self._raise_error()

    def _raise_error(self) -> None:
        if self._error is not None:
            if self._thread is not None:
                self._thread.join()
                self._thread = None
            raise self._error

    def run(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Run in the foreground until TERM or INT: the first one stops gracefully, the second one at once.

        Raises:
            RedisUnavailable, WorkerError: as `start`.
        """
        gc.freeze()  # what is loaded stays
        gc.set_threshold(GC_THRESHOLD)
        uvloop.run(self._serve(on_ready, signals=True))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _serves(self, queue: Queue) -> bool:
        return (self._circles is None or queue.circle in self._circles) and str(
            queue
        ) not in self.settings.foreign_topics

    def _ask_to_stop(self, hurry: bool = False) -> None:
        assert self._stopping is not None
        assert self._hurry is not None
        if hurry or self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    async def _serve(self, on_ready: Callable[[], None], signals: bool = False) -> None:
        loop = self._loop = asyncio.get_running_loop()
        self._stopping, self._hurry = asyncio.Event(), asyncio.Event()
        if signals:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._ask_to_stop)
        settings = self.settings
        async with contextlib.AsyncExitStack() as stack:
            redis = await connect_async(settings)
            stack.push_async_callback(redis.close)
            allow_many_files()
            store = JobStore(settings)
            stack.callback(store.close)
            index = JobIndex(store)
            stack.callback(index.close)
            turns = Turns(self._serves)
            cycle = Cycle(redis, store, settings, turns, self.name)
            stack.callback(cycle.pool.close)
            await cycle.pool.start()
            postman = Postman(Flows(store, redis))
            turns.learn(await redis.find_queues())
            reconciler = Reconciler(redis, store, index, settings, turns)
            timer = Timer(settings, store, redis, self._serves)
            stack.callback(timer.close)
            notifier = Notifier(settings)
            stack.callback(notifier.close)
            tasks = [
                loop.create_task(cycle.run()),
                loop.create_task(reconciler.run()),
                loop.create_task(every(settings.lease / 3, Leases(redis, cycle, settings).step, cycle.outages.over)),
                loop.create_task(every(LOOK, Ears(redis, cycle, turns, postman).step)),
                loop.create_task(every(0, Alarm(redis, cycle, turns).step)),
                loop.create_task(every(LOOK, Lookout(redis, cycle, turns, reconciler.soon).step)),
                loop.create_task(every(0, timer.step)),
                loop.create_task(every(0, postman.step)),
                loop.create_task(every(PUBLISH, Publisher(settings).step)),
                loop.create_task(notifier.run()),
                loop.create_task(Upkeep(settings, store).run()),
            ]
            stack.push_async_callback(_end, tasks)
            log.info("WatchDog %s is ready", self.name)
            on_ready()
            await self._tick_until_stopped(cycle, tasks)
            await self._drain(cycle)

    async def _tick_until_stopped(self, cycle: Cycle, tasks: list[asyncio.Task[None]]) -> None:
        assert self._stopping is not None
        while not self._stopping.is_set():
            cycle.tick()
            for task in tasks:
                if task.done():
                    task.result()  # a task that ended has an error that nobody expected: fail loudly
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK):
                    await self._stopping.wait()

    async def _drain(self, cycle: Cycle) -> None:
        """Give running jobs their time, then put back what is left."""
        assert self._hurry is not None
        cycle.stop_claiming()
        if not cycle.is_settled() and not self._hurry.is_set():
            left_to_them = self.settings.stop_timeout
            log.info("stopping: running jobs have %g s to end; a second TERM or Ctrl-C puts them back", left_to_them)
        deadline = asyncio.get_running_loop().time() + self.settings.stop_timeout
        while not cycle.is_settled():
            if self._hurry.is_set() or asyncio.get_running_loop().time() > deadline:
                break
            cycle.tick()
            await asyncio.sleep(TICK)
        left = cycle.pool.close()
        if left:
            more = f" and {len(left) - 10} more" if len(left) > 10 else ""
            log.info("put back: %s%s", ", ".join(f"{run.queue}/{run.db_id}" for run in left[:10]), more)
        await cycle.give_back(left)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel tasks until they end: a cancellation that comes in the middle of I/O can get lost in a library."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.05)
