"""The open databases: one a queue, opened when first used, and the longest unused closed when there are too many.

An open database costs a few file descriptors and a mapping, so their number is bounded; a queue count is not. Closing
one waits for the disk, so a thread does it, as long as it can keep up.
"""

from __future__ import annotations

import contextlib
import logging
import resource
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from herojobs.names import Queue
from herojobs.ourdb import OurDB, OurDBError

_log = logging.getLogger("herojobs.store")


DESCRIPTORS = 5
"""File descriptors that an open database may take."""
SPARED = 300
"""Descriptors left to everything else in the process."""
MOST = 2_000
BACKLOG = 50
"""Databases that wait to be closed at most; what is more is closed at once, without what needs the disk."""
SETTLING = 2.0
"""Seconds that `close` takes at most for databases that were closed like that; what is left harms nothing."""


def limit_for(open_files: int) -> int:
    """Return how many databases may stay open where a process may have so many open files."""
    return max(16, min(MOST, (open_files - SPARED) // DESCRIPTORS))


def allow_many_files() -> None:
    """Let this process have as many open files as the system lets it; for processes of our own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST * DESCRIPTORS + SPARED
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


class Slot:
    """A queue's database, open or not; as a context manager it gives the database, which stays open for the block.

    Made by `Databases.use` alone, which counts the user that leaves with the block.
    """

    __slots__ = ("_databases", "db", "lock", "queue", "users")

    def __init__(self, databases: Databases, queue: Queue) -> None:
        self._databases = databases
        self.queue = queue
        self.db: OurDB | None = None
        self.users = 0
        self.lock = threading.Lock()

    def __enter__(self) -> OurDB:
        return self.db or self._databases.opened(self)

    def __exit__(self, *_: object) -> None:
        self._databases.leave(self)


class Databases:
    """A bounded number of open databases, for any number of threads.

    Args:
        open_: opens the database of a queue.
        exists: tells whether there is one.
        limit: how many stay open, None = as the process's limit on open files lets. More are open while more are in
            use at the same moment.
    """

    def __init__(
        self, open_: Callable[[Queue], OurDB], exists: Callable[[Queue], bool], limit: int | None = None
    ) -> None:
        self._open = open_
        self._exists = exists
        self._limit = limit or limit_for(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        self._unsettled: set[Queue] = set()
        self._closer = _Closer(min(BACKLOG, self._limit))
        self._slots: OrderedDict[Queue, Slot] = OrderedDict()
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._closing = False

    def use(self, queue: Queue) -> Slot:
        """Return what gives the database of a queue to a `with` block; it isn't closed as long as the block runs."""
        with self._lock:
            slot = self._slots.get(queue)
            if slot is None:
                slot = self._slots[queue] = Slot(self, queue)
            else:
                self._slots.move_to_end(queue)
            slot.users += 1
        return slot

    def opened(self, slot: Slot) -> OurDB:
        """Return the database of a slot, opened by the first thread that asks; for `Slot`."""
        try:
            with slot.lock:
                if slot.db is None:
                    slot.db = self._open(slot.queue)
                return slot.db
        except BaseException:
            self.leave(slot)
            raise

    def leave(self, slot: Slot) -> None:
        """Count a user of a slot less, and close what is too much; for `Slot`."""
        with self._lock:
            slot.users -= 1
            if not slot.users and slot.db is None:
                self._slots.pop(slot.queue, None)
            surplus = self._take_surplus() if len(self._slots) > self._limit else ()
            if self._closing:
                self._idle.notify_all()
        for unused, db in surplus:
            if not self._closer.take(unused, db):
                self._unsettled.add(unused)
                _close(unused, db, settle=False)

    def is_open(self, queue: Queue) -> bool:
        """Return whether a queue's database is open."""
        slot = self._slots.get(queue)
        return slot is not None and slot.db is not None

    def open_count(self) -> int:
        """Return how many databases are open now."""
        return len(self._slots)

    def close(self) -> None:
        """Wait until no database is in use, and close them all."""
        with self._idle:
            self._closing = True
            self._idle.wait_for(lambda: not any(slot.users for slot in self._slots.values()))
            slots, self._slots, self._closing = self._slots, OrderedDict(), False
        self._closer.finish()
        for queue, slot in slots.items():
            if slot.db is not None:
                _close(queue, slot.db)
        deadline = time.monotonic() + SETTLING
        while self._unsettled and time.monotonic() < deadline:
            queue = self._unsettled.pop()
            if self._exists(queue):
                with contextlib.suppress(OSError, OurDBError), self._open(queue) as db:
                    db.settle()

    def _take_surplus(self) -> list[tuple[Queue, OurDB]]:
        surplus = []
        for queue, slot in list(self._slots.items()):
            if len(self._slots) <= self._limit:
                break
            if not slot.users and slot.db is not None:
                del self._slots[queue]
                surplus.append((queue, slot.db))
        return surplus


class _Closer:
    """A thread, while there is something to close; at most `backlog` databases wait for it."""

    def __init__(self, backlog: int) -> None:
        self._backlog = backlog
        self._waiting: deque[tuple[Queue, OurDB]] = deque()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def take(self, queue: Queue, db: OurDB) -> bool:
        """Have a database closed; False if too many wait already."""
        with self._lock:
            if len(self._waiting) >= self._backlog:
                return False
            self._waiting.append((queue, db))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ourdb-close", daemon=True)
                self._thread.start()
        return True

    def finish(self) -> None:
        """Wait until all of them are closed."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return
                queue, db = self._waiting.popleft()
            _close(queue, db)


def _close(queue: Queue, db: OurDB, settle: bool = True) -> None:
    # What was acknowledged is in the files already: a failing close (disk full) must not hurt whoever closes.
    try:
        db.close(settle=settle)
    except OSError as e:
        _log.warning("closing the database of %s: %s", queue, e)
