"""Rewriting the data files without what was deleted (OurDB format C8).

New files are written into `compact/`, then a marker `compact/commit` that tells the next generation, then the state of
that generation: from then on the compaction counts, and whoever comes after a crash finishes it. Before that it never
happened.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from herojobs.ourdb import dump, marks
from herojobs.ourdb.errors import CorruptRecord, DiskFull
from herojobs.ourdb.files import FULL, DataFiles, replace, sync_folder
from herojobs.ourdb.format import HEADER, pack_header
from herojobs.ourdb.reading import UNFIT
from herojobs.ourdb.state import State, boot_id
from herojobs.ourdb.table import Table

if TYPE_CHECKING:
    from herojobs.ourdb.db import OurDB

FOLDER = "compact"
MIN_GARBAGE = 64 * 1024 * 1024
_BUFFER = 1 << 20


def garbage(db: OurDB, keep: int | None) -> tuple[int, int]:
    """Return the bytes that a compaction would free, and all bytes."""
    view = db.current_view()
    total = sum(map(view.files.size, view.files.numbers()))
    live = 0
    for id, location in view.table.items():
        live += sum(HEADER + len(version.data) for version in db.versions(id, location, keep or 1 << 30, view))
    return max(0, total - live), total


def compact(db: OurDB, keep: int | None) -> None:
    """Compact a database that the caller has locked and brought up to date.

    Args:
        db: the database.
        keep: newest versions of each record to keep; None = all.

    Raises:
        CorruptRecord: a record's newest version is damaged. Nothing was changed.
        DiskFull: there is no room for the new files. Likewise.
    """
    state = db.current_state()
    folder = db.path / FOLDER
    _discard(folder)
    folder.mkdir()
    try:
        end = _write(db, folder, keep)
        line = f"{end >> 32} {end & 0xFFFFFFFF} {state.next_id} {state.generation + 1}\n"
        replace(folder / "commit", line.encode())
        sync_folder(folder)
        sync_folder(db.path)
        # From here on it counts. Whoever has the old files open notices by the generation, before anything is renamed.
        # Not the marker decides, which a writer of the old files, if we die between the two, wouldn't look for.
        key_size = db.table.key_size
        db.state_file.write(State(state.generation + 1, end, state.next_id, False, boot_id(), False, key_size))
    except BaseException as e:
        _discard(folder)
        if isinstance(e, OSError) and e.errno in FULL:
            raise DiskFull(f"{db.path}: no room for compacting ({e}); nothing was changed") from e
        raise
    db.state_file.sync()
    finish(db)


def _write(db: OurDB, folder: Path, keep: int | None) -> int:
    """Write the new files and their table; return the location after the last record."""
    writer = _Writer(folder, db.file_size)
    table = Table(folder / "data", db.table.key_size, db.table.length)
    entries: dict[int, int] = {}
    for id, location in db.table.items():
        versions = list(db.chain(id, keep or 1 << 30))
        if versions and not versions[0].ok:  # an older version must not pass for the newest
            where = location >> 32, location & 0xFFFF_FFFF
            raise CorruptRecord(id, *where, f"{UNFIT}; repair the database before compacting it")
        previous = 0
        for version in reversed(versions):
            if version.ok:
                previous = writer.append(version.data, previous)
            else:
                db.report(f"{db.path}: a damaged version of record {id} at {version.location:#x} isn't kept")
        if previous:
            entries[id] = previous
        if len(entries) >= 10_000:
            table.put_many(entries)
            entries.clear()
    table.put_many(entries)
    table.sync()
    table.close()
    return writer.close()


def finish(db: OurDB) -> None:
    """Finish a compaction that counts, or throw away one that doesn't; the caller holds the lock.

    Every step may be repeated: a crash anywhere leaves what the next call goes on from.
    """
    folder = db.path / FOLDER
    try:
        last, position, next_id, generation = map(int, (folder / "commit").read_bytes().split())
    except FileNotFoundError:
        _discard(folder)
        return
    end = last << 32 | position
    state = db.state_file.read()
    if state is None:  # the table is lost, too: it counts if renaming has begun
        counts = any(not (folder / f"{number}.db").exists() for number in range(last + 1))
    else:
        counts = state.generation == generation
    if not counts:
        _discard(folder)
        return
    if state is None:
        db.state_file.write(State(generation, end, next_id, False, boot_id(), False, db.table.key_size))
    db.state_file.sync()
    dump.remove(db.path)  # its locations mean nothing any more
    for path in sorted(folder.glob("*.db")):
        path.replace(db.path / path.name)
    files = DataFiles(db.path)
    for number in files.numbers():
        if number > last:
            files.path(number).unlink()
    if (folder / "data").exists():
        (folder / "data").replace(db.path / "lookup" / "data")
    marks.seal_all(db.path, files, end)
    sync_folder(db.path / "lookup")
    sync_folder(db.path)
    _discard(folder)


def _discard(folder: Path) -> None:
    """Remove the folder, the marker first: without it nothing else in there counts."""
    (folder / "commit").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


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
            self._close_file()
            self._open_next()
        location = self._number << 32 | self._position
        self._file.write(pack_header(data, previous))
        self._file.write(data)
        self._position += HEADER + len(data)
        return location

    def close(self) -> int:
        """Sync everything; return the location after the last record."""
        self._close_file()
        return self._number << 32 | self._position

    def _open_next(self) -> None:
        self._number += 1
        self._file = (self._folder / f"{self._number}.db").open("wb", buffering=_BUFFER)
        self._file.write(b"\0")
        self._position = 1

    def _close_file(self) -> None:
        self._file.flush()
        os.fdatasync(self._file.fileno())
        self._file.close()
