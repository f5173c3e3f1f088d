"""The sparse dump that other programs start from: `lookup_dump.db/data` and `.inc` (OurDB format A1, A8, C6)."""

from __future__ import annotations

import os
import shutil
import sys
from array import array
from pathlib import Path
from typing import TYPE_CHECKING

from herojobs.ourdb.files import replace
from herojobs.ourdb.format import pack_location, unpack_location
from herojobs.ourdb.state import EMPTY, State
from herojobs.ourdb.table import Table

if TYPE_CHECKING:
    from herojobs.ourdb.db import OurDB

FOLDER = "lookup_dump.db"
ALWAYS_BELOW = 1_000
"""Ids up to which every close renews the dump; beyond, a close does so only if since the last time at least as many
bytes of records have come as the dump has, so that it never costs more than a part of what was written anyway."""


def export(db: OurDB, timeout: float | None = None) -> Path:
    """Write the dump of a database; others write meanwhile. Return its folder.

    In incremental mode it has every id, empty entries included: the original's importer accepts no gap.
    """
    folder = db.path / FOLDER
    while True:
        with db.settled(timeout):
            state = db.current_state()
            view = db.current_view()
        data = _dense(view.table, state.next_id) if db.incremental else _sparse(view.table)
        new = db.path / "lookup" / "dump.new"
        with new.open("wb") as file:
            file.write(data)
            file.flush()
            os.fdatasync(file.fileno())
        with db.settled(timeout):
            if db.current_view().generation != view.generation:
                continue  # compacted meanwhile: these locations mean nothing any more
            if folder.is_file():  # an older generation's
                folder.unlink()
                (db.path / f"{FOLDER}.inc").unlink(missing_ok=True)
            folder.mkdir(exist_ok=True)
            new.replace(folder / "data")
            if db.incremental:
                replace(folder / ".inc", b"%d" % state.next_id)
            replace(db.path / "lookup" / "dumped", b"%d" % _written(db, state), sync=False)
            return folder


def _dense(table: Table, next_id: int) -> bytearray:
    """Return the entries of all ids, column by column: a step of Python an id would take a second a million."""
    size = table.key_size
    step = 4 + size
    entries = table.raw(1, next_id)
    count = max(0, next_id - 1)
    numbers = array("I", range(1, next_id))  # four bytes each wherever Python runs
    if sys.byteorder == "big":
        numbers.byteswap()
    ids = numbers.tobytes()
    data = bytearray(step * count)
    for at in range(4):
        data[at::step] = ids[at::4]
    for at in range(size):
        data[4 + at :: step] = entries[at::size]
    return data


def _sparse(table: Table) -> bytes:
    return b"".join(id.to_bytes(4, "little") + pack_location(at, table.key_size) for id, at in table.items())


def is_due(db: OurDB) -> bool:
    """Return whether a close should renew the dump."""
    try:
        size = (db.path / FOLDER / "data").stat().st_size
        dumped = int((db.path / "lookup" / "dumped").read_bytes())
    except (OSError, ValueError):
        return True
    written = _written(db, db.state_file.read() or EMPTY)
    return size <= ALWAYS_BELOW * (4 + db.table.key_size) or written < dumped or written - dumped >= size


def _written(db: OurDB, state: State) -> int:
    """Return how many bytes all data files have, as far as the table reflects them."""
    return sum(map(db.files.size, range(state.end >> 32))) + (state.end & 0xFFFF_FFFF)


def load(folder: Path, key_size: int) -> tuple[dict[int, int], int] | None:
    """Return entries and next id from a dump of any of the three generations, None if there is none or it is no dump.

    Args:
        folder: the database's folder.
        key_size: bytes of an entry's location.
    """
    dump = folder / FOLDER
    try:
        data = (dump / "data" if dump.is_dir() else dump).read_bytes()
    except OSError:
        return None
    step = 4 + key_size
    if len(data) % step:
        return None
    entries = {}
    highest = 0
    for at in range(0, len(data), step):
        id = int.from_bytes(data[at : at + 4], "little")
        highest = max(highest, id)
        location = unpack_location(data[at + 4 : at + step])
        if location:
            entries[id] = location
    # The folder's counter is the next id; that of the older plain file is the last one used, and never too high.
    counter = _number(dump / ".inc") if dump.is_dir() else _number(folder / f"{FOLDER}.inc") + 1
    return entries, max(counter, highest + 1)


def _number(path: Path) -> int:
    try:
        return int(path.read_bytes())
    except (OSError, ValueError):
        return 0


def remove(folder: Path) -> None:
    """Remove a dump of any generation."""
    dump = folder / FOLDER
    if dump.is_dir():
        shutil.rmtree(dump)
    else:
        dump.unlink(missing_ok=True)
    (folder / f"{FOLDER}.inc").unlink(missing_ok=True)
