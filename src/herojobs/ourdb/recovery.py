"""Bringing the table up to date with the data files: after a crash, and where there is no table (OurDB format C4)."""

from __future__ import annotations

import contextlib
import os
from bisect import bisect_left
from collections.abc import Iterator
from typing import TYPE_CHECKING

from herojobs.ourdb import checkpoint, compact, dump, marks
from herojobs.ourdb.errors import ForeignTruncation
from herojobs.ourdb.format import HEADER
from herojobs.ourdb.state import EMPTY, State, boot_id
from herojobs.ourdb.table import Table
from herojobs.ourdb.walk import Gap, Record, deletion, walk
from herojobs.ourdb.writer import erase

if TYPE_CHECKING:
    from herojobs.ourdb.db import OurDB

NO_BOOT = b"\xff" * 16
"""A boot id that no boot has: the table is to be made anew."""


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
    return _replay(db, state)


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
        _Replay(db, state).take(number, length).settle(state.end)
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
    replay = _Replay(db, safe._replace(boot=boot_id(), key_size=db.table.key_size))
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


def _replay(db: OurDB, state: State) -> State:
    """Take in the records behind a state, which a writer left that died, or a foreign program wrote."""
    replay = _Replay(db, state)
    replay.take_all()
    return replay.settle()


class _Replay:
    """Takes in records behind a state.

    Whose a record is: the id that it carries; else the id whose newest version it follows; else, in incremental mode,
    the next id. One without an id of its own in a database whose records carry theirs is a foreign program's, and so
    is one that doesn't follow the newest version of the id that it carries.
    """

    def __init__(self, db: OurDB, state: State, known: dict[int, int] | None = None) -> None:
        self.entries: dict[int, int] = dict(known or {})
        self.seen: set[int] = set()
        self.next_id = state.next_id
        self._db = db
        self._state = state
        self._known = known
        self._end = state.end
        self._owners: dict[int, int] | None = None
        self._foreign: set[int] = set()
        self._twice: set[int] = set()

    def take_all(self) -> None:
        """Take in everything behind the state."""
        for number, found in _behind(self._db, self._state.end):
            self._end = number << 32 | self._db.files.size(number)
            if found is not None:
                self._add(found)

    def take(self, number: int, position: int) -> _Replay:
        """Take in what is in one file from a position on."""
        db = self._db
        for found in walk(db.files, number, max(position, 1), db.max_record):
            if isinstance(found, Gap):
                _report_gap(db, found, cut=False)
            else:
                self._add(found)
        return self

    def settle(self, end: int | None = None) -> State:
        """Write table and state; return the state."""
        db = self._db
        db.table.put_many(dict(sorted(self.entries.items())))
        marks.add(db.path, marks.FOREIGN, self._foreign)
        self._end = max(self._end, self._state.end) if end is None else end
        if self._end >> 32 != self._state.end >> 32:
            marks.seal_all(db.path, db.files, self._end)
        state = self._state._replace(
            end=self._end, next_id=self.next_id, clean=False, boot=boot_id(), key_size=db.table.key_size
        )
        db.state_file.write(state)
        if self.entries:
            db.report(f"{db.path}: the lookup table took in {len(self.entries):,} ids from the data files")
        if self._foreign:
            db.report(f"{db.path}: written by another program: {_some(self._foreign)}")
        if self._twice:
            db.report(f"{db.path}: another program began these ids anew; the later record counts: {_some(self._twice)}")
        return state

    def _add(self, found: Record) -> None:
        db = self._db
        self.seen.add(found.location)
        deleted = deletion(found)
        if deleted is not None:
            if deleted.id < db.table.length:
                self.entries[deleted.id] = 0
                self.next_id = max(self.next_id, deleted.id + 1) if db.incremental else self.next_id
            for place in deleted.places:
                _erase_chain(db, deleted.id, place)
            return
        id = db.id_of(found.data) if db.id_of else 0
        if id:
            tip = self._tip(id)
            if tip and found.previous != tip and found.location != tip and tip < self._state.end:
                self._foreign.add(id)  # ours always follow the newest version
                if not found.previous:
                    self._twice.add(id)
        else:
            owners = self._who_owns()
            owner = owners.get(found.location)
            if owner is None:
                owner = owners.get(found.previous) if found.previous else None
            if owner is not None:
                id = owner
            elif not found.previous and db.incremental:
                id = self.next_id
                if db.id_of:
                    self._foreign.add(id)
            else:
                return  # nothing tells whose it is
            owners[found.location] = id
        if id < db.table.length:
            self.entries[id] = found.location
            self.next_id = max(self.next_id, id + 1) if db.incremental else self.next_id

    def _tip(self, id: int) -> int:
        location = self.entries.get(id)
        if location is None and self._known is None and id < self._db.table.length:
            location = self._db.table.get(id)
        return location or 0

    def _who_owns(self) -> dict[int, int]:
        if self._owners is None:
            items = self._db.table.items() if self._known is None else self._known.items()
            self._owners = {location: id for id, location in items}
            self._owners.update((location, id) for id, location in self.entries.items() if location)
        return self._owners


