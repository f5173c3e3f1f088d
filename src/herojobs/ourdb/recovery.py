"""Bringing the table up to date with the data files: after a crash, and where there is no table (OurDB format C4)."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from herojobs.ourdb import dump
from herojobs.ourdb.format import HEADER, Header, fit, unpack_header
from herojobs.ourdb.state import State, boot_id

if TYPE_CHECKING:
    from herojobs.ourdb.db import OurDB

CHUNK = 1 << 20

_TOMBSTONE = re.compile(rb'\{"jobid":(\d+),"deleted":true(?:,"at":\[([\d,]*)\])?\}')
_NOT_ZERO = re.compile(rb"[^\0]")


class Record(NamedTuple):
    """A whole record as a scan finds it."""

    location: int
    previous: int
    data: bytes


class Gap(NamedTuple):
    """Bytes of a file that are no record: `end` is where the next one starts, or the file ends."""

    location: int
    end: int
    at_end: bool


def tombstone(id: int, locations: Sequence[int]) -> bytes:
    """Return the record that marks a deletion, with the places of the versions that are erased after it."""
    return b'{"jobid":%d,"deleted":true,"at":[%s]}' % (id, ",".join(map(str, locations)).encode())


def deleted_id(data: bytes) -> int:
    """Return the id whose deletion a record marks, 0 if it is no such mark."""
    match = _TOMBSTONE.fullmatch(data)
    return int(match[1]) if match else 0


def records(db: OurDB, since: int = 0) -> Iterator[Record]:
    """Yield all whole records from a location on, in the order of the files."""
    for number in db.files.numbers():
        if number < since >> 32:
            continue
        start = since & 0xFFFF_FFFF if number == since >> 32 else 0
        for found in walk(db, number, max(start, 1)):
            if isinstance(found, Record):
                yield found


def walk(db: OurDB, number: int, position: int, erased: list[tuple[int, int]] | None = None) -> Iterator[Record | Gap]:
    """Yield the records of one file from a position on, and the gaps between them.

    Erased records are passed over; where they were, start and end, is added to `erased`.
    """
    window = _Window(db, number, position)
    while True:
        if not window.need(HEADER):
            left = window.left()
            if left:
                yield Gap(window.location, window.location + left, True)
            return
        if window.raw(HEADER) == bytes(HEADER):
            start = window.location
            more = window.skip_zeros()
            if erased is not None:
                erased.append((start, window.location))
            if not more:
                return
            continue
        record = window.record()
        if record is not None:
            yield record
            continue
        start = window.location
        found = window.resync()
        yield Gap(start, window.location, not found)


class _Window:
    """A piece of a data file in memory that moves along."""

    def __init__(self, db: OurDB, number: int, position: int) -> None:
        self._files = db.files
        self._max_record = db.max_record
        self._number = number
        self._start = position
        self._buffer = b""
        self._at = 0

    @property
    def location(self) -> int:
        """Where in the database the window stands."""
        return self._number << 32 | (self._start + self._at)

    def left(self) -> int:
        """Return how many bytes of the buffer are left."""
        return len(self._buffer) - self._at

    def raw(self, length: int) -> bytes:
        """Return the next bytes."""
        return self._buffer[self._at : self._at + length]

    def need(self, length: int) -> bool:
        """Have the next `length` bytes in the buffer; False if the file ends before."""
        if len(self._buffer) - self._at >= length:
            return True
        self._start += self._at
        self._at = 0
        self._buffer = self._files.read(self._number, self._start, max(length, CHUNK))
        return len(self._buffer) >= length

    def record(self) -> Record | None:
        """Return the record that starts here and step over it; None if none does."""
        header = unpack_header(self._buffer, self._at)
        length = -1
        if self.need(HEADER + header.size):
            length = fit(self._buffer, header, self._at + HEADER, header.size)
        if length <= 0 and self._plausible(header):
            self.need(HEADER + self._max_record)
            length = fit(self._buffer, header, self._at + HEADER, self._max_record)
        if length <= 0:
            return None
        start = self._at + HEADER
        record = Record(self.location, header.previous, self._buffer[start : start + length])
        self._at = start + length
        return record

    def skip_zeros(self) -> bool:
        """Step over a run of zeros to where a record starts; False if the file ends in zeros."""
        while True:
            match = _NOT_ZERO.search(self._buffer, self._at)
            if match:
                break
            self._at = len(self._buffer)
            if not self.need(1):
                return False
        first = match.start()
        if first > self._at:
            self._at = first - 1  # the size's low byte may be zero
            before = self._start, self._at
            if self.need(HEADER) and self.record() is not None:
                self._seek(*before)
                return True
            self._seek(before[0], before[1] + 1)
        return True

    def resync(self) -> bool:
        """Step, byte by byte, to where the next whole record starts; False at the file's end."""
        while True:
            self._at += 1
            if not self.need(HEADER):
                self._at += self.left()
                return False
            if self.raw(HEADER) == bytes(HEADER):
                return True
            if not self._plausible(unpack_header(self._buffer, self._at)):
                continue
            before = self._start, self._at
            if self.record() is not None:
                self._seek(*before)
                return True
            self._seek(*before)

    def _seek(self, start: int, at: int) -> None:
        if start == self._start:
            self._at = at
        else:
            self._start, self._at, self._buffer = start + at, 0, b""

    def _plausible(self, header: Header) -> bool:
        """Return whether a header's previous location can be one: in this file before it, or in another that exists."""
        previous = header.previous
        if not previous:
            return True
        file, position = previous >> 32, previous & 0xFFFF_FFFF
        if file == self._number:
            return 0 < position < self._start + self._at
        return 0 < position < self._files.size(file)


