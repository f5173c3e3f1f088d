"""Making the lookup table anew from the data files (OurDB format C4).

Where the table is lost nobody can write anyway, and the lock is held. A repair reads while others write: what they have
written meanwhile is taken in at the end, under the lock, which they wait for as long as that takes and no longer.
"""

from __future__ import annotations

import contextlib
import os
from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

from herojobs.ourdb import compact, dump, marks
from herojobs.ourdb.errors import ForeignTruncation
from herojobs.ourdb.replay import Replay, behind, report_gap, some
from herojobs.ourdb.state import EMPTY, State, boot_id
from herojobs.ourdb.table import Table
from herojobs.ourdb.walk import Gap, Record, deletion, walk
from herojobs.ourdb.writer import erase

if TYPE_CHECKING:
    from herojobs.ourdb.db import OurDB

NO_BOOT = b"\xff" * 16
"""A boot id that no boot has: the table is to be made anew."""

ATTEMPTS = 3
"""How often a repair begins again because somebody has compacted meanwhile; after that it holds the lock."""

NOBODY = -1


def rebuild(db: OurDB) -> State:
    """Make the table anew; the caller holds the lock."""
    compact.finish(db)  # one that doesn't count must not be taken for one of the generation that begins here
    return _Rebuild(db, None).put_in_place()


def repair(db: OurDB) -> None:
    """Make the table anew while others write."""
    for _ in range(ATTEMPTS):
        with db.lock.held(db.lock_timeout):
            db.current_view()
            try:
                state = db.current_state()
            except ForeignTruncation:  # nobody can write
                rebuild(db)
                return
        made = _Rebuild(db, state)
        now = db.state_file.read()
        if now is not None and now.generation == state.generation:
            made.replay.take_until(now.end)  # most of what came meanwhile
        with db.lock.held(db.lock_timeout):
            db.current_state()
            if db.current_view().generation == state.generation:
                made.put_in_place()
                return
    with db.lock.held(db.lock_timeout):
        rebuild(db)


def confirmed(db: OurDB, gap: Gap) -> bool:
    """Return whether a gap is still there; call it after whoever erased a record then has given the lock back."""
    return next(walk(db.files, gap.location >> 32, gap.location & 0xFFFF_FFFF, db.max_record), None) == gap


class _Rebuild:
    """A table that is made anew, up to where a state says or, under the lock, up to the end of the files.

    The new table takes the old one's place in one step, as a new generation: other processes read on meanwhile.
    """

    def __init__(self, db: OurDB, state: State | None) -> None:
        self._db = db
        self._scan = scan = _Scan()
        gaps = scan.read(db, None if state is None else state.end)
        if state is not None:
            with db.lock.held(db.lock_timeout):
                pass
            for gap in gaps:
                if confirmed(db, gap):
                    report_gap(db, gap, cut=False)
        hints = dict(db.table.items())
        there = bool(hints)
        if not there:
            hints, counter = dump.load(db.path, db.table.key_size) or ({}, 1)
            scan.next_id = max(scan.next_id, counter)
        self._entries, self._guessed = scan.entries(db, hints, there)
        if state is None:
            numbers = db.files.numbers()
            end = numbers[-1] << 32 | db.files.size(numbers[-1]) if numbers else 0
            state = EMPTY._replace(end=end, next_id=max(scan.next_id, _kept_next_id(db)) if db.incremental else 1)
        self._table = _new_table(db, self._entries)
        self.replay = Replay(db, state, self._entries)

    def put_in_place(self) -> State:
        """Take in what has come meanwhile and have the new table count; the caller holds the lock."""
        db, replay = self._db, self.replay.take_all()
        for place in self._scan.left_over():  # a crash came in the middle of a deletion
            erase(db, place)
        self._table.put_many(dict(sorted(replay.entries.items())))
        self._table.close()
        uncertain = self._scan.uncertain(self._entries, replay)
        before = db.state_file.read() or EMPTY
        # If we die between the two states, the first one has whoever comes next make the table anew once more; without
        # it a process that has the old table open would go on with it.
        db.state_file.write(before._replace(generation=before.generation + 1, clean=False, boot=NO_BOOT))
        db.state_file.sync()
        os.replace(_new_path(db), db.path / "lookup" / "data")
        marks.seal_all(db.path, db.files, replay.end)
        marks.add(db.path, marks.FOREIGN, self._guessed)
        marks.write(db.path, marks.UNCERTAIN, uncertain)
        replay.tell()
        next_id = max(before.next_id, replay.next_id)
        state = State(before.generation + 2, replay.end, next_id, False, boot_id(), False, db.table.key_size)
        db.state_file.write(state)
        if self._entries:
            db.report(f"{db.path}: the lookup table was made anew from the data files: {len(self._entries):,} ids")
        if uncertain:
            db.report(f"{db.path}: another program may have deleted: {some(uncertain)}")
        db.current_view()
        return state


def _new_path(db: OurDB) -> str:
    return f"{db.path}/lookup/data.new"


def _new_table(db: OurDB, entries: dict[int, int]) -> Table:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_new_path(db))
    table = Table(db.path / "lookup" / "data.new", db.table.key_size, db.table.length)
    table.put_many(dict(sorted(entries.items())))
    return table


