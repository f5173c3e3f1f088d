"""Reading a whole database and telling what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from herojobs.ourdb import recovery
from herojobs.ourdb.format import HEADER

if TYPE_CHECKING:
    from herojobs.ourdb.db import OurDB

MAX_TOLD = 100
"""Faults told one by one; the rest is counted."""


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

    def __str__(self) -> str:
        state = "no fault" if self.ok else f"{self.fault_count:,} faults"
        lines = [
            f"{self.path}: {state}; {self.ids:,} ids, {self.versions:,} versions, {self.bytes:,} bytes"
            f" ({self.unreached:,} unreached)" + (", table made anew" if self.repaired else "")
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
    report.uncertain = recovery.uncertain(db)
    reached: set[int] = set()
    for id, location in db.table.items():
        whole = 0
        for version in db.chain(id, 1 << 30):
            reached.add(version.location)
            if not version.ok:
                where = version.location >> 32, version.location & 0xFFFF_FFFF
                report.add(Fault(id, *where, "its data doesn't fit its CRC, or the file ends inside it"))
            whole += version.ok
        if not whole:
            report.add(Fault(id, location >> 32, location & 0xFFFF_FFFF, "no version of it can be read"))
        else:
            report.ids += 1
    numbers = db.files.numbers()
    for number in numbers:
        size = db.files.size(number)
        report.bytes += size
        for found in recovery.walk(db, number, 1):
            if isinstance(found, recovery.Gap):
                if found.location not in reached:
                    why = f"{found.end - found.location:,} bytes are no record"
                    report.add(Fault(0, number, found.location & 0xFFFF_FFFF, why))
                continue
            report.versions += 1
            if found.location not in reached and not (found.previous and recovery.deleted_id(found.data)):
                report.unreached += HEADER + len(found.data)
    return report
