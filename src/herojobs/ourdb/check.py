"""Reading a whole database and telling what is wrong with it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from herojobs.ourdb import marks, rebuild, walk
from herojobs.ourdb.errors import ForeignTruncation
from herojobs.ourdb.files import DataFiles
from herojobs.ourdb.format import HEADER
from herojobs.ourdb.reading import UNFIT, View
from herojobs.ourdb.state import EMPTY

if TYPE_CHECKING:
    from herojobs.ourdb.db import OurDB

MAX_TOLD = 100
"""Faults and orphans told one by one; the rest is counted."""


@dataclass
class Fault:
    """One thing that is wrong.

    Attributes:
        id: the record's id, 0 = unknown.
        file: number of the data file.
        position: where in it.
        why: what is wrong.
    """

    id: int
    file: int
    position: int
    why: str


@dataclass
class Report:
    """What a check found.

    Attributes:
        path: the database.
        ids: records that can be read.
        versions: whole records in the data files, earlier versions included.
        bytes: length of the data files.
        unreached: bytes of whole records that no id leads to: what deletions and lost tables leave.
        orphan_count: chains of such records.
        orphans: file and position of the newest record of each, the first hundred.
        faults: what is wrong, the first hundred.
        fault_count: how much is wrong in all.
        gap_count: how many of these are bytes between records, which no id needs; a compaction leaves them out.
        uncertain: ids whose newest version may be one that another program had deleted.
        repaired: whether the table was made anew.
    """

    path: str
    ids: int = 0
    versions: int = 0
    bytes: int = 0
    unreached: int = 0
    orphan_count: int = 0
    orphans: list[tuple[int, int]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    fault_count: int = 0
    gap_count: int = 0
    uncertain: list[int] = field(default_factory=list)
    repaired: bool = False

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.fault_count

    def add(self, fault: Fault) -> None:
        """Note a fault."""
        self.fault_count += 1
        if len(self.faults) < MAX_TOLD:
            self.faults.append(fault)

    def __str__(self) -> str:
        state = "no fault" if self.ok else f"{self.fault_count:,} faults"
        lines = [
            f"{self.path}: {state}; {self.ids:,} ids, {self.versions:,} versions, {self.bytes:,} bytes"
            f" ({self.unreached:,} in {self.orphan_count:,} chains that no id leads to)"
            + (", table made anew" if self.repaired else "")
        ]
        lines += [f"  {each.file}.db:{each.position} id {each.id or '?'}: {each.why}" for each in self.faults]
        if self.fault_count > len(self.faults):
            lines.append(f"  ... and {self.fault_count - len(self.faults):,} more")
        if self.uncertain:
            shown = ", ".join(map(str, self.uncertain[:20])) + (" ..." if len(self.uncertain) > 20 else "")
            lines.append(f"  perhaps deleted by another program: {shown}")
        return "\n".join(lines)


def check(db: OurDB, *, repair: bool) -> Report:
    """Read every record of a database, while others write.

    Args:
        db: the database.
        repair: whether to make the table anew from the data files first.
    """
    if repair:
        rebuild.repair(db)
    for _ in range(rebuild.ATTEMPTS):
        report, generation = _read(db)
        if db.generation == generation:
            break
    else:  # somebody compacts all the time
        with db.lock.held(db.lock_timeout):
            report, _ = _read(db)
    report.repaired = repair
    return report


def _read(db: OurDB) -> tuple[Report, int]:
    """Read everything that is written now; return the generation, too, in which the report is true."""
    report = Report(str(db.path))
    with db.lock.held(db.lock_timeout):
        db.current_view()
        with contextlib.suppress(ForeignTruncation):
            db.current_state()
        view = db.current_view()
        state = db.state_file.read() or EMPTY
        view.files.open_all()
    if state.truncated:
        report.add(Fault(0, state.end >> 32, 0, "another program has cut a data file: read-only until repaired"))
    report.uncertain = marks.read(db.path, marks.UNCERTAIN)
    reached: set[int] = set()
    for id, location in view.table.items():
        while location:
            faults, readable, places = _read_chain(db, id, location, view, reached)
            now = view.table.get(id)
            if now == location or not faults:  # else it was deleted or updated while we read
                break
            location = now
        if location:
            reached |= places
            report.ids += readable
            for fault in faults:
                report.add(fault)
    _read_files(db, report, reached, view.files, 1 << 48 if state.truncated else state.end)
    return report, view.generation


def _read_chain(db: OurDB, id: int, tip: int, view: View, reached: set[int]) -> tuple[list[Fault], bool, set[int]]:
    """Return what is wrong with a record's versions, whether one of them can be read, and where they are."""
    faults: list[Fault] = []
    others: list[Fault] = []
    places: set[int] = set()
    version = None
    readable = False
    names = 0
    for version in db.versions(id, tip, 1 << 30, view):
        where = version.location >> 32, version.location & 0xFFFF_FFFF
        if version.location in reached:
            faults.append(Fault(id, *where, "it is a version of another id, too"))
            return faults, readable, places
        places.add(version.location)
        readable = readable or version.ok
        if not version.ok:
            faults.append(Fault(id, *where, UNFIT))
        elif db.id_of is not None:
            names = db.id_of(version.data)
            if names not in (0, id):
                others.append(Fault(id, *where, f"it is a record of id {names}"))
    if names:  # one that began without an id may be called otherwise by the program that wrote it
        faults += others
    if version is not None and version.previous and version.ok:
        at = version.previous
        why = f"no version of it is at {at >> 32}.db:{at & 0xFFFF_FFFF}, where its header says"
        faults.append(Fault(id, version.location >> 32, version.location & 0xFFFF_FFFF, why))
    file, position = tip >> 32, tip & 0xFFFF_FFFF
    if not readable and view.files.read(file, position, HEADER) != bytes(HEADER):  # else another program deleted it
        faults.append(Fault(id, file, position, "no version of it can be read"))
    return faults, readable, places


def _read_files(db: OurDB, report: Report, reached: set[int], files: DataFiles, end: int) -> None:
    """Go through the data files: what is no record, and which records no id leads to."""
    unreached: dict[int, tuple[int, int]] = {}
    gaps: list[walk.Gap] = []
    for number in files.numbers():
        size = files.size(number)
        report.bytes += min(size, end & 0xFFFF_FFFF) if number == end >> 32 else size
        for found in walk.walk(files, number, 1, db.max_record):
            if found.location >= end:
                break
            if isinstance(found, walk.Gap):
                if found.location not in reached:
                    gaps.append(found)
                continue
            report.versions += 1
            if found.location not in reached and walk.deletion(found) is None:
                unreached[found.location] = HEADER + len(found.data), found.previous
    with db.lock.held(db.lock_timeout):
        pass  # who was deleting when we read the table has erased the rest now
    orphans: set[int] = set()
    for location, (size, previous) in unreached.items():
        if files.read(location >> 32, location & 0xFFFF_FFFF, HEADER) != bytes(HEADER):
            report.unreached += size
            orphans.discard(previous)
            orphans.add(location)
    for gap in gaps:
        if rebuild.confirmed(db, gap):
            why = f"{gap.end - gap.location:,} bytes are no record"
            report.add(Fault(0, gap.location >> 32, gap.location & 0xFFFF_FFFF, why))
            report.gap_count += 1
    report.orphan_count = len(orphans)
    report.orphans = [(place >> 32, place & 0xFFFF_FFFF) for place in sorted(orphans)[:MAX_TOLD]]
