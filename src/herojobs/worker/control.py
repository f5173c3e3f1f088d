"""The thread that hears a WatchDog's orders while the main thread is busy with a job."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable

from herojobs.frames import Control, FrameReader, decode_control

SIGNAL = signal.SIGUSR1
"""What the thread sends to the main thread: a signal's handler runs between two of a job's bytecodes and ends
blocking system calls."""


def listen(control: socket.socket, obey: Callable[[Control], None]) -> None:
    """Start the thread: `obey` gets each order; when the WatchDog is gone, this process and its children end."""

    def loop() -> None:
        reader = FrameReader()
        while True:
            try:
                received = control.recv(4096)
            except OSError:
                received = b""
            if not received:
                if os.getpgrp() == os.getpid():
                    os.killpg(0, signal.SIGKILL)
                os._exit(1)
            for payload in reader.feed(received):
                for order in decode_control(payload):
                    obey(order)

    threading.Thread(target=loop, name="herojobs-control", daemon=True).start()


def poke_main_thread() -> None:
    """Have the handler of `SIGNAL` run in the main thread, now."""
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, SIGNAL)
