"""The open databases: one a queue, opened when first used, and the longest unused closed when there are too many.

An open database costs a few file descriptors and a mapping, so their number is bounded; a queue count is not.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from herojobs.names import Queue
from herojobs.ourdb import OurDB

_log = logging.getLogger("herojobs.store")


class _Slot:
    __slots__ = ("db", "lock", "users")

    def __init__(self) -> None:
        self.db: OurDB | None = None
        self.users = 0
        self.lock = threading.Lock()


class Databases:
    """A bounded number of open databases, for any number of threads.

    Args:
        open_: opens the database of a queue.
        limit: how many stay open. More are open while more are in use at the same moment.
    """

    def __init__(self, open_: Callable[[Queue], OurDB], limit: int) -> None:
        self._open = open_
        self._limit = limit
        self._slots: OrderedDict[Queue, _Slot] = OrderedDict()
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)

    @contextmanager
    def use(self, queue: Queue) -> Iterator[OurDB]:
        """Give the database of a queue; it isn't closed as long as the block runs."""
        with self._lock:
            slot = self._slots.get(queue)
            if slot is None:
                slot = self._slots[queue] = _Slot()
            else:
                self._slots.move_to_end(queue)
            slot.users += 1
        try:
            if slot.db is None:
                with slot.lock:
                    if slot.db is None:
                        slot.db = self._open(queue)
            yield slot.db
        finally:
            with self._lock:
                slot.users -= 1
                if not slot.users and slot.db is None:
                    self._slots.pop(queue, None)
                surplus = self._take_surplus() if len(self._slots) > self._limit else ()
                self._idle.notify_all()
            for unused, db in surplus:
                _close(unused, db)

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
            self._idle.wait_for(lambda: not any(slot.users for slot in self._slots.values()))
            slots, self._slots = self._slots, OrderedDict()
        for queue, slot in slots.items():
            if slot.db is not None:
                _close(queue, slot.db)

    def _take_surplus(self) -> list[tuple[Queue, OurDB]]:
        surplus = []
        for queue, slot in list(self._slots.items()):
            if len(self._slots) <= self._limit:
                break
            if not slot.users and slot.db is not None:
                del self._slots[queue]
                surplus.append((queue, slot.db))
        return surplus


def _close(queue: Queue, db: OurDB) -> None:
    # What was acknowledged is in the files already: a failing close (disk full) must not hurt whoever closes.
    try:
        db.close()
    except OSError as e:
        _log.warning("closing the database of %s: %s", queue, e)
