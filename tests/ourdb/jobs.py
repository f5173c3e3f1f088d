"""Records like the job layer's, for tests and for the processes that tests start: it imports nothing heavy."""

from __future__ import annotations

import re
from pathlib import Path

from herojobs.ourdb import OurDB


def id_of(data: bytes) -> int:
    match = re.match(rb'\{"jobid":(\d+)', data)
    return int(match[1]) if match else 0


def job(id: int, text: str = "x") -> bytes:
    return b'{"jobid":%d,"text":"%s"}' % (id, text.encode())


def fill(folder: Path, count: int = 6) -> list[int]:
    """Make a database of some jobs, one of them with three versions; return where its records start."""
    with OurDB(folder, id_of=id_of) as db:
        db.add_many([job] * count)
        db.set(2, job(2, "second"))
        db.set(2, job(2, "third"))
        return [version.location for version in db.scan()]