def rebuild(db: OurDB) -> State:
    """Make the table anew from the data files alone; from the dump too where records don't carry their ids.

    The new table takes the old one's place in one step, as a new generation: other processes read on meanwhile.
    """
    compact.finish(db)  # one that doesn't count must not be taken for one of the generation that begins here
    before = db.state_file.read() or EMPTY
    started = None if db.id_of else dump.load(db.path, db.table.key_size)
    counter = max(before.next_id, _kept_next_id(db)) if db.incremental else 1
    uncertain: list[int] = []
    foreign: list[int] = []
    if started is not None:
        entries, next_id = started
        whole = {id: location for id, location in entries.items() if id < db.table.length and db.read(location)[1]}
        last = max(whole.values(), default=0)
        end = last and last + HEADER + len(db.read(last)[1])
        replay = _Replay(db, EMPTY._replace(end=end, next_id=next_id if db.incremental else 1), whole)
        replay.take_all()
        entries, next_id = replay.entries, replay.next_id
    else:
        scan = _Scan()
        for _, found in _behind(db, 0, scan.erased):
            if found is not None:
                scan.add(found, db)
        entries, foreign = scan.entries(db)
        next_id = scan.next_id if db.incremental else 1
        uncertain = scan.uncertain(entries)
        for place in scan.left_over():  # a crash came in the middle of a deletion
            erase(db, place)
    numbers = db.files.numbers()
    end = numbers[-1] << 32 | db.files.size(numbers[-1]) if numbers else 0
    # If we die between the two states, the first one has whoever comes next make the table anew once more; without it
    # a process that has the old table open would go on with it.
    db.state_file.write(before._replace(generation=before.generation + 1, clean=False, boot=NO_BOOT))
    db.state_file.sync()
    _put_in_place(db, entries)
    marks.seal_all(db.path, db.files, end)
    marks.add(db.path, marks.FOREIGN, foreign)
    marks.write(db.path, marks.UNCERTAIN, uncertain)
    state = State(before.generation + 2, end, max(counter, next_id), False, boot_id(), False, db.table.key_size)
    db.state_file.write(state)
    if entries:
        db.report(f"{db.path}: the lookup table was made anew from the data files: {len(entries):,} ids")
    if uncertain:
        db.report(f"{db.path}: another program may have deleted: {_some(uncertain)}")
    db.current_view()
    return state


def _put_in_place(db: OurDB, entries: dict[int, int]) -> None:
    path = db.path / "lookup" / "data.new"
    path.unlink(missing_ok=True)
    table = Table(path, db.table.key_size, db.table.length)
    table.put_many(dict(sorted(entries.items())))
    table.close()
    os.replace(path, db.path / "lookup" / "data")


