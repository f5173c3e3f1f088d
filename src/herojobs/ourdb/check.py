"""Reading a whole database and telling what is wrong with it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from herojobs.ourdb import marks, recovery, walk
from herojobs.ourdb.format import HEADER
from herojobs.ourdb.reading import UNFIT

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

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON knows it."""
        return {**asdict(self), "ok": self.ok}

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
    """Read every record of a database that the caller has locked.

    Args:
        db: the database.
        repair: whether to make the table anew from the data files first.
    """
    report = Report(str(db.path))
    if repair:
        recovery.rebuild(db)
        report.repaired = True
    report.uncertain = marks.read(db.path, marks.UNCERTAIN)
    state = db.state_file.read()
    if state is not None and state.truncated:
        report.add(Fault(0, state.end >> 32, 0, "another program has cut a data file: read-only until repaired"))
    reached: set[int] = set()
    for id, location in db.table.items():
        whole = 0
        for version in db.chain(id, 1 << 30):
            where = version.location >> 32, version.location & 0xFFFF_FFFF
            if version.location in reached:
                report.add(Fault(id, *where, "it is a version of another id, too"))
                break
            reached.add(version.location)
            if not version.ok:
                report.add(Fault(id, *where, UNFIT))
            elif db.id_of is not None and db.id_of(version.data) not in (0, id):
                report.add(Fault(id, *where, f"it is a record of id {db.id_of(version.data)}"))
            whole += version.ok
        if whole:
            report.ids += 1
            continue
        file, position = location >> 32, location & 0xFFFF_FFFF
        if db.files.read(file, position, HEADER) == bytes(HEADER):
            continue  # another program has deleted it
        report.add(Fault(id, file, position, "no version of it can be read"))
    _read_files(db, report, reached)
    return report


def _read_files(db: OurDB, report: Report, reached: set[int]) -> None:
    """Go through the data files: what is no record, and which records no id leads to."""
    orphans: set[int] = set()
    for number in db.files.numbers():
        report.bytes += db.files.size(number)
        for found in walk.walk(db.files, number, 1, db.max_record):
            if isinstance(found, walk.Gap):
                if found.location not in reached:
                    why = f"{found.end - found.location:,} bytes are no record"
                    report.add(Fault(0, number, found.location & 0xFFFF_FFFF, why))
                continue
            report.versions += 1
            if found.location not in reached and walk.deletion(found) is None:
                report.unreached += HEADER + len(found.data)
                orphans.discard(found.previous)
                orphans.add(found.location)
    report.orphan_count = len(orphans)
    report.orphans = [(place >> 32, place & 0xFFFF_FFFF) for place in sorted(orphans)[:MAX_TOLD]]