def replay(db: OurDB, state: State) -> State:
    """Take in the records behind a state, which a writer left that died, or a foreign program wrote.

    Whose a record is: the id that it carries; else the id whose newest version it follows; else, in incremental mode,
    the next id. One without an id of its own in a database whose records carry theirs is a foreign program's.
    """
    entries: dict[int, int] = {}
    foreign: list[int] = []
    owners: dict[int, int] | None = None
    next_id, end = state.next_id, state.end
    for number, found in _behind(db, state.end):
        end = number << 32 | db.files.size(number)
        if found is None:
            continue
        id = deleted_id(found.data) if found.previous else 0
        if id:
            entries[id] = 0
            continue
        id = db.id_of(found.data) if db.id_of else 0
        if not id:
            if owners is None:
                owners = {location: each for each, location in db.table.items()}
            id = owners.get(found.location) or owners.get(found.previous, 0)
            if not id and not found.previous and db.incremental:
                id = next_id
                foreign.append(id)
            owners[found.location] = id
        if 0 < id < db.table.length or (id == 0 and not db.incremental and found.previous):
            entries[id] = found.location
            next_id = max(next_id, id + 1)
    return _settle(db, State(state.generation, end, next_id, False, boot_id()), entries, foreign if db.id_of else [])


def rebuild(db: OurDB) -> State:
    """Make the table anew from the data files alone; from the dump too where records don't carry their ids."""
    before = db.state_file.read()
    generation = before.generation if before else 0
    db.table.clear()
    started = None if db.id_of else dump.load(db.path, db.table.key_size)
    if started is not None:
        entries, next_id = started
        whole = {id: location for id, location in entries.items() if id < db.table.length and db.read(location)[1]}
        db.table.put_many(dict(sorted(whole.items())))
        last = max(whole.values(), default=0)
        end = last and last + HEADER + len(db.read(last)[1])
        return replay(db, State(generation, end, next_id, False, boot_id()))
    scan = _Scan()
    end = 0
    for number, found in _behind(db, 0, scan.erased):
        end = number << 32 | db.files.size(number)
        if found is not None:
            scan.add(found, db)
    entries, foreign = scan.entries(db)
    next_id = max(before.next_id if before else 1, scan.next_id, max(entries, default=0) + 1, _kept_next_id(db))
    state = _settle(db, State(generation, end, next_id, False, boot_id()), entries, foreign)
    _write_ids(db, "uncertain", scan.uncertain(entries))
    return state


