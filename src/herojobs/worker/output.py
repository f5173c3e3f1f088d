"""What a job prints: `sys.stdout` and `sys.stderr` of a worker write to the log of the job that runs."""

from __future__ import annotations

import fcntl
import io
import sys
import termios
import time
from collections.abc import Callable
from contextvars import ContextVar

Write = Callable[[str], None]

current: ContextVar[Write | None] = ContextVar("current", default=None)
"""Where output goes now: the log of the running job; each asynchronous job has its own context."""


class JobStream(io.TextIOBase):
    """A text stream that writes to the current job's log, and to the worker's own output between jobs."""

    encoding = "utf-8"

    def __init__(self, fallback: io.TextIOBase) -> None:
        super().__init__()
        self._fallback = fallback

    def write(self, text: str) -> int:
        """Write text to the log of the job that runs."""
        write = current.get()
        if write is None:
            self._fallback.write(text)
            self._fallback.flush()
        elif text:
            write(text)
        return len(text)

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor of the worker's own output: child processes write there."""
        return self._fallback.fileno()


def install() -> JobStream:
    """Put a `JobStream` in the place of `sys.stdout` and `sys.stderr`, and return the latter."""
    assert isinstance(sys.stdout, io.TextIOBase)
    assert isinstance(sys.stderr, io.TextIOBase)
    sys.stdout = JobStream(sys.stdout)
    stderr = JobStream(sys.stderr)
    sys.stderr = stderr
    return stderr


def wait_until_read() -> None:
    """Wait until the WatchDog has read what was written to descriptors 1 and 2.

    Only while the run that wrote it isn't over does it know whose it is.
    """
    pause = 0.0002
    try:
        while unread(1) and pause < 1:
            time.sleep(pause)
            pause *= 1.5
    except OSError:  # the job has closed it, or it is no pipe any more
        pass


def unread(pipe: int) -> int:
    """Return how many bytes wait in a pipe, by either of its ends."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


class JobLog:
    """The log of one run: whole lines leave at once, a rest without line end at the run's end; bounded in size."""

    __slots__ = ("_limit", "_mid_line", "_rest", "_send", "_sent", "dropped")

    def __init__(self, send: Write, limit: int) -> None:
        self._send = send
        self._limit = limit
        self._sent = 0
        self._rest = ""
        self._mid_line = False
        self.dropped = 0

    def write(self, text: str) -> None:
        """Take text; what goes over the limit is dropped and counted."""
        if not text.isascii():
            text = text.encode("utf-8", "replace").decode()  # lone surrogates don't travel
        room = self._limit - self._sent - len(self._rest)
        if len(text) > room:
            self.dropped += len(text) - max(room, 0)
            text = text[: max(room, 0)]
        text = self._rest + text
        cut = text.rfind("\n") + 1
        self._rest = text[cut:]
        if cut:
            self._sent += cut
            self._mid_line = False
            self._send(text[:cut])

    def flush(self) -> None:
        """Send what there is, though its line isn't complete."""
        if self._rest:
            self._sent += len(self._rest)
            self._mid_line = True
            rest, self._rest = self._rest, ""
            self._send(rest)

    def close(self) -> None:
        """Send the rest, and how much was dropped."""
        if self.dropped:
            self._rest += f"\n... {self.dropped} more characters were dropped: the log's limit is {self._limit}\n"
        if self._rest or self._mid_line:
            self._send(self._rest if self._rest.endswith("\n") else self._rest + "\n")
            self._rest, self._mid_line = "", False
