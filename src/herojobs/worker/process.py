"""A worker's life from its first message to its end: set-up, limits, then one of two ways to run jobs."""

from __future__ import annotations

import fcntl
import logging
import os
import resource
import select
import signal
import socket
import sys
import threading
from typing import NoReturn

import msgspec

from herojobs.errors import HeroJobsError
from herojobs.frames import Ready, Setup, Unfit, decode_to_worker, frame
from herojobs.processors.kinds import Processors
from herojobs.settings import Settings
from herojobs.worker import output


def main(data_fd: int, control_fd: int, life_fd: int) -> NoReturn:
    """Run jobs until the WatchDog closes the data socket.

    Args:
        data_fd: socket for jobs and their ends.
        control_fd: socket for orders.
        life_fd: pipe that the WatchDog holds open as long as it lives.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the terminal's whole group; the WatchDog decides
    threading.stack_size(8 * 1024 * 1024)  # the main thread's may be far larger, see WatchDog
    data = socket.socket(fileno=data_fd)
    control = socket.socket(fileno=control_fd)
    _end_with_parent(life_fd)
    setup = _read_setup(data)
    settings = msgspec.msgpack.decode(setup.settings, type=Settings, dec_hook=lambda kind, value: kind(value))
    sys.path[:] = setup.python_path
    try:
        _limit(settings)
        processors = Processors(settings)
        processors.get("heroscript")  # loads the actors: a module that doesn't import shows now, not at the first job
        if settings.openrpc_methods:
            processors.get("openrpc")  # likewise
    except HeroJobsError as e:
        data.sendall(frame([Unfit(str(e))]))
        sys.exit(1)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=output.install())
    data.sendall(frame([Ready(os.getpid())]))
    if setup.concurrent:
        from herojobs.worker.concurrent import ConcurrentWorker

        ConcurrentWorker(data, control, processors, settings).serve()
    else:
        from herojobs.worker.exclusive import ExclusiveWorker

        ExclusiveWorker(data, control, processors, settings).serve()
    os._exit(0)  # threads that jobs left behind must not hold the process


def _read_setup(data: socket.socket) -> Setup:
    """Read one frame and no more: jobs may follow it already."""
    head = data.recv(4, socket.MSG_WAITALL)
    if len(head) < 4:
        sys.exit(0)
    (setup,) = decode_to_worker(data.recv(int.from_bytes(head, "little"), socket.MSG_WAITALL))
    assert isinstance(setup, Setup)
    return setup


def _end_with_parent(life_fd: int) -> None:
    """Have the kernel end this process's group when the WatchDog dies, should the guard have died with it (Linux).

    The pipe's end signals the whole group, even while C code holds the interpreter.
    """
    if sys.platform != "linux":
        return  # the control thread sees the closed socket instead
    fcntl.fcntl(life_fd, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(life_fd, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(life_fd, fcntl.F_SETFL, os.O_ASYNC)
    if select.select([life_fd], [], [], 0)[0]:
        os.killpg(0, signal.SIGKILL)  # it died before we asked to be told


def _limit(settings: Settings) -> None:
    if settings.worker_open_files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (settings.worker_open_files, settings.worker_open_files))
    if settings.worker_memory and sys.platform == "linux":
        limit = settings.worker_memory * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
