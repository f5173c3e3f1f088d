"""Checkpoints: up to where table and data files are surely on the disk (OurDB format C2, C4).

After a power cut anything written since may be there or not, so recovery goes on from the last checkpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from herojobs.ourdb.files import replace
from herojobs.ourdb.state import State, StateFile, boot_id

if TYPE_CHECKING:
    from herojobs.ourdb.db import OurDB

INTERVAL = 10.0
"""Seconds between two checkpoints of a database that is written to."""


def read(db: OurDB) -> State | None:
    """Return the last checkpoint, None if there is none."""
    file = StateFile(db.path / "lookup" / "checkpoint")
    try:
        return file.read()
    finally:
        file.close()


def write(db: OurDB, *, clean: bool = False) -> None:
    """Make a checkpoint, unless somebody else is writing now.

    Args:
        db: the database.
        clean: the caller holds the lock: note in the state, too, that everything is on the disk.

    Raises:
        DatabaseLocked: somebody else is writing.
    """
    state = db.state_file.read()  # first: what it reflects was written before it
    view = db.current_view()
    if state is None or state.truncated or state.boot != boot_id() or state.generation != view.generation:
        return
    file = StateFile(db.path / "lookup" / "checkpoint")
    try:
        last = file.read()
        first = last.end >> 32 if last is not None and last.generation == state.generation else 0
        for number in range(first, (state.end >> 32) + 1):
            if view.files.exists(number):
                view.files.sync(number)
        view.table.sync()
        with db.lock.held(0):
            now, last = db.state_file.read(), file.read()
            if now is None or now.generation != state.generation:
                return  # compacted meanwhile
            if last is None or (last.generation, last.end) < (state.generation, state.end) or clean:
                file.write(state)
                file.sync()
                replace(db.path / "lookup" / ".inc", b"%d" % state.next_id, sync=False)
            if clean and now == state:
                db.state_file.write(state._replace(clean=True))
                db.state_file.sync()
    finally:
        file.close()
