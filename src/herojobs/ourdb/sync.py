"""The `interval` policy: one thread a process has the disk hold what was written at most 100 ms ago."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable

INTERVAL = 0.1


class Syncer:
    """Calls the flush functions of databases that were written to."""

    def __init__(self) -> None:
        self._due: dict[int, Callable[[], None]] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def note(self, key: int, flush: Callable[[], None]) -> None:
        """Have `flush` called within the interval; `key` tells databases apart."""
        if key in self._due:
            return
        with self._lock:
            self._due[key] = flush
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ourdb-sync", daemon=True)
                self._thread.start()
        self._wake.set()

    def forget(self, key: int) -> None:
        """Don't call it: the database is closed."""
        with self._lock:
            self._due.pop(key, None)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            time.sleep(INTERVAL)
            with self._lock:
                due, self._due = self._due, {}
            for flush in due.values():
                with contextlib.suppress(Exception):  # one database's trouble must not end the flushing of others
                    flush()


syncer = Syncer()


def _renew() -> None:
    global syncer
    syncer = Syncer()


os.register_at_fork(after_in_child=_renew)
