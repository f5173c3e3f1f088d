"""The concurrent worker: runs asynchronous content, hundreds of jobs at once on one event loop."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import signal
import socket
import threading
import time
from types import FrameType

from herojobs import job as jobs
from herojobs.checkpoints import Checkpoints
from herojobs.frames import (
    Back,
    Beat,
    Blocks,
    Control,
    Elsewhere,
    FrameReader,
    Interrupt,
    Message,
    Output,
    Over,
    Progress,
    Start,
    decode_to_worker,
    frame,
)
from herojobs.processors.base import JobContext, JobInterrupted
from herojobs.processors.kinds import Processors
from herojobs.processors.parents import ParentReader
from herojobs.processors.results import with_results
from herojobs.settings import Settings
from herojobs.worker import control as control_thread
from herojobs.worker import offspring, output
from herojobs.worker.offspring import running
from herojobs.worker.run import micros_since, over, over_by, with_usage

BEAT = 0.25
"""Seconds between two signs of life."""
MOST_HELD = 64
"""Messages that wait for more to go with: the WatchDog takes in the first ends of many while the others run."""


class ConcurrentWorker:
    """Runs each job as a task; see the module."""

    def __init__(
        self,
        data: socket.socket,
        control: socket.socket,
        processors: Processors,
        settings: Settings,
    ) -> None:
        self._data = data
        self._control = control
        self._reader = FrameReader()
        self._processors = processors
        self._settings = settings
        self._parents = ParentReader(settings)
        self._checkpoints = Checkpoints(settings.circles_dir, flush=settings.sync != "never")
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._contexts: dict[int, JobContext] = {}
        self._interrupted: set[int] = set()  # runs whose own task an exception was raised in
        self._blocking: set[int] = set()  # runs that were found to hold the event loop
        self._outbox: list[Message] = []
        self._order: Interrupt | None = None

    def serve(self) -> None:
        """Run what comes until the WatchDog closes the socket."""
        offspring.install()
        with asyncio.Runner(loop_factory=offspring.Loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._own_context = contextvars.copy_context()
        self._closed = asyncio.Event()
        signal.signal(control_thread.SIGNAL, self._on_signal)
        control_thread.listen(self._control, self._obey)
        self._loop.add_reader(self._data, self._on_data)
        gc.collect()
        gc.freeze()
        while not self._closed.is_set():
            self._post(Beat())
            try:
                async with asyncio.timeout(BEAT):
                    await self._closed.wait()
            except TimeoutError:
                continue

    def _on_data(self) -> None:
        try:
            received = self._data.recv(1 << 18, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        if not received:
            self._loop.remove_reader(self._data)
            self._closed.set()
        for payload in self._reader.feed(received):
            for message in decode_to_worker(payload):
                if isinstance(message, Start):
                    task = self._loop.create_task(self._run(message))
                    self._tasks[message.number] = task

    async def _run(self, start: Start) -> None:
        if time.monotonic() > start.not_after:
            del self._tasks[start.number]
            self._post(Back([start.number], late=True))
            return
        began = time.perf_counter_ns()
        job = jobs.decode(start.job)
        number = start.number
        log = output.JobLog(lambda text: self._post(Output(number, text)), self._settings.log_max)
        self._contexts[number] = context = JobContext(
            job,
            start.ref,
            log.write,
            lambda percent, text: self._post(Progress(number, percent, text)),
            self._checkpoints,
            log.flush,
            self._parents.read,
        )
        output.current.set(log.write)  # the task's own context
        message: Message
        try:
            try:
                running.set(number)
                context.job = job = with_results(job, context)
                processor = self._processors.get(job.params_type)
                concurrent = processor.concurrent
                if concurrent is None:
                    concurrent = processor.is_concurrent(job)
                if concurrent:
                    result = await processor.run_async(job, context)
                    message = over(number, result, micros_since(began), self._settings)
                else:
                    message = Elsewhere(number, False)
            finally:
                running.set(0)  # no order can interrupt what follows
        except asyncio.CancelledError:
            why = context.interrupted_by or "cancelled itself"
            message = Over(number, "interrupted" if context.cancelled else "failed", why, "", micros_since(began))
            if number in self._blocking and not context.cancelled:
                message = Elsewhere(number, True)
        except JobInterrupted as e:
            blocked = e.why == "blocked"
            message = (
                Elsewhere(number, True) if blocked else over_by(number, job, e, micros_since(began), self._settings)
            )
        except BaseException as e:  # a job may raise anything; nothing of it may end the worker
            message = over_by(number, job, e, micros_since(began), self._settings)
        if context.cancelled and not isinstance(message, Elsewhere):  # the job may have swallowed the cancellation
            message = Over(number, "interrupted", context.interrupted_by, "", micros_since(began))
        if context.cancelled or isinstance(message, Elsewhere):
            offspring.end(number)
        else:
            offspring.forget(number)
        if isinstance(message, Over):
            message.checkpoint = context.has_checkpoint
        log.close()
        self._post(with_usage(message, context.usage))
        if len(self._outbox) >= MOST_HELD:  # only here: an order that interrupted a run's own code would tear the frame
            self._flush()
        del self._contexts[number]
        del self._tasks[number]
        self._interrupted.discard(number)
        self._blocking.discard(number)

    def _post(self, message: Message) -> None:
        if threading.current_thread() is not threading.main_thread():  # output of a thread that a job started
            self._loop.call_soon_threadsafe(self._post, message, context=self._own_context)
            return
        if not self._outbox:
            self._loop.call_soon(self._flush, context=self._own_context)
        self._outbox.append(message)

    def _flush(self) -> None:
        messages, self._outbox = self._outbox, []
        if messages:
            self._data.sendall(frame(messages))

    def _obey(self, order: Control) -> None:
        """Take an order, in the control thread: the run may hold the event loop now, or await something."""
        if not isinstance(order, Interrupt):
            return  # nothing waits here: what comes is started
        self._order = order
        control_thread.poke_main_thread()
        if order.number:
            self._loop.call_soon_threadsafe(self._cancel, order.number, order.why, context=self._own_context)

    def _cancel(self, number: int, why: str) -> None:
        task = self._tasks.get(number)
        if task is None or number in self._interrupted:
            return
        context = self._contexts.get(number)
        if context is None:  # a task cancelled before its first step would end without a word
            self._loop.call_soon(self._cancel, number, why, context=self._own_context)
            return
        if why != "blocked":
            context.interrupt(why)
        task.cancel()

    def _on_signal(self, _signal: int, _frame: FrameType | None) -> None:
        """End, by an exception, the run whose code holds the event loop; the context that we are in tells which."""
        order, self._order = self._order, None
        number = running.get()
        if order is None or not number or order.number not in (number, 0):
            return
        if order.why != "blocked":
            self._contexts[number].interrupt(order.why)
        elif number not in self._blocking:
            self._blocking.add(number)
            self._data.sendall(frame([Blocks(number)]))
        if asyncio.current_task(self._loop) is self._tasks[number]:
            self._interrupted.add(number)
        elif order.why == "blocked":  # a task of its, or a callback
            self._loop.call_soon(self._cancel, number, order.why, context=self._own_context)
        raise JobInterrupted(order.why)
