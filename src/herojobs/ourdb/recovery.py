"""Bringing the table up to date with the data files: after a crash, and where there is no table (OurDB format C4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from herojobs.ourdb import checkpoint, marks
from herojobs.ourdb.errors import ForeignTruncation
from herojobs.ourdb.rebuild import rebuild
from herojobs.ourdb.replay import Replay
from herojobs.ourdb.state import State, boot_id

if TYPE_CHECKING:
    from herojobs.ourdb.db import OurDB


def catch_up(db: OurDB, state: State | None) -> State:
    """Return a state that reflects all data files; the caller holds the lock.

    Raises:
        ForeignTruncation: a data file is shorter than it was.
    """
    if state is None:
        return rebuild(db)
    if state.truncated:
        raise ForeignTruncation(f"{db.path}: another program has cut a data file: repair it (it can be read)")
    if state.boot != boot_id() and not state.clean:
        return _after_boot(db, state)
    file, position = state.end >> 32, state.end & 0xFFFF_FFFF
    if db.files.size(file) < position:
        raise _cut(db, state, file, position)
    return Replay(db, state).take_all().settle()  # what a writer left that died, or a foreign program wrote


def look_at_sealed(db: OurDB) -> None:
    """Compare finished data files with the lengths they had; take in what a foreign program has appended to one.

    Raises:
        ForeignTruncation: one is shorter, or gone.
    """
    state = db.state_file.read()
    if state is None or state.truncated or not state.end >> 32:
        return
    lengths = marks.sealed(db.path)
    for number in range(state.end >> 32):
        size, length = db.files.size(number), lengths.get(number)
        if length is None or size == length:
            continue
        if size < length:
            raise _cut(db, state, number, length)
        Replay(db, state).take(number, length).settle(state.end)
        state = db.state_file.read() or state
    marks.seal_all(db.path, db.files, state.end)


def _cut(db: OurDB, state: State, number: int, length: int) -> ForeignTruncation:
    """Note that a data file was cut, so that it is known even after it has grown again."""
    if not state.truncated:
        db.state_file.write(state._replace(truncated=True))
    return ForeignTruncation(
        f"{db.files.path(number)} has {db.files.size(number)} bytes and had {length}: repair it (it can be read)"
    )


def _after_boot(db: OurDB, state: State) -> State:
    """After a power cut, go on from the last checkpoint; what was written since may be there or not."""
    safe = checkpoint.read(db)
    if safe is None or safe.generation != state.generation or db.files.size(safe.end >> 32) < safe.end & 0xFFFF_FFFF:
        return rebuild(db)
    replay = Replay(db, safe._replace(boot=boot_id(), key_size=db.table.key_size))
    replay.take_all()
    whole = replay.seen
    for id, location in db.table.items():
        location = replay.entries.get(id, location)
        if location >= safe.end:
            if location not in whole:
                db.report(f"{db.path}: record {id} was written last before the power failed, and is lost")
                return rebuild(db)
        elif db.table.straddles(id):
            data = db.read(location)[1]
            if not data or (db.id_of and db.id_of(data) not in (0, id)):
                return rebuild(db)
    replay.next_id = max(replay.next_id, state.next_id)
    return replay.settle()
