"""The sparse dump that other programs start from: `lookup_dump.db/data` and `.inc` (OurDB format A1, A8, C6)."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from herojobs.ourdb.files import replace
from herojobs.ourdb.format import pack_location, unpack_location
from herojobs.ourdb.state import EMPTY, State

if TYPE_CHECKING:
    from herojobs.ourdb.db import OurDB

FOLDER = "lookup_dump.db"
ALWAYS_BELOW = 1_000
"""Ids up to which every close renews the dump; beyond, a close does so only if since the last time at least as many
bytes of records have come as the dump has, so that it never costs more than a part of what was written anyway."""


def export(db: OurDB) -> Path:
    """Write the dump of a database that the caller has locked; return its folder.

    In incremental mode it has every id, empty entries included: the original's importer accepts no gap.
    """
    folder = db.path / FOLDER
    if folder.is_file():  # an older generation's
        folder.unlink()
        (db.path / f"{FOLDER}.inc").unlink(missing_ok=True)
    folder.mkdir(exist_ok=True)
    size = db.table.key_size
    state = db.state_file.read() or EMPTY
    table = db.table
    if db.incremental:
        ids = range(1, state.next_id)
        pairs: Iterable[tuple[int, int]] = zip(ids, table.get_many(ids), strict=True)
    else:
        pairs = table.items()
    replace(folder / "data", b"".join(id.to_bytes(4, "little") + pack_location(at, size) for id, at in pairs))
    if db.incremental:
        replace(folder / ".inc", b"%d" % state.next_id)
    replace(db.path / "lookup" / "dumped", b"%d" % _written(db, state), sync=False)
    return folder


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
