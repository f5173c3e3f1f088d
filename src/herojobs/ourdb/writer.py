"""Group commit: callers queue, and the one that gets the lock writes everybody's records (OurDB format C3)."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from herojobs.ourdb import sync as syncing
from herojobs.ourdb.commit import Commit
from herojobs.ourdb.errors import DiskFull
from herojobs.ourdb.state import State, boot_id

if TYPE_CHECKING:
    from herojobs.ourdb.db import OurDB

Build = Callable[[Commit], Any]
"""Adds a caller's records to a commit, and returns what the caller gets."""


class _Request:
    """What one caller wants written."""

    __slots__ = ("build", "done", "error", "result")

    def __init__(self, build: Build) -> None:
        self.build = build
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = False


class Writer:
    """Writes for all threads that share a database object.

    Attributes:
        unsynced: numbers of the data files that have something that the disk may not have yet.
        wrote: whether anything was written.
    """

    def __init__(self, db: OurDB) -> None:
        self.unsynced: set[int] = set()
        self.wrote = False
        self._db = db
        self._queue: list[_Request] = []
        self._guard = threading.Lock()

    def commit(self, build: Build, timeout: float) -> Any:
        """Have `build` add records to a commit and write it, together with what other threads wait to write.

        Args:
            build: adds the records.
            timeout: seconds to wait for the lock; 0 = one try.

        Raises:
            DatabaseLocked: nothing was written.
            whatever `build` raises, and `DiskFull`: likewise.
        """
        request = _Request(build)
        with self._guard:
            self._queue.append(request)
        try:
            with self._db.lock.held(timeout):
                if not request.done:
                    self._lead()
        except BaseException:
            with self._guard:
                waiting = request in self._queue
                if waiting:
                    self._queue.remove(request)
            if waiting:
                raise
            with self._db.lock.held(self._db.lock_timeout):  # another thread is writing it in this moment
                pass
        if request.error is not None:
            raise request.error
        return request.result

    def _lead(self) -> None:
        with self._guard:
            requests, self._queue = self._queue, []
        try:
            self._write(requests)
        except BaseException as e:
            for request in requests:
                request.error = request.error or e
        finally:
            for request in requests:
                request.done = True

    def _write(self, requests: list[_Request]) -> None:
        db = self._db
        state = db.current_state()
        db.use_generation()
        commit = Commit(db.table, state.end, state.next_id, file_size=db.file_size, max_record=db.max_record)
        for request in requests:
            mark, entries = commit.mark(), dict(commit.entries) if len(requests) > 1 else {}
            try:
                request.result = request.build(commit)
            except Exception as e:
                commit.back_to(mark, entries)
                request.error = e
        numbers = commit.write(db.files)
        if not numbers:
            return
        self.wrote = True
        if db.sync == "always":
            self._sync(commit, numbers)
        self._write_table(commit)
        db.state_file.write(State(state.generation, commit.end, commit.next_id, False, boot_id()))
        if db.sync == "interval":
            self.unsynced.update(numbers)
            syncing.syncer.note(id(db), db.flush)

    def _sync(self, commit: Commit, numbers: list[int]) -> None:
        try:
            for number in numbers:
                self._db.files.sync(number)
        except OSError:
            commit.cut(self._db.files)
            raise

    def _write_table(self, commit: Commit) -> None:
        table = self._db.table
        before = dict(zip(commit.entries, table.get_many(commit.entries), strict=True))
        try:
            table.put_many(commit.entries)
        except OSError as e:
            commit.cut(self._db.files)
            with contextlib.suppress(OSError):
                table.put_many(before)
            raise DiskFull(f"{self._db.path}: the lookup table can't grow ({e}); nothing was written") from e
