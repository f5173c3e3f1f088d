"""The database: what callers use (OurDB format C1)."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, TypeVar

from herojobs.ourdb import checkpoint, marks, walk
from herojobs.ourdb import sync as syncing
from herojobs.ourdb.commit import Commit
from herojobs.ourdb.conditions import follow
from herojobs.ourdb.errors import (
    DatabaseFull,
    DatabaseLocked,
    DiskFull,
    ForeignTruncation,
    NotFound,
    OurDBError,
)
from herojobs.ourdb.files import FULL, DataFiles
from herojobs.ourdb.format import HEADER, KEY_SIZES
from herojobs.ourdb.lock import WriteLock
from herojobs.ourdb.reading import Reader, Version, View
from herojobs.ourdb.state import EMPTY, State, StateFile, boot_id
from herojobs.ourdb.table import Table
from herojobs.ourdb.writer import Writer

if TYPE_CHECKING:
    from herojobs.ourdb.check import Report

T = TypeVar("T")
SyncPolicy = Literal["always", "interval", "never"]
Item = bytes | Callable[[int], bytes]
"""A new record: its data, or a function that makes it once the id is known."""


class OurDB(Reader):
    """A database in a folder: records with an id, and all earlier versions of each.

    Any number of threads and processes may use one folder at the same time. What a call has acknowledged survives the
    death of any process; whether it survives a power cut is told by `sync`.

    Args:
        path: the folder; made if it isn't there.
        key_size: bytes of a lookup entry: 6 for new databases; 2, 3 or 4 to open small foreign ones.
        incremental: whether the database gives the ids, from 1; if not, callers choose any from 0.
        record_nr_max: number of entries of the lookup table; the highest id is one less.
        file_size: bytes after which a new data file is begun.
        sync: when records are flushed to the disk: `always` before a call returns, `interval` at most 100 ms later,
            `never` when the kernel likes.
        id_of: tells the id that a record's data carries, 0 if none; needed to rebuild a lost table surely.
        max_record: longest record in bytes.
        lock_timeout: seconds to wait for another writer.
        dump: whether to keep the dump that other programs read.
        on_event: told, in a line, what recovery did.

    Raises:
        OurDBError: the folder holds something else, or is damaged in a way that needs `check(repair=True)`.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        key_size: int = 6,
        incremental: bool = True,
        record_nr_max: int = 16_777_215,
        file_size: int = 268_435_456,
        sync: SyncPolicy = "interval",
        id_of: Callable[[bytes], int] | None = None,
        max_record: int = 16 * 1024 * 1024,
        lock_timeout: float = 30.0,
        dump: bool = True,
        on_event: Callable[[str], None] | None = None,
    ) -> None:
        if key_size not in KEY_SIZES:
            raise ValueError(f"key_size {key_size}: use 2, 3, 4 or 6")
        if not 1 <= file_size <= 0xFFFF_FFFF - max_record:
            raise ValueError(f"file_size {file_size}: use 1 to {0xFFFF_FFFF - max_record}")
        if not 1 < record_nr_max <= 0xFFFF_FFFF:
            raise ValueError(f"record_nr_max {record_nr_max}: use 2 to {0xFFFF_FFFF}")
        if sync not in ("always", "interval", "never"):
            raise ValueError(f"sync {sync!r}: use 'always', 'interval' or 'never'")
        self.path = Path(path)
        self.incremental = incremental
        self.file_size = file_size
        self.max_record = max_record
        self.id_of = id_of
        self.dump = dump
        self.sync: SyncPolicy = sync
        self.report = on_event or (lambda text: None)
        self.lock_timeout = lock_timeout
        self._closed = False
        self._wrote = False
        self._unsynced: set[int] = set()
        self._flushing = threading.Lock()
        self._checked = time.monotonic()
        self._writer = Writer(self)
        try:
            self._open(key_size, record_nr_max)
        except OSError as e:
            if e.errno in FULL:
                raise DiskFull(f"{self.path}: no room to open it ({e.strerror})") from e
            raise

    # writing

    def add(self, data: Item, *, lock_timeout: float | None = None) -> int:
        """Store a new record and return its id. See `add_many`."""
        if not self.incremental:
            raise ValueError("this database takes ids from its callers: use set")

        def build(commit: Commit) -> int:
            id = commit.next_id
            if id >= self.view.table.length:
                raise DatabaseFull(f"{self.path}: no id is left below {self.table.length}")
            made = data if isinstance(data, bytes) else data(id)
            if not made:
                raise ValueError("a record must not be empty")
            commit.entries[id] = commit.append(made, 0)
            commit.next_id = id + 1
            return id

        return self._commit(build, lock_timeout)

    def add_many(self, items: Sequence[Item], *, lock_timeout: float | None = None) -> list[int]:
        """Store new records in one commit and return their ids.

        Args:
            items: the data of each, or a function that makes it once its id is reserved.
            lock_timeout: seconds to wait for another writer, 0 = one try; default that of the database.

        Raises:
            RecordTooLarge, DatabaseFull, DiskFull, DatabaseLocked: nothing was written.
            ValueError: a record is empty, or the database takes its ids from the caller.
        """

        def make(ids: range) -> list[bytes]:
            return [item if isinstance(item, bytes) else item(id) for id, item in zip(ids, items, strict=True)]

        return list(self.add_made(len(items), make, lock_timeout=lock_timeout))

    def add_made(
        self, count: int, make: Callable[[range], Sequence[bytes]], *, lock_timeout: float | None = None
    ) -> range:
        """Store new records as `add_many` does, made at once when their ids are reserved; return the ids.

        Args:
            count: how many.
            make: given their ids, returns the data of each.
            lock_timeout: as `add_many`.
        """
        if not self.incremental:
            raise ValueError("this database takes ids from its callers: use set")

        def build(commit: Commit) -> range:
            ids = range(commit.next_id, commit.next_id + count)
            if ids.stop > self.view.table.length:
                raise DatabaseFull(f"{self.path}: no id is left below {self.table.length}")
            made = make(ids)
            if count == 1 and made[0]:
                commit.entries[ids.start] = commit.append(made[0], 0)
            else:
                commit.entries.update(zip(ids, commit.extend(made), strict=True))
            commit.next_id = ids.stop
            return ids

        return self._commit(build, lock_timeout)

    def set(self, id: int, data: bytes, *, lock_timeout: float | None = None) -> int:
        """Store a new version of a record and return its location.

        Raises:
            NotFound: in incremental mode, no record has the id.
            others as `add_many`.
        """
        (location,) = self.set_many([(id, data, None)], lock_timeout=lock_timeout)
        if location is None:
            raise NotFound(id)
        return location

    def set_many(
        self, items: Sequence[tuple[int, bytes, int | None]], *, lock_timeout: float | None = None
    ) -> list[int | None]:
        """Store new versions in one commit, each under a condition.

        Args:
            items: id, data, and the location that the id's newest version must have for the item to be accepted;
                None = any, `CHAINED` = the item before of the same id in this call was accepted.
            lock_timeout: as `add_many`.

        Returns:
            the new location of each; None where the condition failed or, in incremental mode, no record has the id.

        Raises:
            as `add_many`.
        """
        return self.set_made(lambda _: items, lock_timeout=lock_timeout)[1]

    def set_made(
        self, make: Callable[[int], Sequence[tuple[int, bytes, int | None]]], *, lock_timeout: float | None = None
    ) -> tuple[int, list[int | None]]:
        """Store new versions as `set_many` does, told when no other generation can begin any more.

        Args:
            make: given the generation, returns the items.
            lock_timeout: as `add_many`.

        Returns:
            the generation, and the new locations, which mean something in it.
        """

        def build(commit: Commit) -> tuple[int, list[int | None]]:
            generation = self.view.generation
            return generation, follow(self, commit, make(generation))

        return self._commit(build, lock_timeout)

    def put_at(self, id: int, data: bytes, *, lock_timeout: float | None = None) -> int:
        """Store a new record under an id that was never used, and give later ids past it; return its location.

        Raises:
            ValueError: the id was used already.
            others as `add_many`.
        """
        self.check_id(id)

        def build(commit: Commit) -> int:
            if commit.locate(id) or (self.incremental and id < commit.next_id):
                raise ValueError(f"id {id} was used already; the next one is {commit.next_id}")
            commit.next_id = max(commit.next_id, id + 1)
            commit.entries[id] = location = commit.append(data, 0)
            return location

        return self._commit(build, lock_timeout)

    def delete(self, id: int, *, lock_timeout: float | None = None) -> None:
        """Remove a record and all its versions, so that their bytes are gone from the files.

        Raises:
            NotFound: no record has the id.
            DiskFull, DatabaseLocked: it is still there.
        """
        if not self.delete_many([id], lock_timeout=lock_timeout):
            raise NotFound(id)

    def delete_many(
        self, ids: Iterable[int], *, after: Mapping[int, int] | None = None, lock_timeout: float | None = None
    ) -> list[int]:
        """Remove records as `delete` does, in one commit; return the ids that were there, and met their condition.

        Args:
            ids: which.
            after: for some of them the location that the newest version must have.
            lock_timeout: as `add_many`.

        Raises:
            DiskFull, DatabaseLocked: all of them are still there.
        """
        lowest = 1 if self.incremental else 0
        wanted = [id for id in dict.fromkeys(ids) if lowest <= id < self.table.length]

        def bury(commit: Commit) -> list[int]:
            deleted = []
            for id in wanted:
                location = tip = commit.locate(id)
                if not tip or (after and after.get(id, tip) != tip):
                    continue
                places = []
                while location in commit.links:  # written by another thread in this very commit
                    places.append(location)
                    location = commit.links[location]
                places += [version.location for version in self.versions(id, location, 1 << 30, self.view)]
                commit.append(walk.tombstone(id, places or [tip]), tip)
                commit.entries[id] = 0
                commit.erase += places
                deleted.append(id)
            return deleted

        return self._commit(bury, lock_timeout) if wanted else []

    # looking after

    def check(self, *, repair: bool = False) -> Report:
        """Read every record and report what is wrong. Others read and write meanwhile.

        Args:
            repair: make the lookup table anew from the data files first. This is also what ends the read-only state
                after another program has cut a data file.

        Raises:
            DatabaseLocked: another writer held the lock for `lock_timeout`.
        """
        from herojobs.ourdb import check

        self.check_open()
        return check.check(self, repair=repair)

    def confirm(self, ids: Iterable[int] | None = None) -> None:
        """Have doubtful ids be like any others, because an operator has looked at them.

        Args:
            ids: which; None = all.

        Raises:
            DatabaseLocked: another writer held the lock for `lock_timeout`.
        """
        self.check_open()
        chosen = None if ids is None else set(ids)
        with self.lock.held(self.lock_timeout):
            for name in (marks.FOREIGN, marks.UNCERTAIN):
                left = set() if chosen is None else set(marks.read(self.path, name)) - chosen
                marks.write(self.path, name, left)

    def compact(self, *, keep: int | None = None) -> None:
        """Rewrite the data files without what was deleted. Others read and write meanwhile.

        Args:
            keep: newest versions of each record to keep; None = all.

        Raises:
            DatabaseLocked: another writer held the lock for `lock_timeout`.
            ForeignTruncation: repair it first.
        """
        from herojobs.ourdb import compact, dump

        if keep is not None and keep < 1:
            raise ValueError(f"keep {keep}: at least 1")
        self.check_open()
        compact.compact(self, keep)
        if self.dump:
            dump.export(self)

    def compact_if_due(self, *, keep: int | None = None) -> bool:
        """Compact if more than half of the bytes, and at least 64 MiB, are what deletions have left.

        It goes by what was counted at each deletion, so that looking costs nothing. Arguments and errors as `compact`.

        Returns:
            whether it was done.
        """
        from herojobs.ourdb import compact

        if not compact.is_due(self.path):
            return False
        self.compact(keep=keep)
        return True

    def export_dump(self) -> Path:
        """Write the dump that other programs start from; return its folder.

        Raises:
            DatabaseLocked: another writer held the lock for `lock_timeout`.
        """
        from herojobs.ourdb import dump

        self.check_open()
        return dump.export(self)

    # closing

    def flush(self) -> None:
        """Have the disk hold everything that this object has written."""
        with self._flushing:
            if self._closed:
                return
            if self._unsynced:
                files = self.files
                for number in list(self._unsynced):
                    self._unsynced.discard(number)  # first: what is written from now on is noted after it
                    try:
                        files.sync(number)
                    except FileNotFoundError:  # removed by a compaction
                        continue
                    except OSError as e:
                        self.report(f"{files.path(number)}: not flushed: {e}")
            if time.monotonic() - self._checked > checkpoint.INTERVAL:
                self._checked = time.monotonic()
                with contextlib.suppress(OSError, OurDBError):
                    checkpoint.write(self)

    def close(self, *, settle: bool = True) -> None:
        """Flush and close. Closing again does nothing.

        Args:
            settle: also make a checkpoint and renew the dump, which waits for the disk several times. Without, less of
                a start after a power cut is spared, and other programs see an older dump.
        """
        if self._closed:
            return
        syncing.syncer.forget(id(self))
        if self.sync != "never":
            self.flush()
        if self._wrote and settle:
            self.settle()
        with self._flushing:
            self._closed = True
        self._release()

    def _release(self) -> None:
        self.files.close()
        self.table.close()
        self.state_file.close()
        self.lock.close()

    def settle(self) -> None:
        """Note that everything is on the disk, and renew the dump; a full disk or another writer is no error here."""
        from herojobs.ourdb import dump

        due = False
        with contextlib.suppress(OSError, OurDBError), self.lock.held(0):
            self.current_view()
            self.current_state()
            if self.sync != "never":
                checkpoint.write(self, clean=True)
            due = self.dump and dump.is_due(self)
        with contextlib.suppress(OSError, OurDBError):
            if due:
                dump.export(self, timeout=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # inside

    def current_state(self) -> State:
        """Return the state, after bringing the table up to date; to be called under the lock.

        Raises:
            ForeignTruncation: a data file is shorter than it was.
        """
        state = self.state_file.read()
        if (
            state is not None
            and self.view.files.size(state.end >> 32) == state.end & 0xFFFF_FFFF
            and not state.truncated
            and not state.rolling
            and (state.clean or state.boot == boot_id())
        ):
            return state
        from herojobs.ourdb import recovery

        return recovery.catch_up(self, state)

    def wrote(self, numbers: Iterable[int]) -> None:
        """Note which data files were written to, so that they are flushed; for the package's own use."""
        self._wrote = True
        if self.sync == "never":
            return
        if self.sync == "interval":
            self._unsynced.update(numbers)
        syncing.syncer.note(id(self), self.flush)

    def _open(self, key_size: int, record_nr_max: int) -> None:
        lookup = self.path / "lookup"
        try:
            self.state_file = StateFile(lookup / "state")
        except FileNotFoundError:
            lookup.mkdir(parents=True, exist_ok=True)
            self.state_file = StateFile(lookup / "state")
        state = self.state_file.read() or EMPTY
        if state.key_size not in (0, key_size):
            self.state_file.close()
            raise OurDBError(f"{self.path} has a table with keys of {state.key_size} bytes: open it with that key_size")
        self.lock = WriteLock(lookup / "lock")
        # Between reading the state and opening the table, or the end of a compaction may be missed. Without its marker
        # one has changed nothing yet, or is over but for its folder; most likely somebody is at it.
        unsettled = compacting(self.path)
        early = unsettled and not (self.path / "compact" / "commit").exists()
        self.view = View(state.generation, Table(lookup / "data", key_size, record_nr_max), DataFiles(self.path))
        try:
            self._begin(state, unsettled, early)
        except BaseException:
            self._release()
            raise

    def _begin(self, state: State, unsettled: bool, early: bool) -> None:
        """Take in what happened while nobody had the database open; finish what a process left that died."""
        file, position = state.end >> 32, state.end & 0xFFFF_FFFF
        if (
            not unsettled
            and state is not EMPTY
            and (state.clean or state.boot == boot_id())
            and self.files.size(file) == position
            and not state.rolling
            and not self.files.exists(file + 1)
            and (not file or marks.as_sealed(self.path, file))
        ):
            return
        from herojobs.ourdb import compact, recovery

        early = early and state is not EMPTY
        timeout = 0.0 if early else self.lock_timeout
        try:
            with self.lock.held(timeout):
                if compacting(self.path):
                    compact.finish(self)
                self._open_view()
                with contextlib.suppress(ForeignTruncation):  # it can still be read
                    recovery.look_at_sealed(self)
                    self.current_state()
        except DatabaseLocked:
            if not early:
                raise

    @contextlib.contextmanager
    def settled(self, timeout: float | None = None) -> Iterator[None]:
        """Hold the lock, the table being up to date; for the package's own use."""
        self.check_open()
        with self.lock.held(self.lock_timeout if timeout is None else timeout):
            self.current_view()
            self.current_state()
            self.current_view()
            yield

    def _reopen(self) -> None:
        """Open the files of the generation that counts now, after another process has compacted or repaired."""
        if not compacting(self.path):  # then the files are in place already: a reader waits for nobody
            self._open_view()
            if (self.state_file.read() or EMPTY).generation == self.view.generation and not compacting(self.path):
                return
        with self.lock.held(self.lock_timeout):  # until it is over
            if compacting(self.path):
                from herojobs.ourdb import compact

                compact.finish(self)
            if (self.state_file.read() or EMPTY).generation != self.view.generation:
                self._open_view()

    def _open_view(self) -> None:
        """Open table and data files as they are now, under the lock; the old ones close by themselves."""
        old = self.view.table
        table = Table(self.path / "lookup" / "data", old.key_size, old.length)
        generation = (self.state_file.read() or EMPTY).generation
        self.view = View(generation, table, DataFiles(self.path))

    def _commit(self, build: Callable[[Commit], T], lock_timeout: float | None) -> T:
        return self._writer.commit(build, self.lock_timeout if lock_timeout is None else lock_timeout)

    def check_id(self, id: int) -> None:
        """Raise NotFound unless a record may have the id."""
        if not 0 <= id < self.table.length or (self.incremental and id == 0):
            raise NotFound(id)


def compacting(path: Path) -> bool:
    """Return whether a compaction is under way, or was when a process died."""
    return os.access(f"{path}/compact", os.F_OK)


def after(version: Version) -> int:
    """Return the location behind a version, for `OurDB.scan`."""
    return version.location + HEADER + len(version.data)
