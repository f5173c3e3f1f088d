"""The sparse dump that other programs start from: `lookup_dump.db/data` and `.inc` (OurDB format A1, A8, C6)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from herojobs.ourdb.format import pack_location, unpack_location

if TYPE_CHECKING:
    from herojobs.ourdb.db import OurDB

FOLDER = "lookup_dump.db"
ALWAYS_BELOW = 20_000
"""Ids up to which every close renews the dump; beyond, only when a tenth more has come, so that closing stays cheap."""


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
    next_id = db.next_id
    if db.incremental:
        used = dict(db.table.items())
        chunks = [id.to_bytes(4, "little") + pack_location(used.get(id, 0), size) for id in range(1, next_id)]
    else:
        chunks = [id.to_bytes(4, "little") + pack_location(location, size) for id, location in db.table.items()]
    _replace(folder / "data", b"".join(chunks))
    if db.incremental:
        _replace(folder / ".inc", b"%d" % next_id)
    return folder


def is_due(db: OurDB) -> bool:
    """Return whether a close should renew the dump."""
    next_id = db.next_id
    if next_id <= ALWAYS_BELOW:
        return True
    try:
        dumped = int((db.path / FOLDER / ".inc").read_bytes())
    except (OSError, ValueError):
        return True
    return next_id > dumped * 1.1


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
        location = unpack_location(data[at + 4 : at + step], key_size)
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


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f"{path.name}.new")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fdatasync(file.fileno())
    temporary.replace(path)


def remove(folder: Path) -> None:
    """Remove a dump of any generation."""
    dump = folder / FOLDER
    if dump.is_dir():
        shutil.rmtree(dump)
    else:
        dump.unlink(missing_ok=True)
    (folder / f"{FOLDER}.inc").unlink(missing_ok=True)
