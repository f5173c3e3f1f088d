"""A worker as its WatchDog sees it: a child process, its sockets, and the runs it was given."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil

from herojobs.errors import WorkerError
from herojobs.frames import Control, FrameReader, FromWorker, Setup, Start, decode_from_worker, frame
from herojobs.settings import Settings
from herojobs.watchdog.runs import Run
from herojobs.worker.output import unread

AHEAD_MICROS = 20_000
"""Work that an exclusive worker is sent ahead, measured by how long its jobs took lately."""
AHEAD_MAX = 256
STALE = 0.5
"""Share of a lease after which a run that hasn't started is no longer started without asking Redis."""
PATIENCE = 1.0
"""Seconds that a worker's guard gets to end its family; then we do."""
MARK = "HEROJOBS_WORKER"
"""Environment variable by which all descendants of a worker are known."""


class Child:
    """One worker process.

    Attributes:
        concurrent: which sort of worker it is.
        ready: whether it has loaded everything.
        runs: what it was given and hasn't reported, oldest first; of an exclusive worker the first one runs.
        blocked: whether we killed it because its event loop was held.
        worker_pid: process id of the worker itself, once it is ready.
        killed_for: the run because of which we killed it, None = we didn't, or not because of a run.
        heard: monotonic time of its last message.
        done: runs that it has reported.
        took: microseconds that its runs take, the slowest of late.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: Settings,
        concurrent: bool,
        on_messages: Callable[[Child, list[FromWorker]], None],
        on_output: Callable[[Child, bytes], None],
        on_closed: Callable[[Child], None],
    ) -> None:
        self.concurrent = concurrent
        self.ready = False
        self.runs: dict[int, Run] = {}
        self.killed_for: Run | None = None
        self.killed = False
        self.blocked = False
        self._buried = False
        self._kill_until = 0.0
        self.worker_pid = 0
        self.recalled = False
        self.done = 0
        self.took = AHEAD_MICROS / 2
        self.heard = loop.time()
        self.oom_kills = _oom_kills()
        self._max_jobs = settings.worker_max_jobs
        self._start_within = settings.lease * STALE
        self._mark = secrets.token_hex(8)
        self._loop = loop
        self._on_messages = on_messages
        self._on_output = on_output
        self._on_closed = on_closed
        self._reader = FrameReader()
        self._unsent = bytearray()
        self._data, data = socket.socketpair()
        self._control, control = socket.socketpair()
        self._output, output = os.pipe()
        life, self._life = os.pipe()
        self._status, status = os.pipe()
        self._data.setblocking(False)
        self._control.setblocking(False)
        os.set_blocking(self._output, False)
        os.set_blocking(self._status, False)
        for end in (self._data, data):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        passed = (data.fileno(), control.fileno(), life, status)
        try:
            with _deep_stack(settings):
                self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                    [sys.executable, "-m", "herojobs.worker", *map(str, passed)],
                    env={**os.environ, MARK: self._mark},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=passed,
                    process_group=0,
                )
        except OSError as e:
            self._close()
            raise WorkerError(f"a worker can't be started: {e}") from e
        finally:
            data.close()
            control.close()
            os.close(output)
            os.close(life)
            os.close(status)
        loop.add_reader(self._data, self._on_data)
        loop.add_reader(self._output, self._on_written)
        if sys.platform == "linux":
            loop.add_reader(self._status, self._on_end)
        self._write(frame([Setup(_encode(settings), concurrent, sys.path)]))

    @property
    def pid(self) -> int:
        """The process id of our child: the worker's guard, or where there is none the worker."""
        return self.process.pid

    @property
    def running(self) -> Run | None:
        """The run that an exclusive worker is at, None if it is idle."""
        return next(iter(self.runs.values()), None)

    @property
    def room(self) -> int:
        """How many more runs an exclusive worker should be given."""
        if not self.ready or self.killed or self.recalled:
            return 0
        ahead = max(1, min(AHEAD_MAX, int(AHEAD_MICROS / (self.took + 1))))
        if self._max_jobs:
            ahead = min(ahead, self._max_jobs - self.done)
        return ahead - len(self.runs)

    def give(self, runs: list[Run]) -> None:
        """Send runs to the worker, in one frame."""
        if not self.runs and not self.concurrent:
            runs[0].deadline = self._loop.time() + runs[0].timeout
        for run in runs:
            self.runs[run.number] = run
            if self.concurrent and self.ready:
                run.deadline = self._loop.time() + run.timeout
        until = time.monotonic() + self._start_within
        self._write(frame([Start(run.number, run.data, run.ref, run.job.alone, until) for run in runs]))

    def become_ready(self, worker_pid: int) -> None:
        """Note that the worker has loaded everything, and only now starts what it was given."""
        self.ready = True
        self.worker_pid = worker_pid
        for run in self.runs.values():
            run.deadline = self._loop.time() + run.timeout

    def take(self, number: int) -> Run | None:
        """Remove a run that is over or comes back; the next one of an exclusive worker starts now."""
        run = self.runs.pop(number, None)
        if run is not None and not self.concurrent:
            following = self.running
            if following is not None and not following.deadline:
                following.deadline = self._loop.time() + following.timeout
        return run

    def order(self, order: Control) -> None:
        """Send an order over the control socket; a worker too stuck to read it will be killed anyway."""
        with contextlib.suppress(OSError):
            self._control.send(frame([order]))

    def kill(self, because: Run | None = None) -> None:
        """End the process, its group and everything that descends from it. Its death is noticed like any other."""
        if self.killed:
            return
        self.killed = True
        self.killed_for = because
        self._kill_until = self._loop.time() + PATIENCE
        if sys.platform == "linux":
            self._close_life()
        else:
            end_family(self.pid)

    def end_if_family_left(self, run: Run) -> None:
        """End the worker if an interrupted run, which is over, left processes behind."""
        if any(process.pid != self.worker_pid for process in _descendants(self.pid)):
            self.kill(run)

    def retire(self) -> None:
        """Let the worker end by itself, once it has run what it was given."""
        with contextlib.suppress(OSError):
            self._data.shutdown(socket.SHUT_WR)

    def is_dead(self) -> bool:
        """Return whether the process has ended; it isn't reaped yet."""
        if self.process.returncode is not None or _has_exited(self.pid):
            return True
        if self.killed and self._loop.time() > self._kill_until:  # its guard is stopped, say
            end_family(self.pid)
        return False

    def bury(self) -> int:
        """Reap the dead process after reading what it left; return its exit code, negative for a signal."""
        try:
            self.process.wait(PATIENCE if self.killed else None)
        except subprocess.TimeoutExpired:
            end_family(self.pid)
        self._on_data(at_end=True)
        self._buried = True
        self.read_output()
        if sys.platform != "linux":
            end_family(self.pid)  # what it forked lives on otherwise
        told = b""
        with contextlib.suppress(BlockingIOError):
            told = os.read(self._status, 16)
        self._close()
        code = self.process.wait()
        if told:
            return int(told)
        if code and not self.killed:  # there was no guard, or it was killed itself
            end_marked(self._mark)
        return code

    def died_of_memory(self) -> bool:
        """Return whether the kernel ended a process for want of memory since this worker started."""
        return _oom_kills() > self.oom_kills

    def read_output(self) -> None:
        """Pass on what was written to the worker's stdout and stderr behind Python's back.

        A worker doesn't report a run before this has been read. So what is there now was written by the run that
        follows those reported by now, and what comes while we read may be another's already: it comes next time.
        """
        while self._output >= 0 and (size := unread(self._output)):
            if not self._buried:
                self._on_data()
            if self._output >= 0:
                self._on_output(self, os.read(self._output, size))

    def _on_end(self) -> None:
        self._loop.remove_reader(self._status)
        self._await_end()

    def _await_end(self) -> None:
        """Have the end noticed at once: its guard has told of it, and needs some microseconds more to end itself."""
        if self._status >= 0:
            self._on_closed(self)
        if self._status >= 0:
            self._loop.call_later(0.002, self._await_end)

    def _on_written(self) -> None:
        self.read_output()
        if self._output >= 0 and not _is_open(self._output):
            self._loop.remove_reader(self._output)

    def _on_data(self, at_end: bool = False) -> None:
        messages: list[FromWorker] = []
        closed = False
        try:
            while True:
                received = self._data.recv(1 << 18)
                if not received:
                    closed = True
                    break
                for payload in self._reader.feed(received):
                    messages += decode_from_worker(payload)
                if len(received) < 1 << 18 and not at_end:
                    break
        except BlockingIOError:
            pass
        except (OSError, ValueError, msgspec.DecodeError):
            closed = True  # a job has written to our socket, or the worker died in a frame
            self.kill()
        if messages:
            self.heard = self._loop.time()
            self._on_messages(self, messages)
        if closed and not at_end:
            self._loop.remove_reader(self._data)
            self._on_closed(self)

    def _write(self, data: bytes) -> None:
        if not self._unsent:
            try:
                sent = self._data.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                return  # it is dead; what it had is put back when that is noticed
            if sent == len(data):
                return
            data = data[sent:]
            self._loop.add_writer(self._data, self._on_writable)
        self._unsent += data

    def _on_writable(self) -> None:
        try:
            sent = self._data.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            sent = len(self._unsent)
        del self._unsent[:sent]
        if not self._unsent:
            self._loop.remove_writer(self._data)

    def _close(self) -> None:
        for end in (self._data, self._control):
            if end.fileno() >= 0:
                self._loop.remove_reader(end)
                self._loop.remove_writer(end)
                end.close()
        if self._output >= 0:
            self._loop.remove_reader(self._output)
            os.close(self._output)
            self._output = -1
        if self._status >= 0:
            self._loop.remove_reader(self._status)
            os.close(self._status)
            self._status = -1
        self._close_life()

    def _close_life(self) -> None:
        if self._life >= 0:
            os.close(self._life)
            self._life = -1


