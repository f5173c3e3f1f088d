"""The exclusive worker: runs blocking content, one job at a time, in its main thread.

Asynchronous content comes here too once it has blocked the event loop of the concurrent worker.

Jobs that were sent ahead wait in `_waiting` or in the socket. A run can be interrupted only between the two lines
that set `_number`; outside of them the handler of the signal does nothing that a job would notice.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import threading
import time
from collections import deque
from types import FrameType
from typing import TYPE_CHECKING

from herojobs import job as jobs
from herojobs.checkpoints import Checkpoints
from herojobs.frames import (
    Back,
    Control,
    Elsewhere,
    FrameReader,
    Interrupt,
    Message,
    Output,
    Over,
    Progress,
    Recall,
    Start,
    decode_to_worker,
    frame,
)
from herojobs.processors.base import JobContext, JobInterrupted, Processor
from herojobs.processors.kinds import Processors, Unavailable
from herojobs.processors.parents import ParentReader
from herojobs.processors.results import with_results
from herojobs.settings import Settings
from herojobs.worker import control as control_thread
from herojobs.worker import output
from herojobs.worker.run import micros_since, over, over_by, with_usage

if TYPE_CHECKING:
    import asyncio

    from herojobs.job import Job


class ExclusiveWorker:
    """Runs jobs one after another; see the module."""

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
        self._waiting: deque[Start] = deque()
        self._number = 0  # of the run that may be interrupted, 0 = none
        self._context: JobContext | None = None
        self._task: asyncio.Task[str] | None = None  # of a run that is asynchronous
        self._sending = False
        self._wire = threading.Lock()
        self._order: Interrupt | None = None
        self._recalled = False
        self._raised = False
        self._forked = False

    def serve(self) -> None:
        """Run what comes until the WatchDog closes the socket."""
        signal.signal(control_thread.SIGNAL, self._on_signal)
        os.register_at_fork(after_in_child=self._become_a_jobs_child)
        control_thread.listen(self._control, self._obey)
        gc.collect()
        gc.freeze()
        while self._receive(0):
            while self._waiting:
                self._send(self._run(self._waiting.popleft()))

    def _become_a_jobs_child(self) -> None:
        """Let go of the sockets: a process that a job forks isn't a worker."""
        self._forked = True
        self._data.close()
        self._control.close()

    def _receive(self, flags: int) -> bool:
        try:
            received = self._data.recv(1 << 18, flags)
        except BlockingIOError:
            return True
        for payload in self._reader.feed(received):
            self._waiting.extend(message for message in decode_to_worker(payload) if isinstance(message, Start))
        return bool(received)

    def _run(self, start: Start) -> Message:
        if time.monotonic() > start.not_after:
            return Back([start.number], late=True)
        began = time.perf_counter_ns()
        job = jobs.decode(start.job)
        number = start.number
        log = output.JobLog(lambda text: self._say(number, text), self._settings.log_max)
        self._context = context = JobContext(
            job,
            start.ref,
            log.write,
            lambda percent, text: self._tell(Progress(number, percent, text)),
            self._checkpoints,
            log.flush,
            self._parents.read,
        )
        self._raised = False
        output.current.set(log.write)
        self._number = number
        message: Message
        try:
            context.job = job = with_results(job, context)
            processor = self._processors.get(job.params_type)
            concurrent = processor.concurrent
            if concurrent is None:
                concurrent = processor.is_concurrent(job)
            if concurrent and not start.alone:
                message = Elsewhere(number, False)
            else:
                result = self._run_alone(processor, job, context) if concurrent else processor.run(job, context)
                message = over(number, result, micros_since(began), self._settings)
            self._number = 0
        except BaseException as e:  # a job may raise anything; nothing of it may end the worker
            self._number = 0
            message = over_by(number, job, e, micros_since(began), self._settings)
        if self._forked:
            os._exit(0)  # what a job forked has come to the end of the job's code
        if self._raised and self._order is not None:  # the job may have swallowed the exception
            message = Over(number, "interrupted", self._order.why, "", micros_since(began))
        if isinstance(message, Over):
            message.checkpoint = context.has_checkpoint
        output.current.set(None)
        log.close()
        output.wait_until_read()
        return with_usage(message, context.usage)

    def _run_alone(self, processor: Processor | Unavailable, job: Job, context: JobContext) -> str:
        """Run asynchronous content on an event loop of its own."""
        import asyncio  # here: few workers ever need it

        async def run() -> str:
            self._task = asyncio.current_task()
            return await processor.run_async(job, context)

        try:
            return asyncio.run(run())
        finally:
            self._task = None

    def _say(self, number: int, text: str) -> None:
        if self._forked:  # the sockets are the worker's alone; its stdout is for all
            os.write(1, text.encode())
        else:
            self._send(Output(number, text))

    def _tell(self, message: Message) -> None:
        if not self._forked:
            self._send(message)

    def _send(self, message: Message) -> None:
        if threading.current_thread() is not threading.main_thread():  # output of content that has threads of its own
            with self._wire:
                self._data.sendall(frame([message]))
            return
        self._sending = True  # the handler must neither raise nor send in the middle of a frame
        try:
            with self._wire:
                self._data.sendall(frame([message]))
        finally:
            self._sending = False
        if self._recalled or self._order is not None:
            self._act()

    def _obey(self, order: Control) -> None:
        """Take an order, in the control thread."""
        if isinstance(order, Recall):
            self._recalled = True
        else:
            self._order = order
            context = self._context
            if context is not None and order.number == self._number:
                context.interrupt(order.why)
        control_thread.poke_main_thread()

    def _on_signal(self, _signal: int, _frame: FrameType | None) -> None:
        if not self._sending:
            self._act()

    def _act(self) -> None:
        """Do, in the main thread, what the control thread was told."""
        if self._recalled and self._number:
            self._recalled = False
            self._receive(socket.MSG_DONTWAIT)
            if self._waiting:
                numbers = [start.number for start in self._waiting]
                self._waiting.clear()
                self._send(Back(numbers))
        order = self._order
        if order is not None and order.number == self._number and not self._raised:
            self._raised = True
            self._interrupt(order.why)

    def _interrupt(self, why: str) -> None:
        """End the run: by an exception where its code is, or by cancelling its task while it awaits something."""
        task = self._task
        if task is None:
            raise JobInterrupted(why)
        from asyncio import current_task  # loaded by now

        loop = task.get_loop()
        running = current_task(loop)
        if running is not task:
            loop.call_soon_threadsafe(task.cancel)
        if running is not None:
            raise JobInterrupted(why)
