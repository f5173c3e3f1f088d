"""The new files of a compaction: every record as it is now, and what changes while they are written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from herojobs.ourdb.errors import CorruptRecord
from herojobs.ourdb.files import DataFiles
from herojobs.ourdb.format import HEADER, pack_header
from herojobs.ourdb.reading import UNFIT, Version, View, read
from herojobs.ourdb.table import Table, locations
from herojobs.ourdb.walk import tombstone

if TYPE_CHECKING:
    from herojobs.ourdb.db import OurDB

_BUFFER = 1 << 20


class Copy:
    """Data files and a table in a folder, which `take_changes` makes equal to a database's.

    Args:
        db: the database.
        view: its table and files, all opened.
        folder: an empty folder.
        keep: newest versions of each record to copy; None = all.
    """

    def __init__(self, db: OurDB, view: View, folder: Path, keep: int | None) -> None:
        self._db = db
        self._view = view
        self._folder = folder
        self._keep = keep or 1 << 30
        self._writer = _Writer(folder, db.file_size)
        self._table = Table(folder / "data", view.table.key_size, view.table.length)
        self._seen: dict[int, bytes] = {}  # the table's blocks as they were copied

    def take_changes(self, *, last: bool = False) -> int:
        """Copy what isn't as it was the last time; return the number of ids.

        Args:
            last: the caller holds the lock: nothing changes any more.

        Raises:
            CorruptRecord: a record's newest version is damaged.
        """
        size = self._table.key_size
        changes = 0
        for first, block in self._view.table.blocks():
            before = self._seen.get(first, b"")
            if block == before:
                continue
            now = locations(block, size)
            old = locations(before, size) if before else [0] * len(now)
            entries: dict[int, int] = {}
            for id, (copied, location) in enumerate(zip(old, now, strict=True), first):
                if copied != location:
                    entries[id] = self._take(id, copied, location, last)
                    changes += 1
            self._table.put_many(entries)
            self._seen[first] = block
        return changes

    def sync(self) -> None:
        """Have the disk hold what was written so far, so that the last round has little to wait for."""
        self._writer.sync()
        self._table.sync()

    def close(self) -> int:
        """Sync everything; return the location after the last record."""
        self._table.sync()
        self._table.close()
        return self._writer.close()

    def _take(self, id: int, copied: int, location: int, last: bool) -> int:
        """Copy what a record has got since its version at `copied`; return where its newest version is in the copy."""
        tip = self._table.get(id) if copied else 0
        versions: list[Version] = []
        for version in self._db.versions(id, location, 1 << 30 if tip else self._keep, self._view):
            if version.location == copied:
                break
            versions.append(version)
        else:  # all of it is new, or it was deleted
            if tip:
                self._bury(id, tip)
            tip = 0
            del versions[self._keep :]
        if versions and not versions[0].ok:  # an older version must not pass for the newest
            if last or self._view.table.get(id) == location:
                where = location >> 32, location & 0xFFFF_FFFF
                raise CorruptRecord(id, *where, f"{UNFIT}; repair the database before compacting it")
            return 0  # deleted while we read it, which the next round finds
        for version in reversed(versions):
            if version.ok:
                tip = self._writer.append(version.data, tip)
            elif last or self._view.table.get(id) == location:
                self._db.report(
                    f"{self._db.path}: a damaged version of record {id} at {version.location:#x} isn't kept"
                )
        return tip

    def _bury(self, id: int, tip: int) -> None:
        """Erase a record in the copy, with the mark that tells so."""
        self._writer.flush()
        files = DataFiles(self._folder)
        places = []
        location = tip
        while location:
            header, data = read(files, location, self._db.max_record)
            files.overwrite(location >> 32, location & 0xFFFF_FFFF, bytes(HEADER + len(data)))
            places.append(location)
            location = header.previous
        self._writer.append(tombstone(id, places), tip)


class _Writer:
    """Writes records into new data files, a buffer at a time."""

    def __init__(self, folder: Path, file_size: int) -> None:
        self._folder = folder
        self._file_size = file_size
        self._number = -1
        self._open_next()

    def append(self, data: bytes, previous: int) -> int:
        """Write a record and return its location."""
        if self._position >= self._file_size:
            self.close()
            self._open_next()
        location = self._number << 32 | self._position
        self._file.write(pack_header(data, previous))
        self._file.write(data)
        self._position += HEADER + len(data)
        return location

    def flush(self) -> None:
        """Have the files hold what was appended."""
        self._file.flush()

    def sync(self) -> None:
        """Have the disk hold it."""
        self._file.flush()
        os.fdatasync(self._file.fileno())

    def close(self) -> int:
        """Sync everything; return the location after the last record."""
        self.sync()
        self._file.close()
        return self._number << 32 | self._position

    def _open_next(self) -> None:
        self._number += 1
        self._file = (self._folder / f"{self._number}.db").open("wb", buffering=_BUFFER)
        self._file.write(b"\0")
        self._position = 1
