"""Group commit: who gets the lock writes everybody's records (OurDB format C3).

While a thread waits for another process's lock or for the disk, others queue up behind it, and the next commit is the
larger. One write for the data, then the flush that the policy asks for, then the table, then the state.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from herojobs.ourdb import marks
from herojobs.ourdb.commit import Commit
from herojobs.ourdb.errors import DatabaseLocked, DiskFull, OurDBError
from herojobs.ourdb.files import FULL
from herojobs.ourdb.format import HEADER
from herojobs.ourdb.state import State, boot_id

if TYPE_CHECKING:
    from herojobs.ourdb.db import OurDB

Build = Callable[[Commit], Any]


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

    def commit(self, build: Build, timeout: float) -> Any:
        """Have `build` add records to a commit, and write it; return what `build` returned.

        Raises:
            DatabaseLocked: somebody else held the lock for `timeout` seconds.
            others as `OurDB.add_many`. Nothing was written then.
        """
        db = self._db
        db.check_open()
        request = _Request(build)
        if timeout > 0:  # who doesn't wait for the lock doesn't wait for another thread's commit either
            self._requests.append(request)
        try:
            db.lock.acquire(timeout)
        except BaseException as e:
            with contextlib.suppress(ValueError):
                self._requests.remove(request)
                raise
            if timeout > 0:
                db.lock.settle()  # taken by the thread that writes now
            if not (request.done and isinstance(e, DatabaseLocked)):
                raise
        else:
            try:
                if not request.done:
                    requests = []
                    while self._requests:
                        requests.append(self._requests.popleft())
                    if request not in requests:
                        requests.append(request)
                    self._write(requests)
            finally:
                db.lock.release()
        if request.error is not None:
            raise request.error
        return request.result

    def _write(self, requests: list[_Request]) -> None:
        if self._writing:
            raise OurDBError(f"{self._db.path}: a function that makes a record must not write to its database")
        self._writing = True
        try:
            self._write_all(requests)
        except Exception as e:
            for request in requests:
                request.error = request.error or e
        except BaseException as e:
            for request in requests:
                request.error = request.error or DatabaseLocked(
                    f"{self._db.path}: the thread that wrote was interrupted"
                )
            raise e
        finally:
            self._writing = False
            for request in requests:
                request.done = True

    def _write_all(self, requests: list[_Request]) -> None:
        db = self._db
        db.current_view()
        state = db.current_state()
        _, table, files = db.view
        commit = Commit(table, state.end, state.next_id, file_size=db.file_size, max_record=db.max_record)
        if len(requests) == 1:
            requests[0].result = requests[0].build(commit)
        else:
            for request in requests:
                mark, entries = commit.mark(), dict(commit.entries)
                try:
                    request.result = request.build(commit)
                except Exception as e:
                    commit.back_to(mark, entries)
                    request.error = e
        numbers = commit.write(files)
        if not numbers:
            return
        before: dict[int, int] | None = None
        try:
            if db.sync == "always":
                for number in numbers:
                    files.sync(number)
            if commit.end >> 32 != state.end >> 32:
                marks.seal(db.path, files, range(state.end >> 32, commit.end >> 32))
            if state.clean:  # the disk must not hold newer entries beside a state that says that nothing is to be done
                db.state_file.write(state._replace(clean=False, boot=boot_id()))
                db.state_file.sync()
            if commit.links:
                before = dict(zip(commit.entries, table.get_many(list(commit.entries)), strict=True))
            else:
                before = dict.fromkeys(commit.entries, 0)
            table.put_many(commit.entries)
            if db.sync == "always" and not db.incremental and db.id_of is None:
                table.sync()  # nothing but the table tells which id a first version is of
            if not commit.erase:
                self._note(state, commit)
        except BaseException as e:
            commit.cut(files)
            if before is not None:
                with contextlib.suppress(OSError):
                    table.put_many(before)
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
