"""Finding the records in a data file, whatever lies between them (OurDB format C4)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from zlib import crc32

from herojobs.ourdb.files import DataFiles
from herojobs.ourdb.format import HEADER, Header, fit, header_fields, unpack_header, unpack_location

CHUNK = 1 << 20

MAX_TOLD = 10_000
"""Places that a mark of a deletion tells at most; older versions are found by their chain."""

_TOMBSTONE = re.compile(rb'\{"jobid":(\d{1,10}),"deleted":true(?:,"at":\[([\d,]*)\])?\}')
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


class Deletion(NamedTuple):
    """What a mark of a deletion tells: the id, and where its versions were, the newest first."""

    id: int
    places: list[int]


def tombstone(id: int, places: Sequence[int]) -> bytes:
    """Return the record that marks a deletion, with the places of the versions that are erased after it."""
    return b'{"jobid":%d,"deleted":true,"at":[%s]}' % (id, ",".join(map(str, places[:MAX_TOLD])).encode())


def deletion(record: Record) -> Deletion | None:
    """Return what a record tells if it marks a deletion, None for any other record."""
    if not record.previous or not record.data.startswith(b'{"jobid":'):
        return None
    match = _TOMBSTONE.fullmatch(record.data)
    if match is None:
        return None
    places = [int(word) for word in (match[2] or b"").split(b",") if word]
    if places and places[0] != record.previous:
        return None  # somebody's value that only looks like one
    return Deletion(int(match[1]), places or [record.previous])


def records(files: DataFiles, numbers: Sequence[int], max_record: int, since: int = 0) -> Iterator[Record]:
    """Yield all whole records from a location on, in the order of the files."""
    for number in numbers:
        if number < since >> 32:
            continue
        start = since & 0xFFFF_FFFF if number == since >> 32 else 0
        for found in walk(files, number, max(start, 1), max_record):
            if isinstance(found, Record):
                yield found


def walk(
    files: DataFiles, number: int, position: int, max_record: int, erased: list[tuple[int, int]] | None = None
) -> Iterator[Record | Gap]:
    """Yield the records of one file from a position on, and the gaps between them.

    Erased records are passed over; where they were, start and end, is added to `erased`.
    """
    window = _Window(files, number, position, max_record)
    while True:
        yield from window.whole()
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

    def __init__(self, files: DataFiles, number: int, position: int, max_record: int) -> None:
        self._files = files
        self._max_record = max_record
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

    def whole(self) -> Iterator[Record]:
        """Yield the records that start here, up to the first that isn't plainly one in the buffer."""
        buffer = self._buffer
        base = self._number << 32 | self._start
        at, last = self._at, len(buffer) - HEADER
        while at <= last:
            size, crc, previous = header_fields(buffer, at)
            start = at + HEADER
            data = buffer[start : start + size]
            if not data or len(data) != size or crc32(data) != crc:
                return
            self._at = start + size
            yield Record(base + at, unpack_location(previous), data)
            at = self._at

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