class _Scan:
    """Everything that a scan of all data files has found."""

    def __init__(self) -> None:
        self.order: list[int] = []
        self.previous: dict[int, int] = {}
        self.ids: dict[int, int] = {}
        self.tombstones: dict[int, int] = {}
        self.explained: dict[int, int] = {}
        self.erased: list[tuple[int, int]] = []
        self.next_id = 1

    def add(self, found: Record, db: OurDB) -> None:
        """Take in a record."""
        deleted = deletion(found)
        if deleted is not None:
            self.tombstones[found.location] = deleted.id
            self.explained.update(dict.fromkeys(deleted.places, deleted.id))
        else:
            self.previous[found.location] = found.previous
            self.ids[found.location] = db.id_of(found.data) if db.id_of else 0
        self.order.append(found.location)

    def entries(self, db: OurDB) -> tuple[dict[int, int], list[int]]:
        """Return where each id's newest version is, 0 for deleted ones, and the ids that were only guessed."""
        pointed = {*self.previous.values(), *self.left_over()}
        entries: dict[int, int] = {}
        guessed: list[int] = []
        twice: list[int] = []
        known = set(self.ids.values()) | set(self.tombstones.values())
        rank = 0
        for location in self.order:  # in the order of the files: of two tips with one id the later one wins
            if location in self.tombstones:
                entries[self.tombstones[location]] = 0
                continue
            if not self.previous[location]:
                rank += 1
            if location in pointed:
                continue
            id = self._id_along(location)
            if not id and db.incremental:
                first = rank if not self.previous[location] else 0
                id = first if first not in known else 0
                if id:
                    guessed.append(id)
            if not 0 < id < db.table.length:
                continue
            if entries.get(id):
                twice.append(id)
            entries[id] = location
        if twice:
            db.report(f"{db.path}: ids with two newest versions, of which the later one counts: {_some(twice)}")
        self.next_id = max(known | entries.keys(), default=0) + 1
        return entries, guessed

    def uncertain(self, entries: dict[int, int]) -> list[int]:
        """Return ids whose newest version lies before erased bytes that no deletion of ours explains (B10)."""
        places = sorted(self.explained)
        last = 0
        for start, end in self.erased:
            nth = bisect_left(places, start)
            if nth == len(places) or places[nth] >= end:
                last = start
        return sorted(id for id, location in entries.items() if 0 < location < last)

    def left_over(self) -> list[int]:
        """Return where versions lie whose deletion was decided, and that weren't erased yet."""
        return [place for place, id in self.explained.items() if self.ids.get(place, -1) in (0, id)]

    def _id_along(self, location: int) -> int:
        """Return the newest id that a chain carries, 0 if none does."""
        seen = set()
        while location in self.previous and location not in seen:
            seen.add(location)
            if self.ids[location]:
                return self.ids[location]
            location = self.previous[location]
        return 0


def _behind(db: OurDB, since: int, erased: list[tuple[int, int]] | None = None) -> Iterator[tuple[int, Record | None]]:
    """Yield the number of each file from a location on with its records; report what is none, cut a torn tail."""
    numbers = db.files.numbers()
    for number in numbers:
        if number < since >> 32:
            continue
        start = max(since & 0xFFFF_FFFF if number == since >> 32 else 0, 1)
        for found in walk(db.files, number, start, db.max_record, erased):
            if isinstance(found, Gap):
                _report_gap(db, found, cut=found.at_end and number == numbers[-1])
            else:
                yield number, found
        yield number, None


def _erase_chain(db: OurDB, id: int, location: int) -> None:
    """Erase a version of an id and those before it: a deletion was under way when its writer died."""
    while location:
        header, data = db.read(location)
        if not data or (db.id_of and db.id_of(data) not in (0, id)):
            return
        previous = header.previous
        erase(db, location)
        location = previous


def _kept_next_id(db: OurDB) -> int:
    """Return the next id that counters beside the table tell: ids of deleted records aren't given again."""
    found = dump.load(db.path, db.table.key_size)
    inc = 0
    with contextlib.suppress(OSError, ValueError):
        inc = int((db.path / "lookup" / ".inc").read_bytes())
    return max(found[1] if found else 1, inc)


def _report_gap(db: OurDB, gap: Gap, *, cut: bool) -> None:
    number, position = gap.location >> 32, gap.location & 0xFFFF_FFFF
    if not cut:
        db.report(f"{db.files.path(number)}: {gap.end - gap.location} bytes at {position} are no record")
        return
    torn = db.path / "lookup" / "torn"
    torn.mkdir(exist_ok=True)
    with contextlib.suppress(OSError):  # the disk may be full: the tail goes all the same
        (torn / f"{number}-{position}").write_bytes(db.files.read(number, position, gap.end - gap.location))
    db.files.cut(number, position)
    db.report(
        f"{db.files.path(number)}: {gap.end - gap.location} bytes of a record cut off at {position}; kept in {torn}"
    )


def _some(ids: list[int] | set[int]) -> str:
    shown = sorted(ids)
    return ", ".join(map(str, shown[:20])) + (" ..." if len(shown) > 20 else "")
