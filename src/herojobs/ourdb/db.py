"""The database: what callers use (OurDB format C1)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from herojobs.ourdb import sync as syncing
from herojobs.ourdb.commit import Commit
from herojobs.ourdb.errors import (
    CorruptRecord,
    DatabaseClosed,
    DatabaseFull,
    ForeignTruncation,
    NotFound,
    OurDBError,
)
from herojobs.ourdb.files import DataFiles
from herojobs.ourdb.format import HEADER, KEY_SIZES, Header, fit, unpack_header
from herojobs.ourdb.lock import WriteLock
from herojobs.ourdb.state import State, StateFile, boot_id
from herojobs.ourdb.table import Table
from herojobs.ourdb.writer import Build, Writer

if TYPE_CHECKING:
    from herojobs.ourdb.check import Report

SyncPolicy = Literal["always", "interval", "never"]
Item = bytes | Callable[[int], bytes]
"""A new record: its data, or a function that makes it once the id is known."""

CHAINED = -1
"""Condition of `set_many`: the item before of the same id, in the same batch, was accepted."""

FIRST_READ = 1024
"""Bytes read at a record's place at first; most records are shorter, so that one read gets them."""


class Version(NamedTuple):
    """A record as `history` and `scan` give it.

    Attributes:
        id: its id; 0 = unknown.
        location: where it is: file number << 32 | position.
        previous: where the version before it is, 0 = it is the first one.
        data: what was stored; empty if it is damaged or deleted.
        ok: whether the data is what was stored.
        deleted: whether it is the mark of a deletion.
    """

    id: int
    location: int
    previous: int
    data: bytes
    ok: bool = True
    deleted: bool = False


