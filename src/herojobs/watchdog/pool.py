"""The workers of a WatchDog: which run goes to which, and what becomes of runs whose worker dies.

The pool never waits: messages, deaths and deadlines change its lists, and `on_change` tells the WatchDog to look.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Sequence

import msgspec

from herojobs.errors import WorkerError
from herojobs.frames import Back, Blocks, Elsewhere, FromWorker, Interrupt, Output, Over, Progress, Ready, Recall, Unfit
from herojobs.live.call import JobKey
from herojobs.names import Queue
from herojobs.outcome import Cancelled, Done, Failed, Killed, Outcome, OutOfMemory, TimedOut
from herojobs.processors.kinds import CONCURRENT_KINDS
from herojobs.settings import Settings
from herojobs.watchdog.child import AHEAD_MICROS, STALE, Child
from herojobs.watchdog.runs import Run

log = logging.getLogger("herojobs.watchdog")

BLOCKED_AFTER = 2.0
"""Seconds without a sign of life after which the concurrent worker's event loop counts as blocked."""
BLOCKED_HINT = "an asynchronous action must await what takes long; let it be a plain `def` if it can't"
EXPECTED_FOR = 7 * 24 * 3600
"""Seconds after asynchronous jobs that a WatchDog starts with the concurrent worker; others start it when needed."""
MOST_SUSPECTS = 10_000
KILLED_STARTS = 3
"""Workers that may be killed by a signal before one is ready; more fail the start. One that exits fails it at once."""
RESTART_PAUSE = 1.0
"""Seconds before a worker is replaced that died before it was ready."""


