"""Rewriting the data files without what was deleted (OurDB format C8).

New files are written into `compact.new/` while others write, in rounds, each with what has changed during the one
before. The last round is made under the lock. Then the folder becomes `compact/`, gets a marker `compact/commit` that
tells the next generation, and the state of that generation is written: from then on the compaction counts, and whoever
comes after a crash finishes it. Before that it never happened.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from herojobs.ourdb import dump, marks
from herojobs.ourdb.copy import Copy
from herojobs.ourdb.errors import DiskFull
from herojobs.ourdb.files import FULL, DataFiles, replace, sync_folder
from herojobs.ourdb.lock import WriteLock
from herojobs.ourdb.state import State, boot_id

if TYPE_CHECKING:
    from herojobs.ourdb.db import OurDB

FOLDER = "compact"
COPY = "compact.new"

ROUNDS = 6
"""Rounds at most before the last one; with writers that are faster than the copying, more wouldn't help."""
FEW = 100
"""Changes that the last round, for which writers wait, may have to copy."""
MIN_GARBAGE = 64 * 1024 * 1024


def is_due(folder: Path) -> bool:
    """Return whether more than half of a database, and at least 64 MiB, is what deletions have left.

    It goes by what was counted: no record is read, and nothing is opened.

    Args:
        folder: the database's folder.
    """
    left = marks.garbage(folder)
    return left >= MIN_GARBAGE and left * 2 > sum(path.stat().st_size for path in folder.glob("[0-9]*.db"))


def compact(db: OurDB, keep: int | None) -> None:
    """Compact a database while others read and write; they wait for the last step alone.

    Args:
        db: the database.
        keep: newest versions of each record to keep; None = all. A record that is written meanwhile may keep more.

    Raises:
        CorruptRecord: a record's newest version is damaged. Nothing was changed.
        DiskFull: there is no room for the new files. Likewise.
        DatabaseLocked: another one compacts, for as long as `lock_timeout`.
    """
    alone = WriteLock(db.path / "lookup" / "compacting")
    try:
        with alone.held(db.lock_timeout):
            while not _attempt(db, keep):
                pass
    finally:
        alone.close()


def _attempt(db: OurDB, keep: int | None) -> bool:
    """Compact; return False if somebody has made the table anew meanwhile."""
    with db.settled():
        view = db.current_view()
        view.files.open_all()
    _discard(db.path / COPY)
    (db.path / COPY).mkdir()
    try:
        copy = Copy(db, view, db.path / COPY, keep)
        for _ in range(ROUNDS):
            if copy.take_changes() < FEW:
                break
        copy.sync()
        with db.settled():
            if db.current_view().generation != view.generation:
                return False
            copy.take_changes(last=True)
            _make_it_count(db, copy.close())
            finish(db)
    except OSError as e:
        if e.errno in FULL:
            raise DiskFull(f"{db.path}: no room for compacting ({e}); nothing was changed") from e
        raise
    finally:
        shutil.rmtree(db.path / COPY, ignore_errors=True)
    return True


def _make_it_count(db: OurDB, end: int) -> None:
    """Have the new files be those of the next generation, whatever happens from here on; the caller holds the lock."""
    folder = db.path / FOLDER
    state = db.current_state()
    _discard(folder)
    (db.path / COPY).rename(folder)
    try:
        line = f"{end >> 32} {end & 0xFFFFFFFF} {state.next_id} {state.generation + 1}\n"
        replace(folder / "commit", line.encode())
        sync_folder(folder)
        sync_folder(db.path)
        # From here on it counts. Whoever has the old files open notices by the generation, before anything is renamed.
        # Not the marker decides, which a writer of the old files, if we die between the two, wouldn't look for.
        key_size = db.table.key_size
        db.state_file.write(State(state.generation + 1, end, state.next_id, False, boot_id(), False, key_size))
    except BaseException:
        _discard(folder)
        raise
    db.state_file.sync()


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
    marks.write(db.path, marks.GARBAGE, [])
    sync_folder(db.path / "lookup")
    sync_folder(db.path)
    _discard(folder)


def _discard(folder: Path) -> None:
    """Remove the folder, the marker first: without it nothing else in there counts."""
    (folder / "commit").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
