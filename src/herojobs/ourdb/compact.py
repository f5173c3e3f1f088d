"""Rewriting the data files without what was deleted (OurDB format C8).

New files are written into `compact/`, then a marker `compact/commit`; from then on the compaction counts, and whoever
opens the database after a crash finishes it. Without the marker it never happened.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from herojobs.ourdb.files import DataFiles
from herojobs.ourdb.format import HEADER, pack_header
from herojobs.ourdb.state import State, boot_id
from herojobs.ourdb.table import Table

if TYPE_CHECKING:
    from herojobs.ourdb.db import OurDB

FOLDER = "compact"
MIN_GARBAGE = 64 * 1024 * 1024
_BUFFER = 1 << 20


def garbage(db: OurDB) -> tuple[int, int]:
    """Return the bytes that nothing reaches, and all bytes."""
    total = sum(db.files.size(number) for number in db.files.numbers())
    live = sum(
        HEADER + len(version.data) for id, _ in db.table.items() for version in db.chain(id, 1 << 30) if version.ok
    )
    return max(0, total - live), total


def compact(db: OurDB, keep: int | None) -> None:
    """Compact a database that the caller has locked.

    Args:
        db: the database.
        keep: newest versions of each record to keep; None = all.
    """
    state = db.current_state()
    folder = db.path / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    writer = _Writer(folder, db.file_size)
    table = Table(folder / "data", db.table.key_size, db.table.length)
    entries: dict[int, int] = {}
    for id, _ in db.table.items():  # noqa: PERF102 - no dict
        versions = [version for version in db.chain(id, keep or 1 << 30) if version.ok]
        previous = 0
        for version in reversed(versions):
            previous = writer.append(version.data, previous)
        if previous:
            entries[id] = previous
        if len(entries) >= 10_000:
            table.put_many(entries)
            entries.clear()
    table.put_many(entries)
    table.sync()
    table.close()
    end = writer.close()
    line = f"{end >> 32} {end & 0xFFFFFFFF} {state.next_id} {state.generation + 1}\n"
    _write_synced(folder / "commit", line.encode())
    _sync_folder(folder)
    finish(db)


def finish(db: OurDB) -> None:
    """Finish a compaction that has its marker, or throw one away that hasn't; the caller holds the lock.

    Every step may be repeated: a crash anywhere leaves what the next call goes on from.
    """
    folder = db.path / FOLDER
    try:
        words = (folder / "commit").read_text("ascii").split()
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        return
    last, position, next_id, generation = map(int, words)
    # First, so that whoever has the old files open notices before it opens one of the new.
    state = db.state_file.read()
    if state is None or state.generation != generation:
        db.state_file.write(State(generation, last << 32 | position, next_id, False, boot_id()))
        db.state_file.sync()
    for path in sorted(folder.glob("*.db")):
        path.replace(db.path / path.name)
    for number in DataFiles(db.path).numbers():
        if number > last:
            (db.path / f"{number}.db").unlink()
    if (folder / "data").exists():
        (folder / "data").replace(db.path / "lookup" / "data")
    _sync_folder(db.path)
    shutil.rmtree(folder)


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


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
