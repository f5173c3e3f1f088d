"""Group commit: who gets the lock writes everybody's records (OurDB format C3).

While a thread waits for another process's lock or for the disk, others queue up behind it, and the next commit is the
larger. One write for the data, then the flush that the policy asks for, then the table, then the state.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from herojobs.ourdb import marks
from herojobs.ourdb.commit import Commit
from herojobs.ourdb.errors import DatabaseLocked, DiskFull, OurDBError
from herojobs.ourdb.files import FULL
from herojobs.ourdb.format import HEADER
from herojobs.ourdb.state import State, boot_id
from herojobs.ourdb.table import Run

if TYPE_CHECKING:
    from herojobs.ourdb.db import OurDB

Build = Callable[[Commit], Any]
T = TypeVar("T")


class _Request:
    """What one caller wants written."""

    __slots__ = ("build", "done", "error", "result")

    def __init__(self, build: Build) -> None:
        self.build = build
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = False


class Writer:
    """The queue of what threads of this process want written to one database."""

    def __init__(self, db: OurDB) -> None:
        self._db = db
        self._requests: deque[_Request] = deque()  # its steps are atomic: a request is taken or withdrawn, never both
        self._writing = False

    def commit(self, build: Callable[[Commit], T], timeout: float) -> T:
        """Have `build` add records to a commit, and write it; return what `build` returned.

        Raises:
            DatabaseLocked: somebody else held the lock for `timeout` seconds.
            others as `OurDB.add_many`. Nothing was written then.
        """
        lock = self._db.lock
        self._db.check_open()
        if not self._requests and lock.acquire_at_once():
            try:
                if not self._requests:
                    return self._write_alone(build)
                request = _Request(build)
                self._take_turn(request)
            finally:
                lock.release()
        else:
            request = _Request(build)
            self._queue_up(request, timeout)
        if request.error is not None:
            raise request.error
        result: T = request.result
        return result

    def _queue_up(self, request: _Request, timeout: float) -> None:
        """Wait for the lock, or for the thread that has it to take the request."""
        lock = self._db.lock
        if timeout > 0:  # who doesn't wait for the lock doesn't wait for another thread's commit either
            self._requests.append(request)
        try:
            lock.acquire(timeout)
        except BaseException as e:
            with contextlib.suppress(ValueError):
                self._requests.remove(request)
                raise
            if timeout > 0:
                lock.settle()  # taken by the thread that writes now
            if not (request.done and isinstance(e, DatabaseLocked)):
                raise
        else:
            try:
                if not request.done:
                    self._take_turn(request)
            finally:
                lock.release()

    def _take_turn(self, request: _Request) -> None:
        """Write what everybody wants written; the caller holds the lock."""
        requests = []
        while self._requests:
            requests.append(self._requests.popleft())
        if request not in requests:
            requests.append(request)
        if self._writing:
            self._refuse_nesting()
        self._writing = True
        try:
            self._write_all(requests)
        except Exception as e:
            for each in requests:
                each.error = each.error or e
        except BaseException as e:
            for each in requests:
                each.error = each.error or DatabaseLocked(f"{self._db.path}: the thread that wrote was interrupted")
            raise e
        finally:
            self._writing = False
            for each in requests:
                each.done = True

    def _refuse_nesting(self) -> NoReturn:
        raise OurDBError(f"{self._db.path}: a function that makes a record must not write to its database")

    def _write_alone(self, build: Callable[[Commit], T]) -> T:
        """Write what one thread wants written, which is most often all there is."""
        if self._writing:
            self._refuse_nesting()
        self._writing = True
        try:
            state, commit = self._begin()
            result = build(commit)
            self._write(state, commit)
            return result
        finally:
            self._writing = False

    def _write_all(self, requests: list[_Request]) -> None:
        state, commit = self._begin()
        for request in requests:
            mark, entries = commit.mark(), dict(commit.entries)
            try:
                request.result = request.build(commit)
            except Exception as e:
                commit.back_to(mark, entries)
                request.error = e
        self._write(state, commit)

    def _begin(self) -> tuple[State, Commit]:
        db = self._db
        db.current_view()
        state = db.current_state()
        return state, Commit(db.view.table, state.end, state.next_id, db.file_size, db.max_record)

    def _write(self, state: State, commit: Commit) -> None:
        """Write the data, flush it as the policy says, then write the table and the state."""
        db = self._db
        _, table, files = db.view
        if commit.begins_files:  # a file that a writer began who died is found by this mark
            db.state_file.write(state._replace(clean=False, boot=boot_id(), rolling=True))
        numbers = commit.write(files)
        if not numbers:
            return
        before: list[Run] = []
        try:
            if db.sync == "always":
                for number in numbers:
                    files.sync(number)
            if commit.begins_files:
                marks.seal(db.path, files, range(state.end >> 32, commit.end >> 32))
            if state.clean:  # the disk must not hold newer entries beside a state that says that nothing is to be done
                if not commit.begins_files:
                    db.state_file.write(state._replace(clean=False, boot=boot_id()))
                db.state_file.sync()
            before = table.put_many(commit.entries, new=not commit.links)
            if db.sync == "always" and not db.incremental and db.id_of is None:
                table.sync()  # nothing but the table tells which id a first version is of
            if not commit.erase:
                self._note(state, commit)
        except BaseException as e:
            commit.cut(files)
            with contextlib.suppress(OSError):
                table.restore(before)
            if isinstance(e, OSError) and e.errno in FULL:
                raise DiskFull(f"{db.path}: the lookup table can't grow ({e}); nothing was written") from e
            raise
        if commit.erase:  # before the state is written: whoever comes after a crash here erases the rest
            erased = sum(erase(db, location) for location in commit.erase)
            self._note(state, commit)
            marks.add_garbage(db.path, erased)
        db.wrote(numbers)

    def _note(self, state: State, commit: Commit) -> None:
        db = self._db
        key_size = db.view.table.key_size
        db.state_file.write(State(state.generation, commit.end, commit.next_id, False, boot_id(), False, key_size))


def erase(db: OurDB, location: int) -> int:
    """Overwrite the record at a location, if one is there, with zeros; return how many."""
    data = db.read(location)[1]
    if not data:
        return 0
    db.files.overwrite(location >> 32, location & 0xFFFF_FFFF, bytes(HEADER + len(data)))
    return HEADER + len(data)