class Pool:
    """Exclusive workers and, once it is needed, the concurrent one.

    Attributes:
        ended: runs with an outcome, to be written.
        put_back: runs whose job goes back to its queue, as their worker died; their attempt counts.
        spared: the same, but they were bystanders: their attempt doesn't count.
        output: what runs and their child processes wrote, to be logged.
        progress: how far runs say they are, percent and text, the latest word of each.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: Settings,
        on_change: Callable[[], None],
    ) -> None:
        self.ended: list[Run] = []
        self.put_back: list[Run] = []
        self.spared: list[Run] = []
        self.output: list[tuple[Run, str]] = []
        self.is_paused: Callable[[Queue], bool] | None = None
        """Tells whether a queue's runs mustn't start; None: none is paused. After a change, `hold_paused`."""
        self.progress: dict[Run, tuple[float, str]] = {}
        self._loop = loop
        self._settings = settings
        self._size = settings.workers or os.cpu_count() or 1
        self._on_change = on_change
        self._exclusive: list[Child] = []
        self._concurrent: Child | None = None
        self._undispatched: list[Run] = []
        self._concurrent_topics: set[tuple[str, str, str]] = set()
        self._suspects: dict[tuple[Queue, JobKey], None] = {}
        self._stopping = False
        self._restart_at = 0.0
        self._ticked = loop.time()
        self._hint = settings.home / "var" / "asynchronous"
        self._noted = False
        self._unfit: asyncio.Future[None] | None = None
        self._killed_starts = 0

    # life of the pool

    async def start(self) -> None:
        """Start the exclusive workers and wait until one is ready.

        Raises:
            WorkerError: they can't start, for example because a module of actors doesn't import.
        """
        self._unfit = self._loop.create_future()
        self._fill()
        if self._expects_asynchronous():
            self._concurrent = self._start_or_wait(True)
        try:
            async with asyncio.timeout(60):
                while not self._unfit.done():
                    await asyncio.wait([self._unfit], timeout=0.05)
                    self.tick()
        except TimeoutError:
            raise WorkerError("no worker became ready within 60 s") from None
        self._unfit.result()

    def _expects_asynchronous(self) -> bool:
        """Return whether a WatchDog of this home had asynchronous jobs of late: the first one then needn't wait."""
        with contextlib.suppress(OSError):
            return time.time() - self._hint.stat().st_mtime < EXPECTED_FOR
        return False

    def children(self) -> list[Child]:
        """Return all workers that are alive."""
        return [*self._exclusive, *([self._concurrent] if self._concurrent else [])]

    @property
    def is_closed(self) -> bool:
        """Whether its workers were killed for good."""
        return self._stopping

    def close(self) -> list[Run]:
        """Kill all workers; return the runs that they had."""
        self._stopping = True
        runs = [*self._undispatched]
        self._undispatched.clear()
        for child in self.children():
            runs += child.runs.values()
            child.runs.clear()
            child.kill()
        for child in self.children():
            child.bury()
        self._exclusive.clear()
        self._concurrent = None
        return [run for run in runs if run.outcome is None and not run.abandoned]

    # room and dispatch

    def room(self) -> int:
        """Return how many more blocking jobs the pool can take."""
        return sum(max(0, child.room) for child in self._exclusive) - len(self._undispatched)

    def idle(self) -> int:
        """Return how many exclusive workers have nothing to do, and will have nothing."""
        return sum(1 for child in self._exclusive if child.ready and not child.runs) - len(self._undispatched)

    def concurrent_room(self) -> int:
        """Return how many more asynchronous jobs the pool can take."""
        return self._settings.concurrency - (len(self._concurrent.runs) if self._concurrent else 0)

    def is_idle(self) -> bool:
        """Return whether no run is under way."""
        return not self._undispatched and not any(child.runs for child in self.children())

    def runs(self) -> list[Run]:
        """Return all runs that haven't ended."""
        return [*self._undispatched, *(run for child in self.children() for run in child.runs.values())]

    def untold(self, before: float) -> list[Run]:
        """Return the runs that began before a monotonic time and that Redis doesn't know to be active."""
        begun = [run for child in self._exclusive if (run := child.running) is not None]
        if self._concurrent is not None:
            begun += self._concurrent.runs.values()
        return [
            run
            for run in begun
            if run.deadline and not run.told and not run.abandoned and run.deadline - run.timeout < before
        ]

    def all_held(self) -> list[Run]:
        """Return all runs whose lease we need: those under way, and those whose end isn't written yet."""
        return [*self.runs(), *self.ended, *self.put_back, *self.spared]

    def dispatch(self, runs: Sequence[Run]) -> None:
        """Hand runs to workers; what finds no room waits for it."""
        concurrent: list[Run] = []
        for run in runs:
            job = run.job
            if not job.alone and (
                job.params_type in CONCURRENT_KINDS
                or (run.queue.circle, run.queue.topic, job.params_type) in self._concurrent_topics
            ):
                run.concurrent = True
                if self.is_paused and self.is_paused(run.queue):
                    self.spared.append(run)
                else:
                    concurrent.append(run)
            else:
                self._undispatched.append(run)
        if concurrent and self._concurrent is None:
            self._concurrent = self._start_or_wait(True)
        if concurrent and not self._noted:
            self._noted = True
            with contextlib.suppress(OSError):
                self._hint.touch()
        if self._concurrent is not None:
            self._concurrent.give(concurrent)
        else:
            self.spared += concurrent
        self._distribute()

    def _distribute(self) -> None:
        if self.is_paused:
            self.spared += [run for run in self._undispatched if self.is_paused(run.queue)]
            self._undispatched = [run for run in self._undispatched if not self.is_paused(run.queue)]
        waiting = self._undispatched
        if not waiting or self._was_stopped():
            return
        children = sorted((child for child in self._exclusive if child.room > 0), key=lambda child: len(child.runs))
        for place, child in enumerate(children):
            share = -(-len(waiting) // (len(children) - place))
            given = waiting[: min(child.room, share)]
            del waiting[: len(given)]
            if given:
                child.give(given)
            if not waiting:
                return

    # interruptions

    def hold_paused(self) -> None:
        """Take back what hasn't started of the queues that are paused now; running ones go on."""
        if self.is_paused is None:
            return
        self._distribute()
        for child in self._exclusive:
            if any(self.is_paused(run.queue) for run in list(child.runs.values())[1:]):
                self._recall(child)

    def cancel(self, run: Run) -> None:
        """End a run because someone cancelled its job: interrupt it, or take it back if it hasn't started."""
        if run.outcome is not None or run.why:
            return
        child = self._child_of(run)
        if child is None:
            for waiting in (self._undispatched, self.put_back, self.spared):
                if run in waiting:  # what was about to go back to its queue ends here, once
                    waiting.remove(run)
            self._end(run, Cancelled())
        elif child.concurrent or child.running is run:
            self._interrupt(child, run, "cancel")
        else:
            run.why = "cancel"
            self._recall(child)

    def abandon(self, run: Run) -> None:
        """Stop a run that isn't ours any more."""
        run.abandoned = True
        self.cancel(run)

    def tick(self) -> None:
        """Look at deadlines, deaths and signs of life; to be called about every 50 ms."""
        now = self._loop.time()
        if self._was_stopped():  # other WatchDogs may have the jobs that wait here
            self.spared += self._undispatched
            self._undispatched.clear()
        if now - self._ticked > 1:  # we were stopped ourselves: what the workers sent meanwhile is still unread
            for child in self.children():
                child.heard = now
        self._ticked = now
        for child in self.children():
            if child.is_dead():
                self._bury(child)
            elif child.concurrent:
                for run in list(child.runs.values()):
                    self._check_deadline(child, run, now)
                if child.ready and child.runs and now - child.heard > BLOCKED_AFTER and not child.killed:
                    self._unblock(child, now)
            elif (first := child.running) is not None:
                self._check_deadline(child, first, now)
        self._rebalance(now)
        self._fill()

    def _was_stopped(self) -> bool:
        """Return whether this process has stood still for so long that leases may have run out."""
        return self._loop.time() - self._ticked > self._settings.lease * STALE

    def _check_deadline(self, child: Child, run: Run, now: float) -> None:
        if run.kill_at:
            if now >= run.kill_at:
                child.kill(run)
        elif run.why == "cancel" or (run.deadline and now >= run.deadline):
            self._interrupt(child, run, run.why or "timeout")

    def _interrupt(self, child: Child, run: Run, why: str) -> None:
        run.why = why
        run.kill_at = self._loop.time() + self._settings.grace
        child.order(Interrupt(run.number, why))

    def _unblock(self, child: Child, now: float) -> None:
        """Have the run that blocks the event loop thrown out; if it doesn't yield, kill the worker."""
        if now - child.heard > BLOCKED_AFTER + 2 * self._settings.grace + 1:
            child.blocked = True
            child.kill()
        else:
            child.order(Interrupt(0, "blocked"))

    def _rebalance(self, now: float) -> None:
        """Have runs given back that wait behind a long one while another worker is idle."""
        if not any(child.ready and not child.runs for child in self._exclusive):
            return
        for child in self._exclusive:
            run = child.running
            if run is not None and len(child.runs) > 1 and now - (run.deadline - run.timeout) > AHEAD_MICROS / 1e6:
                self._recall(child)

    def _recall(self, child: Child) -> None:
        if not child.recalled:
            child.recalled = True
            child.order(Recall())

    # what workers say

    def _on_messages(self, child: Child, messages: list[FromWorker]) -> None:
        for message in messages:
            if isinstance(message, Over):
                run = child.take(message.number)
                if run is not None:
                    child.done += 1
                    run.has_checkpoint = message.checkpoint
                    child.took = max(float(message.took), child.took * 0.9)
                    if message.how == "interrupted" and not child.concurrent:
                        child.end_if_family_left(run)
                    if message.usage:
                        run.job.usage = msgspec.json.decode(message.usage)
                    self._end(run, _outcome(run, message), message.took)
            elif isinstance(message, Output):
                run = child.runs.get(message.number)
                if run is not None:
                    self.output.append((run, message.text))
            elif isinstance(message, Progress):
                run = child.runs.get(message.number)
                if run is not None:
                    self.progress[run] = (message.percent, message.text)
            elif isinstance(message, Back):
                self._take_back(child, message)
            elif isinstance(message, Elsewhere):
                self._move(child, message)
            elif isinstance(message, Blocks):
                run = child.runs.get(message.number)
                if run is not None:
                    run.blocked = True
            elif isinstance(message, Ready):
                child.become_ready(message.pid)
                if self._unfit and not self._unfit.done():
                    self._unfit.set_result(None)
            elif isinstance(message, Unfit):
                log.error("a worker can't start: %s", message.error)
                if self._unfit and not self._unfit.done():
                    self._unfit.set_exception(WorkerError(message.error))
        if not child.runs or child.recalled:
            child.recalled = False
        limit = self._settings.worker_max_jobs
        if limit and child.done >= limit and not child.runs:
            child.retire()
            child.ready = False
        self._distribute()
        self._on_change()

    def _take_back(self, child: Child, message: Back) -> None:
        if not message.late:
            child.recalled = False
        for number in reversed(message.numbers):
            run = child.take(number)
            if run is not None:
                self._not_started(run, message.late)

    def _not_started(self, run: Run, late: bool = False) -> None:
        """Take back a run that its worker hasn't begun; one that is late goes back to its queue."""
        run.deadline = 0.0
        if run.why == "cancel":
            self._end(run, Cancelled())
        elif late:
            self.spared.append(run)
        else:
            self._undispatched.insert(0, run)

    def _blocked(self, run: Run) -> None:
        """Have a run that blocked the event loop start again alone."""
        if run.job.attempts >= run.job.most_attempts:
            self._end(run, Failed(f"it blocked the event loop for over {BLOCKED_AFTER:g} s: {BLOCKED_HINT}"))
        else:
            log.warning("%s blocked the event loop: %s; it starts again, in an exclusive worker", run.ref, BLOCKED_HINT)
            run.job.alone = True
            self.put_back.append(run)

    def _suspect(self, run: Run) -> None:
        """Put back one of the runs among which an unknown one blocked the event loop: the second time to be alone."""
        name = run.queue, run.id
        if name in self._suspects:
            del self._suspects[name]
            run.job.alone = True
        else:
            self._suspects[name] = None
            if len(self._suspects) > MOST_SUSPECTS:
                del self._suspects[next(iter(self._suspects))]
        self.spared.append(run)

    def _move(self, child: Child, message: Elsewhere) -> None:
        run = child.take(message.number)
        if run is None:
            return
        run.deadline = run.kill_at = 0.0
        topic = (run.queue.circle, run.queue.topic, run.job.params_type)
        if message.blocked:
            self._blocked(run)
        elif child.concurrent:
            self._concurrent_topics.discard(topic)
            run.concurrent = False
            self._undispatched.append(run)
        else:
            self._concurrent_topics.add(topic)
            self.dispatch([run])

    def _on_output(self, child: Child, chunk: bytes) -> None:
        run = child.running if not child.concurrent else None
        text = chunk.decode("utf-8", "replace")
        if run is not None:
            self.output.append((run, text))
            self._on_change()
        else:
            log.info("worker %d: %s", child.pid, text.rstrip())

    # deaths

    def _on_closed(self, child: Child) -> None:
        if child.is_dead() and child in self.children():
            self._bury(child)

    def _bury(self, child: Child) -> None:
        code = child.bury()
        if child.concurrent:
            self._concurrent = None
        else:
            self._exclusive.remove(child)
        if not child.ready and not child.done and not self._stopping:
            self._restart_at = self._loop.time() + RESTART_PAUSE
            self._killed_starts += code < 0
            if self._unfit and not self._unfit.done() and (code >= 0 or self._killed_starts > KILLED_STARTS):
                self._unfit.set_exception(WorkerError(f"a worker ended ({_exit_text(code)}) before it was ready"))
        runs = list(child.runs.values())
        child.runs.clear()
        known = any(run.blocked for run in runs)
        for place, run in reversed([*enumerate(runs)]):  # what hasn't started goes back in its order
            if run is child.killed_for:
                self._end(run, TimedOut(run.timeout, True) if run.why == "timeout" else Cancelled(True))
            elif not child.concurrent and place > 0:
                self._not_started(run)
            elif child.blocked and run.blocked:
                self._blocked(run)
            elif child.blocked and not known:
                self._suspect(run)
            elif child.blocked or child.killed_for is not None:
                self.spared.append(run)
            else:
                self._crashed(child, run, code)
        self._fill()
        self._distribute()
        self._on_change()

    def _crashed(self, child: Child, run: Run, code: int) -> None:
        if run.why in ("timeout", "cancel"):
            self._end(run, TimedOut(run.timeout) if run.why == "timeout" else Cancelled())
            return
        out_of_memory = code == -signal.SIGKILL and not child.killed and child.died_of_memory()
        if run.job.attempts < run.job.most_attempts:
            how = "was ended for want of memory" if out_of_memory else f"died ({_exit_text(code)})"
            log.warning("%s: its worker %s; attempt %d of %d", run.ref, how, run.job.attempts, run.job.most_attempts)
            if child.concurrent and run.job.attempts + 1 == run.job.most_attempts:
                run.job.alone = True  # one of many that ran there ends workers: the last attempt is made without others
            self.put_back.append(run)
        elif out_of_memory:
            self._end(run, OutOfMemory("the kernel ended the worker"))
        else:
            self._end(run, Killed(max(0, -code), run.job.attempts))

    def _end(self, run: Run, outcome: Outcome, took: int = 0) -> None:
        run.outcome = outcome
        if not took and run.deadline:  # its worker can't say any more how long it ran
            took = int((self._loop.time() - run.deadline + run.timeout) * 1e6)
        run.took = took
        if not run.abandoned:
            self.ended.append(run)

    # helpers

    def _fill(self) -> None:
        if self._stopping or self._loop.time() < self._restart_at:
            return
        while len(self._exclusive) < self._size:
            child = self._start_or_wait(False)
            if child is None:
                return
            self._exclusive.append(child)

    def _start_or_wait(self, concurrent: bool) -> Child | None:
        """Start a worker; if the system refuses, that is tried again later."""
        try:
            return self._start(concurrent)
        except (WorkerError, OSError) as e:
            if self._unfit and not self._unfit.done():
                raise  # the first one: `start` tells
            log.error("a worker can't be started, it is tried again: %s", e)
            self._restart_at = self._loop.time() + RESTART_PAUSE
            return None

    def _start(self, concurrent: bool) -> Child:
        return Child(self._loop, self._settings, concurrent, self._on_messages, self._on_output, self._on_closed)

    def _child_of(self, run: Run) -> Child | None:
        return next((child for child in self.children() if run.number in child.runs), None)


def _outcome(run: Run, message: Over) -> Outcome:
    if message.how == "done":
        return Done(message.text)
    if message.how == "failed":
        return Failed(message.text, message.partial, message.detail)
    if message.how == "oom":
        return OutOfMemory(message.text)
    return TimedOut(run.timeout) if message.text == "timeout" else Cancelled()


def _exit_text(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