@contextlib.contextmanager
def _deep_stack(settings: Settings) -> Iterator[None]:
    """Have what is started in the block get a main thread's stack that deeply nested Rhai values can't overflow.

    Four times the memory of a run is enough; it is address space, not memory, so not with a limit on that.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    wanted = 4 * settings.rhai_memory * 1024 * 1024
    enough = soft == resource.RLIM_INFINITY or soft >= wanted
    if enough or settings.worker_memory or (hard != resource.RLIM_INFINITY and hard < wanted):
        yield
        return
    resource.setrlimit(resource.RLIMIT_STACK, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_STACK, (soft, hard))


def end_family(pid: int) -> None:
    """Kill a worker that isn't reaped yet, its process group, and what left the group but descends from it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGSTOP)  # a stopped family forks no more
    descendants = _descendants(pid)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for process in descendants:
        with contextlib.suppress(psutil.Error):
            process.kill()


def end_marked(mark: str) -> None:
    """Kill what descends from a worker that died by itself: what left its group isn't its child any more."""
    for _ in range(2):  # a process may have forked while we looked
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(MARK) == mark:
                    process.kill()


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _is_open(pipe: int) -> bool:
    """Return whether somebody may still write to a pipe that we read from, or has."""
    poller = select.poll()
    poller.register(pipe, select.POLLIN)
    return not any(event & select.POLLHUP and not event & select.POLLIN for _, event in poller.poll(0))


def _has_exited(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _oom_kills() -> int:
    """Return how many processes the kernel has ended for want of memory since it booted, 0 where it doesn't tell."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/vmstat").read_text("ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def _encode(settings: Settings) -> bytes:
    return msgspec.msgpack.encode(settings, enc_hook=str)