class _Chain(NamedTuple):
    """The versions of one record.

    Attributes:
        name: the newest id that they carry, 0 if none does.
        first: where the first one is.
        hint: the id that leads to them in a table or a dump.
        ours: whether they carried an id from the first one on, as ours do. Others' first one may carry none, and a
            later one the id that a program gave which began to count at 1 and knew nothing of ours.
    """

    name: int
    first: int
    hint: int
    ours: bool

    def choose(self, ours: set[int], buried: set[int]) -> int:
        """Return whose it is; ids that are ours, or that we have deleted, aren't given to what others wrote."""
        if self.ours:
            return self.name
        if self.hint != NOBODY and self.hint not in ours:
            return self.hint
        return self.name if self.name and self.name not in ours and self.name not in buried else NOBODY


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

    def read(self, db: OurDB, until: int | None) -> list[Gap]:
        """Read the files up to a location; return what is no record. `None`: all of them, and cut a torn tail."""
        if until is None:
            for _, record in behind(db, 0, self.erased):
                if record is not None:
                    self._add(record, db)
            return []
        gaps: list[Gap] = []
        for number in db.files.numbers():
            for found in walk(db.files, number, 1, db.max_record, self.erased):
                if found.location >= until:
                    return gaps
                if isinstance(found, Gap):
                    gaps.append(found)
                else:
                    self._add(found, db)
        return gaps

    def _add(self, found: Record, db: OurDB) -> None:
        deleted = deletion(found)
        if deleted is not None:
            self.tombstones[found.location] = deleted.id
            self.explained.update(dict.fromkeys(deleted.places, deleted.id))
        else:
            self.previous[found.location] = found.previous
            self.ids[found.location] = db.id_of(found.data) if db.id_of else 0
        self.order.append(found.location)

    def entries(self, db: OurDB, hints: dict[int, int], kept: bool) -> tuple[dict[int, int], list[int]]:
        """Return where each id's newest version is, 0 for deleted ones, and the ids that were only guessed.

        Args:
            db: the database.
            hints: what a table or a dump said; taken for chains that didn't begin with an id of their own.
            kept: whether it was the table: then it is known which ids are another program's.
        """
        pointed = {*self.previous.values(), *self.left_over()}
        owners = {location: id for id, location in hints.items()}
        chains: dict[int, _Chain] = {}  # by tip
        ours: set[int] = set()
        buried: set[int] = set()
        for location in self.order:
            if location in self.tombstones:
                buried.add(self.tombstones[location])
            elif location not in pointed:
                chains[location] = chain = self._chain(location, owners, buried)
                if chain.ours:
                    ours.add(chain.name)
        chosen = {tip: chain.choose(ours, buried) for tip, chain in chains.items()}
        guessed = []
        if db.id_of and not kept:
            guessed = [chosen[tip] for tip, chain in chains.items() if chosen[tip] not in (chain.name, NOBODY)]
        if db.incremental:
            guessed += self._guess(chains, chosen, buried)
        entries: dict[int, int] = {}
        twice: list[int] = []
        lowest = 1 if db.incremental else 0
        for location in self.order:  # of two tips with one id the later one wins
            if location in self.tombstones:
                entries[self.tombstones[location]] = 0
            elif location in chosen and lowest <= chosen[location] < db.table.length:
                id = chosen[location]
                if entries.get(id):
                    twice.append(id)
                entries[id] = location
        if twice:
            db.report(f"{db.path}: ids with two newest versions, of which the later one counts: {some(twice)}")
        self.next_id = max({self.next_id - 1, *self.ids.values(), *entries}) + 1  # deleted ids are among the entries
        return entries, guessed

    def _guess(self, chains: dict[int, _Chain], chosen: dict[int, int], buried: set[int]) -> list[int]:
        """Give ids to chains of which nothing tells theirs; return them. First versions come in the order of ids."""
        firsts = {chain.first: tip for tip, chain in chains.items() if not self.previous[chain.first]}
        taken = {*self.ids.values(), *buried, *chosen.values()}
        guessed = []
        last = 0
        for location in self.order:
            tip = firsts.get(location, 0)
            if not tip:
                continue
            if chosen[tip] == NOBODY:
                id = last + 1
                while id in taken:
                    id += 1
                chosen[tip] = id
                guessed.append(id)
            last = max(last, chosen[tip])
        return guessed

    def uncertain(self, entries: dict[int, int], replay: Replay) -> list[int]:
        """Return ids whose newest version lies before erased bytes that no deletion of ours explains (B10)."""
        places = sorted({**self.explained, **replay.buried})
        last = 0
        for start, end in self.erased:
            nth = bisect_left(places, start)
            if nth == len(places) or places[nth] >= end:
                last = start
        if not last:
            return []
        return sorted(id for id, at in entries.items() if 0 < replay.entries.get(id, at) < last)

    def left_over(self) -> list[int]:
        """Return where versions lie whose deletion was decided, and that weren't erased yet."""
        return [place for place, id in self.explained.items() if self.ids.get(place, NOBODY) in (0, id)]

    def _chain(self, location: int, owners: dict[int, int], buried: set[int]) -> _Chain:
        """Follow the chain of a newest version; of deletions those are known that came before it."""
        name, hint, first = 0, NOBODY, location
        seen = set()
        while location in self.previous and location not in seen:
            seen.add(location)
            first = location
            name = name or self.ids[location]
            if hint == NOBODY:
                hint = owners.get(location, NOBODY)
            location = self.previous[location]
        return _Chain(name, first, hint, bool(self.ids[first]) and name not in buried)


def _kept_next_id(db: OurDB) -> int:
    """Return the next id that counters beside the table tell: ids of deleted records aren't given again."""
    found = dump.load(db.path, db.table.key_size)
    inc = 0
    with contextlib.suppress(OSError, ValueError):
        inc = int((db.path / "lookup" / ".inc").read_bytes())
    return max(found[1] if found else 1, inc)
