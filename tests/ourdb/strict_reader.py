"""A reader of OurDB files written from the format alone; it shares no code with the package."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path


def versions(folder: Path, location: tuple[int, int]) -> list[bytes]:
    """Return a record's versions, the newest first, from the file number and position of its header."""
    found = []
    while location != (0, 0):
        number, position = location
        data = (folder / f"{number}.db").read_bytes()
        assert data[0] == 0
        size, crc = struct.unpack("<HI", data[position : position + 6])
        previous = struct.unpack(">HI", data[position + 6 : position + 12])
        body = data[position + 12 : position + 12 + size]
        assert len(body) == size
        assert zlib.crc32(body) == crc
        found.append(body)
        location = previous
    return found


def dump(folder: Path) -> tuple[dict[int, tuple[int, int]], int]:
    """Return location by id and the next id, from a dump as the original's importer demands it: ids without gaps."""
    data = (folder / "lookup_dump.db" / "data").read_bytes()
    text = (folder / "lookup_dump.db" / ".inc").read_text()
    assert text == str(int(text))
    assert len(data) % 10 == 0
    entries = {}
    for nth, at in enumerate(range(0, len(data), 10), 1):
        id, number, position = struct.unpack("<I", data[at : at + 4]) + struct.unpack(">HI", data[at + 4 : at + 10])
        assert id == nth
        entries[id] = (number, position)
    return entries, int(text)
