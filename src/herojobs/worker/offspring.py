"""Child processes of asynchronous jobs: a run that is interrupted takes along what it started.

In the concurrent worker many runs share a process, so which of them has started a child is known by the context that
starts it (`asyncio.create_subprocess_*`, `subprocess`, also in tasks and `asyncio.to_thread` calls of the run). What
starts otherwise, by `os.fork` or in a thread pool of the job's own, belongs to nobody, and ends with the worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections import deque
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import uvloop

if TYPE_CHECKING:
    import psutil

running: ContextVar[int] = ContextVar("running", default=0)
"""Number of the run whose code runs now, in its own task or in one that it has started; 0 = none."""

_started: dict[int, list[psutil.Process]] = {}
_ended: deque[int] = deque(maxlen=1000)
"""Runs that were interrupted of late: a thread of theirs may be about to start a process."""


class Loop(uvloop.Loop):
    """An event loop that notes the processes it starts."""

    async def subprocess_exec(self, *args: Any, **options: Any) -> Any:
        """Start a process, as asyncio's loops do."""
        return await _noting(super().subprocess_exec(*args, **options))

    async def subprocess_shell(self, *args: Any, **options: Any) -> Any:
        """Start a shell, as asyncio's loops do."""
        return await _noting(super().subprocess_shell(*args, **options))


def install() -> None:
    """Note what `subprocess` starts from now on."""
    start = subprocess.Popen.__init__

    def start_and_note(self: subprocess.Popen[Any], *args: Any, **options: Any) -> None:
        number = running.get()
        if not number:
            start(self, *args, **options)
            return
        running.set(0)
        try:
            start(self, *args, **options)
            _note(number, self.pid)
        finally:
            running.set(number)

    subprocess.Popen.__init__ = start_and_note  # type: ignore[method-assign]


def forget(number: int) -> None:
    """Leave alone what a run has started: it ended by itself."""
    _started.pop(number, None)


def end(number: int) -> None:
    """Kill what a run has started, with all that descends from it and is in its process group."""
    _ended.append(number)
    processes = _started.pop(number, ())
    if not processes:
        return
    import psutil  # here: most runs start no process

    for process in processes:
        with contextlib.suppress(psutil.Error, OSError):
            family = process.children(recursive=True)  # an error if the process has ended, whoever has its id now
            if os.getpgid(process.pid) == process.pid:
                os.killpg(process.pid, signal.SIGKILL)
            for member in (process, *family):
                with contextlib.suppress(psutil.Error):
                    member.kill()


def _note(number: int, pid: int) -> None:
    """Note a process of a run; no order may interrupt this, so whoever calls it has set `running` to 0."""
    import psutil

    with contextlib.suppress(psutil.Error):  # it has ended already
        _started.setdefault(number, []).append(psutil.Process(pid))
    if number in _ended:
        end(number)


async def _noting(starting: Coroutine[Any, Any, tuple[Any, Any]]) -> Any:
    """Note a process once it is there, whatever becomes of its run meanwhile."""
    number = running.get()
    return await (asyncio.shield(_start(number, starting)) if number else starting)


async def _start(number: int, starting: Coroutine[Any, Any, tuple[Any, Any]]) -> tuple[Any, Any]:
    running.set(0)  # in this task alone
    transport, protocol = await starting
    _note(number, transport.get_pid())
    return transport, protocol