class OurDB:
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
        self.lock_timeout = lock_timeout
        self.report = on_event or (lambda text: None)
        self._closed = False
        self._generation = 0
        self._writer = Writer(self)
        lookup = self.path / "lookup"
        lookup.mkdir(parents=True, exist_ok=True)
        self.lock = WriteLock(lookup / "lock")
        self.state_file = StateFile(lookup / "state")
        self.table = Table(lookup / "data", key_size, record_nr_max)
        self.files = DataFiles(self.path)
        state = self.state_file.read()
        if state is None or self._is_behind(state):
            with self.lock.held(lock_timeout), contextlib.suppress(ForeignTruncation):  # it can still be read
                self._finish_compaction()
                self.current_state()
        self._generation = (self.state_file.read() or _EMPTY).generation

    # writing

    def add(self, data: Item, *, lock_timeout: float | None = None) -> int:
        """Store a new record and return its id. See `add_many`."""
        return self.add_many([data], lock_timeout=lock_timeout)[0]

    def add_many(self, items: Sequence[Item], *, lock_timeout: float | None = None) -> list[int]:
        """Store new records in one commit and return their ids.

        Args:
            items: the data of each, or a function that makes it once its id is reserved.
            lock_timeout: seconds to wait for another writer, 0 = one try; default that of the database.

        Raises:
            RecordTooLarge, DatabaseFull, DiskFull, DatabaseLocked: nothing was written.
            ValueError: a record is empty, or the database takes its ids from the caller.
        """
        if not self.incremental:
            raise ValueError("this database takes ids from its callers: use set")

        def build(commit: Commit) -> list[int]:
            first = id = commit.next_id
            if first + len(items) > self.table.length:
                raise DatabaseFull(f"{self.path}: no id is left below {self.table.length}")
            entries, append = commit.entries, commit.append
            for item in items:
                data = item if isinstance(item, bytes) else item(id)
                if not data:
                    raise ValueError("a record must not be empty")
                entries[id] = append(data, 0)
                id += 1
            commit.next_id = id
            return list(range(first, id))

        ids: list[int] = self._commit(build, lock_timeout)
        return ids

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

        def build(commit: Commit) -> list[int | None]:
            located: list[int | None] = []
            accepted: dict[int, bool] = {}
            newest = dict(zip((item[0] for item in items), self.table.get_many(item[0] for item in items), strict=True))
            newest.update((id, commit.entries[id]) for id in newest.keys() & commit.entries.keys())
            for id, data, condition in items:
                if not data:
                    raise ValueError("a record must not be empty")
                previous = newest[id]
                fits = condition is None or (accepted.get(id, False) if condition == CHAINED else condition == previous)
                if not fits or (not previous and self.incremental):
                    accepted[id] = False
                    located.append(None)
                    continue
                newest[id] = commit.entries[id] = location = commit.append(data, previous)
                accepted[id] = True
                located.append(location)
            return located

        for id, _, _ in items:
            self._check_id(id)
        locations: list[int | None] = self._commit(build, lock_timeout)
        return locations

    def put_at(self, id: int, data: bytes, *, lock_timeout: float | None = None) -> int:
        """Store a new record under an id that was never used, and give later ids past it; return its location.

        Raises:
            ValueError: the id was used already.
            others as `add_many`.
        """
        self._check_id(id)

        def build(commit: Commit) -> int:
            if id < commit.next_id and (commit.locate(id) or self.incremental):
                raise ValueError(f"id {id} was used already; the next one is {commit.next_id}")
            commit.next_id = max(commit.next_id, id + 1)
            commit.entries[id] = location = commit.append(data, 0)
            return location

        location: int = self._commit(build, lock_timeout)
        return location

    def delete(self, id: int, *, lock_timeout: float | None = None) -> None:
        """Remove a record and all its versions, so that their bytes are gone from the files.

        Raises:
            NotFound: no record has the id.
            DiskFull, DatabaseLocked: it is still there.
        """
        from herojobs.ourdb import recovery

        self._check_id(id)
        with self.lock.held(self._timeout(lock_timeout)):
            self.use_generation()
            if not self.table.get(id):
                raise NotFound(id)
            chain = [version.location for version in self.chain(id, 1 << 30)]

            def bury(commit: Commit) -> None:
                commit.append(recovery.tombstone(id, chain), chain[0])
                commit.entries[id] = 0

            self._commit(bury, lock_timeout)
            for location in chain:
                self._erase(location)

    # reading

    def get(self, id: int) -> bytes:
        """Return a record's newest version.

        Raises:
            NotFound: no record has the id.
            CorruptRecord: its bytes aren't what was written.
        """
        return self.tip(id)[1]

    def get_many(self, ids: Sequence[int]) -> list[bytes | None]:
        """Return the newest versions of records, in order; None for ids that no record has.

        Raises:
            CorruptRecord: one's bytes aren't what was written.
        """
        return [tip and tip[1] for tip in self.tips(ids)]

    def tip(self, id: int) -> tuple[int, bytes]:
        """Return the location and the data of a record's newest version. Raises as `get`."""
        (tip,) = self.tips([id])
        if tip is None:
            raise NotFound(id)
        return tip

    def tips(self, ids: Sequence[int]) -> list[tuple[int, bytes] | None]:
        """Return location and data of the newest version of each record, None for ids that no record has.

        Raises:
            CorruptRecord: one's bytes aren't what was written.
        """
        self.use_generation()
        length = self.table.length
        found: list[tuple[int, bytes] | None] = []
        for id, location in zip(ids, self.table.get_many([id if 0 <= id < length else 0 for id in ids]), strict=True):
            if not location or not 0 <= id < length:
                found.append(None)
                continue
            data = self.read(location)[1]
            found.append((location, data) if data else self._read_again(id))
        return found

    def locate(self, id: int) -> int:
        """Return where a record's newest version is. Raises NotFound."""
        self._check_id(id)
        self.use_generation()
        location = self.table.get(id)
        if not location:
            raise NotFound(id)
        return location

    def history(self, id: int, depth: int = 255) -> list[Version]:
        """Return up to `depth` versions of a record, the newest first; a damaged one has `ok` False.

        Raises:
            NotFound: no record has the id.
        """
        self.locate(id)
        return list(self.chain(id, depth))

    @property
    def next_id(self) -> int:
        """The id that the next new record gets, in incremental mode."""
        self._check_open()
        state = self.state_file.read()
        return state.next_id if state else 1

    def scan(self, since: int = 0) -> Iterator[Version]:
        """Yield every whole record from a location on, in the order of the files; deletions as `deleted`.

        To go on later, call it with `after(version)` of the last one, if `generation` is still the same.

        Args:
            since: where to begin: 0 = at the beginning.
        """
        from herojobs.ourdb import recovery

        self.use_generation()
        for record in recovery.records(self, since):
            deleted = recovery.deleted_id(record.data) if record.previous else 0
            id = deleted or (self.id_of(record.data) if self.id_of else 0)
            yield Version(id, record.location, record.previous, record.data, True, bool(deleted))

    @property
    def doubtful(self) -> frozenset[int]:
        """Ids that another program wrote, or may have deleted: nobody should act on them unasked."""
        from herojobs.ourdb import recovery

        return frozenset([*recovery.foreign_ids(self), *recovery.uncertain(self)])

    @property
    def generation(self) -> int:
        """Counts compactions: a location, or a position of `scan`, means nothing in another generation."""
        self.use_generation()
        return self._generation

    def read(self, location: int) -> tuple[Header, bytes]:
        """Return the header at a location and the data, empty if it isn't whole; for the package's own use."""
        file, position = location >> 32, location & 0xFFFF_FFFF
        raw = self.files.read(file, position, FIRST_READ)
        if len(raw) < HEADER:
            return Header(0, 0, 0), b""
        header = unpack_header(raw)
        if len(raw) - HEADER < header.size:
            raw = self.files.read(file, position, HEADER + header.size)
        length = fit(raw, header, HEADER, header.size)
        if length < 0:  # longer than 65,535 bytes, or damaged
            raw = self.files.read(file, position, HEADER + self.max_record)
            length = fit(raw, header, HEADER)
        return header, raw[HEADER : HEADER + length] if length > 0 else b""

    # looking after

    def check(self, *, repair: bool = False) -> Report:
        """Read every record and report what is wrong.

        Args:
            repair: make the lookup table anew from the data files first. This is also what ends the read-only state
                after another program has cut a data file.

        Raises:
            DatabaseLocked: another writer held the lock for `lock_timeout`.
        """
        from herojobs.ourdb import check

        self._check_open()
        with self.lock.held(self.lock_timeout):
            if not repair:
                with contextlib.suppress(ForeignTruncation):  # told fault by fault
                    self.current_state()
            self.use_generation()
            return check.check(self, repair=repair)

    def compact(self, *, keep: int | None = None) -> None:
        """Rewrite the data files without what was deleted.

        Args:
            keep: newest versions of each record to keep; None = all.

        Raises:
            DatabaseLocked: another writer held the lock for `lock_timeout`.
            ForeignTruncation: repair it first.
        """
        from herojobs.ourdb import compact, dump

        if keep is not None and keep < 1:
            raise ValueError(f"keep {keep}: at least 1")
        self._check_open()
        with self.lock.held(self.lock_timeout):
            self.current_state()
            self.use_generation()
            compact.compact(self, keep)
            self.use_generation()
            if self.dump:
                dump.export(self)

    def export_dump(self) -> Path:
        """Write the dump that other programs start from; return its folder.

        Raises:
            DatabaseLocked: another writer held the lock for `lock_timeout`.
        """
        from herojobs.ourdb import dump

        self._check_open()
        with self.lock.held(self.lock_timeout):
            self.current_state()
            self.use_generation()
            return dump.export(self)

    # closing

    def flush(self) -> None:
        """Have the disk hold everything that this object has written."""
        numbers, self._writer.unsynced = self._writer.unsynced, set()
        for number in numbers:
            with contextlib.suppress(OSError, OurDBError):  # closed meanwhile, or removed by a compaction
                self.files.sync(number)

    def close(self) -> None:
        """Flush and close. Closing again does nothing."""
        if self._closed:
            return
        syncing.syncer.forget(id(self))
        if self.sync != "never":
            self.flush()
        if self._writer.wrote:
            self._leave_clean()
        self._closed = True
        self.files.close()
        self.table.close()
        self.state_file.close()
        self.lock.close()

    def _leave_clean(self) -> None:
        """Note that everything is on the disk, and renew the dump; a full disk or another writer is no error here."""
        from herojobs.ourdb import dump

        with contextlib.suppress(OSError, OurDBError), self.lock.held(0):
            state = self.current_state()
            if self.sync != "never":
                self.files.sync(state.end >> 32)
                self.table.sync()
                self.state_file.write(state._replace(clean=True))
                self.state_file.sync()
            if self.dump and dump.is_due(self):
                dump.export(self)

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
        from herojobs.ourdb import recovery

        state = self.state_file.read()
        if state is None or (state.boot != boot_id() and not state.clean):
            return recovery.rebuild(self)
        file, position = state.end >> 32, state.end & 0xFFFF_FFFF
        size = self.files.size(file)
        if size == position and not self.files.path(file + 1).exists():
            return state
        if size < position:
            raise ForeignTruncation(f"{self.files.path(file)} has {size} bytes and had {position}; repair it")
        return recovery.replay(self, state)

    def _finish_compaction(self) -> None:
        """Finish what a process that died has left, under the lock, and open the files that count then."""
        if (self.path / "compact").exists():
            from herojobs.ourdb import compact

            compact.finish(self)
            self._reopen()

    def _reopen(self) -> None:
        key_size, length = self.table.key_size, self.table.length
        self.files.close()
        self.table.close()
        self.table = Table(self.path / "lookup" / "data", key_size, length)

    def _is_behind(self, state: State) -> bool:
        file, position = state.end >> 32, state.end & 0xFFFF_FFFF
        same_boot = state.boot == boot_id() or state.clean
        compacting = (self.path / "compact").exists()
        return compacting or not same_boot or self.files.size(file) != position or self.files.path(file + 1).exists()

    def _commit(self, build: Build, lock_timeout: float | None) -> Any:
        self._check_open()
        return self._writer.commit(build, self._timeout(lock_timeout))

    def chain(self, id: int, depth: int) -> Iterator[Version]:
        """Yield a record's versions, the newest first, none if it has none; for the package's own use."""
        location = self.table.get(id)
        seen: set[int] = set()
        while location and len(seen) < depth and location not in seen:
            seen.add(location)
            header, data = self.read(location)
            if not data and header == Header(0, 0, 0):
                return  # erased, or no header at all: nothing tells where it goes on
            yield Version(id, location, header.previous, data, bool(data))
            following = header.previous
            if following >> 32 == location >> 32 and following >= location:
                return  # within a file the version before lies before
            location = following

    def _erase(self, location: int) -> None:
        data = self.read(location)[1]
        if data:
            self.files.overwrite(location >> 32, location & 0xFFFF_FFFF, bytes(HEADER + len(data)))

    def _read_again(self, id: int) -> tuple[int, bytes] | None:
        """Read a record whose bytes didn't fit: its entry may have been caught half-written."""
        for attempt in range(4):
            with self.lock.held(self.lock_timeout) if attempt == 3 else contextlib.nullcontext():
                self.use_generation()
                location = self.table.get(id)
                if not location:
                    return None
                header, data = self.read(location)
                if data:
                    return location, data
        file, position = location >> 32, location & 0xFFFF_FFFF
        if header == Header(0, 0, 0) and self.files.size(file) >= position + HEADER:
            return None  # erased by another program
        raise CorruptRecord(id, file, position, "its data doesn't fit its CRC, or the file ends inside it")

    def use_generation(self) -> None:
        """After another process has compacted, open the new files."""
        self._check_open()
        state = self.state_file.read()
        if state is not None and state.generation != self._generation:
            with self.lock.held(self.lock_timeout):  # until the compaction is over
                self._finish_compaction()
                state = self.state_file.read() or state
                self._reopen()
                self._generation = state.generation

    def _check_id(self, id: int) -> None:
        if not 0 <= id < self.table.length or (self.incremental and id == 0):
            raise NotFound(id)

    def _check_open(self) -> None:
        if self._closed:
            raise DatabaseClosed(f"{self.path} was closed")

    def _timeout(self, lock_timeout: float | None) -> float:
        return self.lock_timeout if lock_timeout is None else lock_timeout


def after(version: Version) -> int:
    """Return the location behind a version, for `OurDB.scan`."""
    return version.location + HEADER + len(version.data)


_EMPTY = State(0, 0, 1, True, b"")