class _Scan:
    """Everything that a scan of all data files has found."""

    def __init__(self) -> None:
        self.order: list[int] = []
        self.previous: dict[int, int] = {}
        self.ids: dict[int, int] = {}
        self.tombstones: dict[int, int] = {}
        self.explained: set[int] = set()
        self.erased: list[tuple[int, int]] = []
        self.next_id = 1

    def add(self, found: Record, db: OurDB) -> None:
        """Take in a record."""
        match = _TOMBSTONE.fullmatch(found.data) if found.previous else None
        if match:
            self.tombstones[found.location] = int(match[1])
            self.explained.add(found.previous)
            self.explained.update(int(word) for word in (match[2] or b"").split(b",") if word)
        else:
            self.previous[found.location] = found.previous
            self.ids[found.location] = db.id_of(found.data) if db.id_of else 0
        self.order.append(found.location)

    def entries(self, db: OurDB) -> tuple[dict[int, int], list[int]]:
        """Return where each id's newest version is, 0 for deleted ones, and the ids that were only guessed."""
        pointed = set(self.previous.values())
        entries: dict[int, int] = {}
        guessed: list[int] = []
        twice: list[int] = []
        known = set(self.ids.values()) | set(self.tombstones.values())
        rank = 0
        for location in self.order:  # in the order of the files: of two tips with one id the later one wins
            if location in self.tombstones:
                entries[self.tombstones[location]] = 0
                continue
            if not self.previous[location]:
                rank += 1
            if location in pointed:
                continue
            id = self._id_along(location)
            if not id and db.incremental:
                first = rank if not self.previous[location] else 0
                id = first if first not in known else 0
                if id:
                    guessed.append(id)
            if not 0 < id < db.table.length:
                continue
            if entries.get(id):
                twice.append(id)
            entries[id] = location
        if twice:
            shown = ", ".join(map(str, twice[:10])) + (" ..." if len(twice) > 10 else "")
            db.report(f"{db.path}: ids with two newest versions, of which the later one counts: {shown}")
        self.next_id = max(known | entries.keys(), default=0) + 1
        return entries, guessed

    def uncertain(self, entries: dict[int, int]) -> list[int]:
        """Return ids whose newest version lies before erased bytes that no deletion of ours explains (B10)."""
        unexplained = [start for start, end in self.erased if not any(start <= each < end for each in self.explained)]
        if not unexplained:
            return []
        last = max(unexplained)
        return sorted(id for id, location in entries.items() if 0 < location < last)

    def _id_along(self, location: int) -> int:
        """Return the newest id that a chain carries, 0 if none does."""
        seen = set()
        while location in self.previous and location not in seen:
            seen.add(location)
            if self.ids[location]:
                return self.ids[location]
            location = self.previous[location]
        return 0


def _behind(db: OurDB, since: int, erased: list[tuple[int, int]] | None = None) -> Iterator[tuple[int, Record | None]]:
    """Yield the number of each file from a location on with its records; report what is none, cut a torn tail."""
    numbers = db.files.numbers()
    for number in numbers:
        if number < since >> 32:
            continue
        start = max(since & 0xFFFF_FFFF if number == since >> 32 else 0, 1)
        for found in walk(db, number, start, erased):
            if isinstance(found, Gap):
                _report_gap(db, found, number == numbers[-1])
            else:
                yield number, found
        yield number, None


def _settle(db: OurDB, state: State, entries: dict[int, int], foreign: list[int]) -> State:
    db.table.put_many(dict(sorted(entries.items())))
    if foreign:
        _write_ids(db, "foreign", sorted({*foreign_ids(db), *foreign}))
    db.state_file.write(state)
    if entries:
        db.report(f"{db.path}: the lookup table took in {len(entries):,} ids from the data files")
    return state


def foreign_ids(db: OurDB) -> list[int]:
    """Return ids that another program's records were given."""
    return _read_ids(db, "foreign")


def uncertain(db: OurDB) -> list[int]:
    """Return ids that another program may have deleted: the last rebuild couldn't tell."""
    return _read_ids(db, "uncertain")


def _read_ids(db: OurDB, name: str) -> list[int]:
    try:
        return [int(word) for word in (db.path / "lookup" / name).read_text("ascii").split()]
    except (OSError, ValueError):
        return []


def _write_ids(db: OurDB, name: str, ids: Sequence[int]) -> None:
    path = db.path / "lookup" / name
    if ids:
        path.write_text("\n".join(map(str, ids)) + "\n", "ascii")
    else:
        path.unlink(missing_ok=True)


def _kept_next_id(db: OurDB) -> int:
    """Return the counter of a dump, which outlives a lost table: ids of deleted records aren't given again."""
    found = dump.load(db.path, db.table.key_size)
    return found[1] if found and db.incremental else 1


def _report_gap(db: OurDB, gap: Gap, last_file: bool) -> None:
    number, position = gap.location >> 32, gap.location & 0xFFFF_FFFF
    if not (gap.at_end and last_file):
        db.report(f"{db.files.path(number)}: {gap.end - gap.location} bytes at {position} are no record")
        return
    torn = db.path / "lookup" / "torn"
    torn.mkdir(exist_ok=True)
    with contextlib.suppress(OSError):  # the disk may be full: the tail goes all the same
        (torn / f"{number}-{position}").write_bytes(db.files.read(number, position, gap.end - gap.location))
    db.files.cut(number, position)
    db.report(
        f"{db.files.path(number)}: {gap.end - gap.location} bytes of a record cut off at {position}; kept in {torn}"
    )
