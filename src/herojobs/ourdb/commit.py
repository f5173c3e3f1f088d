"""One commit: records collected in memory, then one write, then the table, then the state (OurDB format C3)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from herojobs.ourdb.errors import DatabaseFull, RecordTooLarge
from herojobs.ourdb.files import DataFiles
from herojobs.ourdb.format import HEADER, MAX_FILES, pack_header, pack_headers
from herojobs.ourdb.table import Table


class Commit:
    """Records that are about to be written together.

    Attributes:
        next_id: the id that the next new record gets.
        entries: what the table will hold, by id.
        links: for its new versions of records, where the version before is.
        erase: versions to erase once the table is written, deletions being in this commit.
        begins_files: whether a new data file is begun.
    """

    __slots__ = (
        "_chunks",
        "_file",
        "_file_size",
        "_key_size",
        "_max_record",
        "_position",
        "_segments",
        "_table",
        "begins_files",
        "entries",
        "erase",
        "links",
        "next_id",
    )

    def __init__(self, table: Table, end: int, next_id: int, file_size: int, max_record: int) -> None:
        self.next_id = next_id
        self.entries: dict[int, int] = {}
        self.links: dict[int, int] = {}
        self.erase: list[int] = []
        self.begins_files = False
        self._table = table
        self._key_size = table.key_size
        self._file_size = file_size
        self._max_record = max_record
        self._file, self._position = end >> 32, end & 0xFFFF_FFFF
        self._chunks: list[bytes] = []
        self._segments: list[tuple[int, int, list[bytes]]] = [(self._file, self._position, self._chunks)]
        if self._position == 0 or self._position >= file_size:
            self._roll()

    @property
    def end(self) -> int:
        """The location after the last record."""
        return self._file << 32 | self._position

    def locate(self, id: int) -> int:
        """Return where an id's newest version is, this commit's records included; 0 = nowhere."""
        location = self.entries.get(id)
        return self._table.get(id) if location is None else location

    def locate_many(self, ids: Sequence[int]) -> list[int]:
        """Return the same of many ids."""
        located = self._table.get_many(ids)
        if self.entries and not self.entries.keys().isdisjoint(ids):
            located = [self.entries.get(id, at) for id, at in zip(ids, located, strict=True)]
        return located

    def append(self, data: bytes, previous: int) -> int:
        """Add a record and return its location; the caller sets `entries`.

        Raises:
            RecordTooLarge: it is over the limit.
            DatabaseFull: no place is left that a location of this key size can name.
        """
        size = len(data)
        if size > self._max_record:
            raise RecordTooLarge(size, self._max_record)
        if self._position >= self._file_size:
            self._roll()
        location = self._file << 32 | self._position
        if self._key_size != 6:
            self._check_key(location)
        if previous:
            self.links[location] = previous
        self._chunks.append(pack_header(data, previous))
        self._chunks.append(data)
        self._position += HEADER + size
        return location

    def extend(self, data: Sequence[bytes], previous: Sequence[int] | None = None) -> list[int]:
        """Add many records and return their locations; the caller sets `entries`. What can be is done for all at once.

        Args:
            data: the records.
            previous: of each, where the version before it is; None = all are first versions.

        Raises:
            ValueError: one is empty.
            RecordTooLarge, DatabaseFull: as `append`.
        """
        if not data:
            return []
        sizes = list(map(len, data))
        if not min(sizes):
            raise ValueError("a record must not be empty")
        if max(sizes) > self._max_record:
            raise RecordTooLarge(next(size for size in sizes if size > self._max_record), self._max_record)
        headers = pack_headers(data, sizes, previous)
        located: list[int] = []
        start = 0
        while start < len(data):
            if self._position >= self._file_size:
                self._roll()
            steps = map(HEADER.__add__, sizes[start:] if start else sizes)
            base = self._file << 32
            places = list(accumulate(steps, initial=base | self._position))
            count = len(places) - 1
            if places[count - 1] - base >= self._file_size:
                count = max(1, bisect_left(places, base + self._file_size))
            if self._key_size != 6:
                self._check_key(places[count - 1])
            self._position = places[count] - base
            chunks: list[bytes] = [b""] * (2 * count)
            chunks[0::2] = headers[start : start + count]
            chunks[1::2] = data[start : start + count]
            self._chunks += chunks
            del places[count:]
            located += places
            start += count
        if previous is not None:
            self.links.update(zip(located, previous, strict=True))
        return located

    def mark(self) -> tuple[int, int, int, int, int, int]:
        """Return where the commit stands, for `back_to`."""
        return len(self._segments), len(self._chunks), len(self.erase), self._file, self._position, self.next_id

    def back_to(self, mark: tuple[int, int, int, int, int, int], entries: dict[int, int]) -> None:
        """Forget what was added since `mark`; `entries` is a copy of what they were."""
        segments, chunks, erase, self._file, self._position, self.next_id = mark
        del self.erase[erase:]
        del self._segments[segments:]
        self.begins_files = segments > 1
        self._chunks = self._segments[-1][2]
        del self._chunks[chunks:]
        self.entries = entries
        self.links = {location: previous for location, previous in self.links.items() if location < self.end}

    def write(self, files: DataFiles) -> list[int]:
        """Write the records; all of them, or none. Return the numbers of the files that were written."""
        written: list[tuple[int, int]] = []
        try:
            for number, position, chunks in self._segments:
                if chunks:
                    data = b"".join(chunks)
                    files.append(number, position, data if position else b"\0" + data)
                    written.append((number, position))
        except BaseException:
            for number, position in written:
                files.cut(number, position)
            raise
        return [number for number, _ in written]

    def cut(self, files: DataFiles) -> None:
        """Take back what `write` has written."""
        for number, position, chunks in self._segments:
            if chunks:
                files.cut(number, position)

    def _check_key(self, location: int) -> None:
        if location >> (8 * self._key_size):
            place = location & 0xFFFF_FFFF
            raise DatabaseFull(f"position {place} can't be named by a key of {self._key_size} bytes")

    def _roll(self) -> None:
        """Go on to the next file where the present one is full, and step over a new file's byte 0."""
        if self._position >= self._file_size:
            if self._file + 1 >= MAX_FILES:
                raise DatabaseFull(f"{MAX_FILES} data files are full")
            self._file, self._position = self._file + 1, 0
            self._chunks = []
            self._segments.append((self._file, 0, self._chunks))
            self.begins_files = True
        if self._position == 0:
            self._position = 1
