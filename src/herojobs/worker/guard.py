"""A worker's guard: its parent process, which runs no job and so lives to see that nothing of the worker's outlives it.

    WatchDog ── guard ── worker ── what its jobs start

The guard is a child subreaper (prctl(2), Linux): whatever descends from the worker becomes the guard's child once its
own parent is gone, in whatever session or process group it is. When the worker ends, or the WatchDog does (the pipe
that it holds open is closed, whatever killed it), the guard kills until it has no child left, and tells how the
worker ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
PATIENCE = 5.0
"""Seconds after which the guard ends though a child doesn't: one of another user's (setuid), or stuck in the kernel."""


def split_off(data_fd: int, control_fd: int, life_fd: int, status_fd: int) -> None:
    """Become the guard of a worker, and return in that worker; elsewhere than on Linux just return.

    Args:
        data_fd: the worker's socket for jobs; the guard closes its own end of it.
        control_fd: the worker's socket for orders, likewise.
        life_fd: pipe that the WatchDog holds open as long as the worker shall live.
        status_fd: pipe on which the guard tells the worker's exit code once nothing of its family is left.
    """
    if sys.platform != "linux":
        os.close(status_fd)
        return
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGUSR2)  # where a fork of the WatchDog's process holds the pipe open too
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell)
    for number in (signal.SIGCHLD, signal.SIGUSR2):
        signal.signal(number, lambda *_: None)
    guard = os.getpid()
    worker = os.fork()
    if worker:
        os.close(data_fd)
        os.close(control_fd)
        _guard(worker, life_fd, told, status_fd)
    os.close(status_fd)
    signal.set_wakeup_fd(-1)
    os.close(told)
    os.close(tell)
    for number in (signal.SIGCHLD, signal.SIGUSR2):
        signal.signal(number, signal.SIG_DFL)
    os.setpgid(0, 0)  # what a job does to its process group doesn't reach the guard
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guard:
        os._exit(1)


def _guard(worker: int, life_fd: int, told: int, status_fd: int) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    poller = select.poll()
    poller.register(life_fd, 0)  # its other end's closing is always reported
    poller.register(told, select.POLLIN)
    code: int | None = None
    while code is None:
        ready = {fd for fd, _ in poller.poll()}
        if life_fd in ready or signal.SIGUSR2 in os.read(told, 512):
            break
        code = _reap(worker)
    ended = _end_children(worker)
    with contextlib.suppress(BrokenPipeError):  # the WatchDog is gone
        os.write(status_fd, b"%d" % (ended if code is None else code))
    os._exit(0)


def _reap(worker: int) -> int | None:
    """Reap all children that have ended; return the worker's exit code if it was among them, negative for a signal."""
    code = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            if pid == worker:
                code = os.waitstatus_to_exitcode(status)
    return code


def _end_children(worker: int) -> int:
    """Kill children, and those that become ours by that, until none is left; return the worker's exit code."""
    code = -signal.SIGKILL
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            while (reaped := os.waitpid(-1, os.WNOHANG))[0]:
                if reaped[0] == worker:
                    code = os.waitstatus_to_exitcode(reaped[1])
        except ChildProcessError:  # none is left
            break
        for pid in _descendants():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)
    return code


def _descendants() -> list[int]:
    """Return all processes that descend from this one, parents first."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError), open(f"/proc/{name}/stat", "rb") as stat:
                parent = int(stat.read().rpartition(b")")[2].split()[1])
                children.setdefault(parent, []).append(int(name))
    found = [*children.get(os.getpid(), [])]
    for pid in found:
        found += children.get(pid, [])
    return found


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
