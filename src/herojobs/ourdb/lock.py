"""Who may write: one thread of one process at a time (OurDB format C3).

Between processes a `flock` on `lookup/lock`, on one descriptor kept open; within a process a mutex for each lock file,
since the kernel's lock doesn't tell threads apart.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, flock
from pathlib import Path

from herojobs.ourdb.errors import DatabaseLocked

_AT_ONCE = LOCK_EX | LOCK_NB

_mutexes: dict[tuple[int, int], threading.RLock] = {}
_guard = threading.Lock()
_process = 1
"""Differs in a forked child; to ask the kernel for the process's id would cost as much as a lock."""


def _forget_mutexes() -> None:
    """After a fork, threads that held a mutex don't exist any more."""
    global _guard, _process
    _guard = threading.Lock()
    _process += 1
    _mutexes.clear()


os.register_at_fork(after_in_child=_forget_mutexes)


class WriteLock:
    """The lock of one database.

    Args:
        path: the lock file; made if it isn't there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._process = 0  # whose descriptor it is; opened when first taken
        self._fd = -1
        self._depth = 0  # a thread may hold the lock and take it again

    @contextlib.contextmanager
    def held(self, timeout: float) -> Iterator[None]:
        """Hold the lock for the block; arguments and errors as `acquire`."""
        self.acquire(timeout)
        try:
            yield
        finally:
            self.release()

    def acquire(self, timeout: float) -> None:
        """Take the lock. The thread that holds it may take it again; each time takes a `release`.

        Args:
            timeout: seconds to wait for it; 0 = one try.

        Raises:
            DatabaseLocked: somebody else held it all that time.
        """
        if self._process != _process:
            self._open()
        if not self._mutex.acquire(False):
            started = time.monotonic()
            if not self._mutex.acquire(timeout=timeout):
                raise DatabaseLocked(f"{self._path.parent.parent}: another thread is writing")
            timeout = max(0.0, timeout - (time.monotonic() - started))
        try:
            if not self._depth:
                try:
                    flock(self._fd, _AT_ONCE)
                except BlockingIOError:
                    self._wait(timeout)
            self._depth += 1
        except BaseException:
            self._mutex.release()
            raise

    def acquire_at_once(self) -> bool:
        """Take the lock if nobody has it, this thread neither; return whether it did."""
        if self._process != _process:
            self._open()
        if not self._mutex.acquire(False):
            return False
        if not self._depth:
            try:
                flock(self._fd, _AT_ONCE)
            except BlockingIOError:
                pass
            except BaseException:
                self._mutex.release()
                raise
            else:
                self._depth = 1
                return True
        self._mutex.release()
        return False

    def release(self) -> None:
        """Give the lock back."""
        self._depth -= 1
        if not self._depth:
            flock(self._fd, LOCK_UN)
        self._mutex.release()

    def settle(self) -> None:
        """Wait until no thread of this process holds the lock."""
        with self._mutex:
            pass

    def close(self) -> None:
        """Close the descriptor."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._process = 0

    def _open(self) -> None:
        """Open the file; a forked child shares its parent's descriptor, and with it the parent's lock, until then."""
        with _guard:
            if self._process == _process:
                return  # another thread was first
            if self._fd >= 0:
                os.close(self._fd)
            self._depth = 0
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            file = os.fstat(self._fd)
            self._mutex = _mutexes.setdefault((file.st_dev, file.st_ino), threading.RLock())
            self._process = _process

    def _wait(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        pause = 0.0002
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise DatabaseLocked(f"{self._path.parent.parent}: another process is writing")
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, 0.01)
            with contextlib.suppress(BlockingIOError):
                flock(self._fd, _AT_ONCE)
                return
