"""Bringing the table up to date with the data files: after a crash, and where there is no table (OurDB format C4)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from herojobs.ourdb.format import HEADER, Header, fit, unpack_header
from herojobs.ourdb.state import State, boot_id

if TYPE_CHECKING:
    from herojobs.ourdb.db import OurDB

CHUNK = 1 << 20

_TOMBSTONE = re.compile(rb'\{"jobid":(\d+),"deleted":true\}')
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


def walk(db: OurDB, number: int, position: int) -> Iterator[Record | Gap]:
    """Yield the records of one file from a position on, and the gaps between them; deleted ones are passed over."""
    window = _Window(db, number, position)
    while True:
        if not window.need(HEADER):
            left = window.left()
            if left:
                yield Gap(window.location, window.location + left, True)
            return
        if window.raw(HEADER) == bytes(HEADER):
            if not window.skip_zeros():
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
    """Take in the records behind a state, which a writer left that died, or a foreign program wrote."""
    return _take_in(db, state, state.end)


def rebuild(db: OurDB) -> State:
    """Make the table anew from the data files alone."""
    db.table.clear()
    before = db.state_file.read()
    return _take_in(db, State(before.generation if before else 0, 0, 1, True, boot_id()), 0)


def _take_in(db: OurDB, state: State, since: int) -> State:
    numbers = db.files.numbers()
    next_id = state.next_id
    entries: dict[int, int] = {}
    reverse: dict[int, int] | None = None
    end = state.end or 0
    taken = 0
    for number in numbers:
        if number < since >> 32:
            continue
        start = max(since & 0xFFFF_FFFF if number == since >> 32 else 0, 1)
        for found in walk(db, number, start):
            if isinstance(found, Gap):
                _report_gap(db, found, number == numbers[-1])
                continue
            id = deleted_id(found.data) if found.previous else 0
            if id:
                entries[id] = 0
                continue
            id = db.id_of(found.data) if db.id_of else 0
            if not id:
                if reverse is None:
                    reverse = {location: each for each, location in db.table.items()}
                    reverse.update((location, each) for each, location in entries.items() if location)
                id = reverse.get(found.location) or reverse.get(found.previous, 0)
                if not id and not found.previous and db.incremental:
                    id = next_id
                reverse[found.location] = id
            if not id or id >= db.table.length:
                continue
            entries[id] = found.location
            next_id = max(next_id, id + 1)
            taken += 1
        end = number << 32 | db.files.size(number)
    db.table.put_many(dict(sorted(entries.items())))
    state = State(state.generation, end, next_id, False, boot_id())
    db.state_file.write(state)
    if taken:
        db.report(f"{db.path}: took in {taken} records")
    return state


def _report_gap(db: OurDB, gap: Gap, last_file: bool) -> None:
    number, position = gap.location >> 32, gap.location & 0xFFFF_FFFF
    if not (gap.at_end and last_file):
        db.report(f"{db.files.path(number)}: {gap.end - gap.location} bytes at {position} are no record")
        return
    torn = db.path / "lookup" / "torn"
    torn.mkdir(exist_ok=True)
    (torn / f"{number}-{position}").write_bytes(db.files.read(number, position, gap.end - gap.location))
    db.files.cut(number, position)
    db.report(
        f"{db.files.path(number)}: {gap.end - gap.location} bytes of a record cut off at {position}; kept in {torn}"
    )
