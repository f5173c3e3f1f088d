"""Taking in records that the table doesn't reflect yet, in the order of the files (OurDB format C4)."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from herojobs.ourdb import marks
from herojobs.ourdb.state import State, boot_id
from herojobs.ourdb.walk import Gap, Record, deletion, walk
from herojobs.ourdb.writer import erase

if TYPE_CHECKING:
    from herojobs.ourdb.db import OurDB


class Replay:
    """Takes in records behind a state.

    Whose a record is: the id that it carries, if it follows that id's newest version as ours always do; else the id
    whose newest version it follows; else, in incremental mode, the next id. One without an id of its own in a database
    whose records carry theirs is a foreign program's, and so is one that doesn't follow its id's newest version.

    Args:
        db: the database.
        state: where to begin, and the next id.
        known: what the table reflects, if that isn't the database's present table.
    """

    def __init__(self, db: OurDB, state: State, known: dict[int, int] | None = None) -> None:
        self.entries: dict[int, int] = {}
        self.seen: set[int] = set()
        self.buried: dict[int, int] = {}
        self.foreign: set[int] = set()
        self.next_id = state.next_id
        self.end = state.end
        self._db = db
        self._state = state
        self._known = known
        self._owners: dict[int, int] | None = None
        self._twice: set[int] = set()
        self._gone: frozenset[int] = frozenset()
        self._locked = True

    def take_all(self) -> Replay:
        """Take in everything; the caller holds the lock."""
        db = self._db
        if db.id_of is None and db.incremental:  # ids that were given, and whose records are erased, aren't given again
            found = (record for _, record in behind(db, self.end, cut=False) if record is not None)
            self._gone = frozenset(each.id for each in map(deletion, found) if each is not None)
        for number, record in behind(db, self.end):
            if record is not None:
                self._add(record)
            else:  # not before: the tail may have been cut
                self.end = max(self.end, number << 32 | db.files.size(number))
        return self

    def take_until(self, end: int) -> None:
        """Take in what is before a location while others write: erase nothing, and cut nothing."""
        self._locked = False
        for _, record in behind(self._db, self.end, cut=False):
            if record is not None and record.location >= end:
                break
            if record is not None:
                self._add(record)
        self._locked = True
        self.end = max(self.end, end)

    def take(self, number: int, position: int) -> Replay:
        """Take in what is in one file from a position on."""
        db = self._db
        for found in walk(db.files, number, max(position, 1), db.max_record):
            if isinstance(found, Gap):
                report_gap(db, found, cut=False)
            else:
                self._add(found)
        return self

    def settle(self, end: int | None = None) -> State:
        """Write table and state; return the state."""
        db = self._db
        db.table.put_many(dict(sorted(self.entries.items())))
        self.end = max(self.end, self._state.end) if end is None else end
        self.tell()
        if self.end >> 32 != self._state.end >> 32:
            marks.seal_all(db.path, db.files, self.end)
        state = self._state._replace(
            end=self.end, next_id=self.next_id, clean=False, boot=boot_id(), key_size=db.table.key_size, rolling=False
        )
        db.state_file.write(state)
        if self.entries:
            db.report(f"{db.path}: the lookup table took in {len(self.entries):,} ids from the data files")
        return state

    def tell(self) -> None:
        """Mark and report what is another program's."""
        db = self._db
        marks.add(db.path, marks.FOREIGN, self.foreign)
        if self.foreign:
            db.report(f"{db.path}: written by another program: {some(self.foreign)}")
        if self._twice:
            db.report(f"{db.path}: another program began these ids anew; the later record counts: {some(self._twice)}")

    def _add(self, found: Record) -> None:
        db = self._db
        self.seen.add(found.location)
        deleted = deletion(found)
        if deleted is not None:
            if deleted.id < db.table.length:
                self.entries[deleted.id] = 0
                self.next_id = max(self.next_id, deleted.id + 1) if db.incremental else self.next_id
            for place in deleted.places:
                self.buried[place] = deleted.id
                if self._locked:
                    erase_chain(db, deleted.id, place)
            return
        id = self._whose(found, db.id_of(found.data) if db.id_of else 0)
        if id is None:
            return
        if self._owners is not None:
            self._owners[found.location] = id
        if id < db.table.length:
            self.entries[id] = found.location
            self.next_id = max(self.next_id, id + 1) if db.incremental else self.next_id

    def _whose(self, found: Record, name: int) -> int | None:
        """Return the id that a record is a version of, None if nothing tells."""
        owner = None
        if name:
            tip = self._tip(name)
            ahead = tip >= self._state.end and name not in self.entries  # a writer died between table and state
            if (
                (found.previous == tip and (tip or not self._was_given(name)))
                or found.location == tip
                or (tip and ahead)
            ):
                return name
            if found.previous:
                owner = self._who_owns().get(found.previous)
            if owner is not None and owner != name:  # who wrote it began to count at 1, and saves under that id
                self.foreign.add(owner)
                return owner
            if tip:
                self.foreign.add(name)
                if not found.previous:
                    self._twice.add(name)
            if tip or found.previous:
                return name
        else:
            owner = self._who_owns().get(found.location, self._who_owns().get(found.previous or -1))
            if owner is not None:
                return owner
        if found.previous or not self._db.incremental:
            return None
        while self.next_id in self._gone:
            self.next_id += 1
        if self._db.id_of:
            self.foreign.add(self.next_id)
        self._who_owns()
        return self.next_id

    def _was_given(self, id: int) -> bool:
        """Return whether an id without a record had one once: it is never used again."""
        return self._db.incremental and id < self._state.next_id

    def _tip(self, id: int) -> int:
        location = self.entries.get(id)
        if location is None and id < self._db.table.length:
            location = self._db.table.get(id) if self._known is None else self._known.get(id)
        return location or 0

    def _who_owns(self) -> dict[int, int]:
        if self._owners is None:
            items = self._db.table.items() if self._known is None else self._known.items()
            self._owners = {location: id for id, location in items}
            self._owners.update((location, id) for id, location in self.entries.items() if location)
        return self._owners


def behind(
    db: OurDB, since: int, erased: list[tuple[int, int]] | None = None, *, cut: bool = True
) -> Iterator[tuple[int, Record | None]]:
    """Yield the number of each file from a location on with its records, and None at its end.

    Args:
        db: the database.
        since: where to begin.
        erased: as in `walk`.
        cut: report what is no record, and cut a torn tail.
    """
    numbers = db.files.numbers()
    for number in numbers:
        if number < since >> 32:
            continue
        start = max(since & 0xFFFF_FFFF if number == since >> 32 else 0, 1)
        for found in walk(db.files, number, start, db.max_record, erased):
            if not isinstance(found, Gap):
                yield number, found
            elif cut:
                report_gap(db, found, cut=found.at_end and number == numbers[-1])
        yield number, None


def erase_chain(db: OurDB, id: int, location: int) -> None:
    """Erase a version of an id and those before it: a deletion was under way when its writer died."""
    while location:
        header, data = db.read(location)
        if not data or (db.id_of and db.id_of(data) not in (0, id)):
            return
        previous = header.previous
        erase(db, location)
        location = previous


def report_gap(db: OurDB, gap: Gap, *, cut: bool) -> None:
    """Report bytes that are no record; `cut`: keep a copy of them and cut them off."""
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


def some(ids: Collection[int]) -> str:
    """Return ids as a text, the first twenty of them."""
    shown = sorted(ids)
    return ", ".join(map(str, shown[:20])) + (" ..." if len(shown) > 20 else "")
