"""Reading a database: no lock, one look at the table and one at the file (OurDB format C3, C4)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from herojobs.ourdb import marks, walk
from herojobs.ourdb.errors import CorruptRecord, DatabaseClosed, NotFound
from herojobs.ourdb.files import DataFiles
from herojobs.ourdb.format import HEADER, Header, fit, size_and_crc, unpack_header
from herojobs.ourdb.lock import WriteLock
from herojobs.ourdb.state import EMPTY, StateFile
from herojobs.ourdb.table import Table

FIRST_READ = 1024
"""Bytes read at a record's place at first; most records are shorter, so that one read gets them."""

NEAR = 8_192
"""Bytes from one record to the next up to which both are read at once, with what lies between."""
RUN = 1 << 20
"""Bytes that are read at once at most."""

UNFIT = "its data doesn't fit its CRC, or the file ends inside it"


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


class View(NamedTuple):
    """A table and the data files that its locations mean, of one generation. Threads use one as a whole."""

    generation: int
    table: Table
    files: DataFiles


class Reader:
    """The half of a database that reads; `OurDB` is the whole one."""

    path: Path
    incremental: bool
    max_record: int
    id_of: Callable[[bytes], int] | None
    report: Callable[[str], None]
    state_file: StateFile
    view: View
    lock: WriteLock
    lock_timeout: float
    _closed: bool

    @property
    def table(self) -> Table:
        """The lookup table of the present generation."""
        return self.view.table

    @property
    def files(self) -> DataFiles:
        """The data files of the present generation."""
        return self.view.files

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
        view = self.current_view()
        table = view.table
        location = table.get(id) if 0 <= id < table.length else 0
        if not location:
            raise NotFound(id)
        data = read(view.files, location, self.max_record)[1]
        if data and table.get(id) == location and self._is_current(view):
            return location, data
        (tip,) = self.tips((id,))
        if tip is None:
            raise NotFound(id)
        return tip

    def tips(self, ids: Sequence[int]) -> list[tuple[int, bytes] | None]:
        """Return location and data of the newest version of each record, None for ids that no record has.

        Raises:
            CorruptRecord: one's bytes aren't what was written.
        """
        if not ids:
            return []
        view = self.current_view()
        table, files = view.table, view.files
        length = table.length
        if min(ids) < 0 or max(ids) >= length:
            known = iter(self.tips([id for id in ids if 0 <= id < length]))
            return [next(known) if 0 <= id < length else None for id in ids]
        entries = table.get_many(ids)
        found: list[tuple[int, bytes] | None] = [None] * len(ids)
        missed = []
        place, end = 0, len(ids)
        while place < end:  # a run of neighbours in a file is one read
            first = last = entries[place]
            following = place + 1
            if not first:
                place = following
                continue
            while following < end and 0 < entries[following] - last <= NEAR and last - first < RUN:
                last = entries[following]
                following += 1
            raw = files.read(first >> 32, first & 0xFFFF_FFFF, last - first + FIRST_READ)
            room = len(raw) - HEADER
            for nth in range(place, following):
                location = entries[nth]
                at = location - first
                if at <= room:
                    size, crc = size_and_crc(raw, at)
                    at += HEADER
                    data = raw[at : at + size]
                    if len(data) == size and crc32(data) == crc and data:
                        found[nth] = location, data
                        continue
                data = read(files, location, self.max_record)[1]
                if data:
                    found[nth] = location, data
                else:
                    missed.append(nth)
            place = following
        # A changed entry may have been caught half-written, and lead to another id's record.
        again = table.get_many(ids)
        if again != entries:
            missed += [nth for nth in range(end) if again[nth] != entries[nth]]
        for nth in missed:
            found[nth] = self._read_again(ids[nth])
        return found if self._is_current(view) else self.tips(ids)

    def locate(self, id: int) -> int:
        """Return where a record's newest version is. Raises NotFound."""
        table = self.current_view().table
        location = table.get(id) if 0 <= id < table.length else 0
        if not location:
            raise NotFound(id)
        return location

    def history(self, id: int, depth: int = 255) -> list[Version]:
        """Return up to `depth` versions of a record, the newest first; a damaged one has `ok` False.

        Raises:
            NotFound: no record has the id.
        """
        while True:
            self.locate(id)
            view = self.view
            versions = list(self.chain(id, depth, view))
            if self.current_view() is view:
                return versions

    @property
    def next_id(self) -> int:
        """The id that the next new record gets, in incremental mode."""
        self.check_open()
        return (self.state_file.read() or EMPTY).next_id

    def scan(self, since: int = 0) -> Iterator[Version]:
        """Yield every whole record from a location on, in the order of the files; deletions as `deleted`.

        To go on later, call it with `after(version)` of the last one, if `generation` is still the same. A compaction
        meanwhile doesn't disturb it: it goes on with the files that it began with.

        Args:
            since: where to begin: 0 = at the beginning.
        """
        while True:
            view = self.current_view()
            numbers = view.files.open_all()
            if self.current_view() is view:
                break
        state = self.state_file.read()
        end = state.end if state is not None and state.generation == view.generation else 1 << 48
        for record in walk.records(view.files, numbers, self.max_record, since):
            if record.location >= end:  # not acknowledged yet, and perhaps taken back: who goes on would be past others
                return
            deleted = walk.deletion(record)
            id = deleted.id if deleted else self.id_of(record.data) if self.id_of else 0
            yield Version(id, record.location, record.previous, record.data, True, deleted is not None)

    @property
    def foreign_ids(self) -> frozenset[int]:
        """Ids of records that another program wrote, or that had to be guessed when the table was made anew."""
        return frozenset(marks.read(self.path, marks.FOREIGN))

    @property
    def uncertain_ids(self) -> frozenset[int]:
        """Ids that another program may have deleted: the last time the table was made anew couldn't tell."""
        return frozenset(marks.read(self.path, marks.UNCERTAIN))

    @property
    def doubtful(self) -> frozenset[int]:
        """Foreign and uncertain ids: nobody should act on them unasked. `confirm` ends that."""
        return self.foreign_ids | self.uncertain_ids

    @property
    def generation(self) -> int:
        """Counts compactions and repairs: a location, or a place of `scan`, means nothing in another generation."""
        return self.current_view().generation

    # inside

    def read(self, location: int) -> tuple[Header, bytes]:
        """Return the header at a location and the data, empty if it isn't whole; for the package's own use."""
        return read(self.view.files, location, self.max_record)

    def chain(self, id: int, depth: int, view: View | None = None) -> Iterator[Version]:
        """Yield a record's versions, the newest first, none if it has none; for the package's own use."""
        view = view or self.view
        return self.versions(id, view.table.get(id), depth, view)

    def versions(self, id: int, location: int, depth: int, view: View) -> Iterator[Version]:
        """Yield the version at a location and those before it; for the package's own use."""
        seen: set[int] = set()
        names = {0, id}
        while location and len(seen) < depth and location not in seen:
            header, data = read(view.files, location, self.max_record)
            if not data and header == Header(0, 0, 0):
                return  # erased, or no header at all: nothing tells where it goes on
            if data and self.id_of is not None:
                name = self.id_of(data)
                if not seen:
                    names.add(name)  # another program's records may carry another id than the one that they were given
                elif name not in names:
                    return  # another record's: the header that led here is damaged, for no CRC covers it
            seen.add(location)
            yield Version(id, location, header.previous, data, bool(data))
            following = header.previous
            if following >> 32 == location >> 32 and following >= location:
                return  # within a file the version before lies before
            location = following

    def _is_current(self, view: View) -> bool:
        """Return whether nobody has compacted since; else what was read may be from files of two generations."""
        state = self.state_file.read()
        return state is None or state.generation == view.generation

    def current_view(self) -> View:
        """Return the view of the present generation; after another process has compacted, open the new files."""
        state = self.state_file.read() if not self._closed else None
        if state is None or state.generation != self.view.generation:
            self.check_open()
            if state is not None:
                self._reopen()
        return self.view

    def check_open(self) -> None:
        """Raise DatabaseClosed if it was closed."""
        if self._closed:
            raise DatabaseClosed(f"{self.path} was closed")

    def _reopen(self) -> None:
        raise NotImplementedError

    def _read_again(self, id: int) -> tuple[int, bytes] | None:
        """Read a record whose bytes didn't fit: its entry may have been caught half-written."""
        for attempt in range(4):
            with self.lock.held(self.lock_timeout) if attempt == 3 else contextlib.nullcontext():
                view = self.current_view()
                location = view.table.get(id)
                if not location:
                    return None
                header, data = read(view.files, location, self.max_record)
                if data and view.table.get(id) == location:
                    return location, data
        file, position = location >> 32, location & 0xFFFF_FFFF
        size = view.files.size(file)
        if header == Header(0, 0, 0) and size >= position + HEADER:
            return None  # erased by another program
        if position + HEADER <= size < position + HEADER + header.size and header.previous:
            before = read(view.files, header.previous, self.max_record)[1]
            if before:  # torn: the file ends inside the record
                self.report(
                    f"{self.path}: record {id} at {file}.db:{position} is cut off; the version before it counts"
                )
                return header.previous, before
        raise CorruptRecord(id, file, position, UNFIT)


def read(files: DataFiles, location: int, max_record: int) -> tuple[Header, bytes]:
    """Return the header at a location and the data, empty if it isn't whole."""
    file, position = location >> 32, location & 0xFFFF_FFFF
    raw = files.read(file, position, FIRST_READ)
    if len(raw) < HEADER:
        return Header(0, 0, 0), b""
    header = unpack_header(raw)
    if len(raw) - HEADER < header.size:
        raw = files.read(file, position, HEADER + header.size)
    length = fit(raw, header, HEADER, header.size)
    if length < 0:  # longer than 65,535 bytes, or damaged
        raw = files.read(file, position, HEADER + max_record)
        length = fit(raw, header, HEADER)
    return header, raw[HEADER : HEADER + length] if length > 0 else b""
