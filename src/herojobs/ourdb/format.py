"""The bytes of a database (OurDB format A1 to A4): headers, locations, key sizes.

A location is where a record's header starts. In this package it is one integer, file number << 32 | position, and 0
stands for none: position 0 is never used.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from zlib import crc32

HEADER = 12
MAX_FILES = 65_536
KEY_SIZES = (2, 3, 4, 6)

_header = struct.Struct("<HI")
_whole = struct.Struct("<HI6s")
_first = struct.Struct("<HI6x")

header_fields = _whole.unpack_from
"""Return size, CRC and the six bytes of the previous location of the header that starts at an offset of some bytes."""


class Header(NamedTuple):
    """A record's header: size modulo 65,536, CRC-32 of the data, location of the version before (0 = first)."""

    size: int
    crc: int
    previous: int


def pack_header(data: bytes, previous: int) -> bytes:
    """Return the header of a record."""
    if not previous:
        return _first.pack(len(data) & 0xFFFF, crc32(data))
    return _header.pack(len(data) & 0xFFFF, crc32(data)) + previous.to_bytes(6, "big")


def pack_headers(data: Sequence[bytes], sizes: Sequence[int], previous: Sequence[int] | None) -> list[bytes]:
    """Return the headers of many records; `previous` as in `pack_header` for each, or None: all are first versions."""
    if max(sizes) > 0xFFFF:
        sizes = [size & 0xFFFF for size in sizes]
    if previous is None:
        return list(map(_first.pack, sizes, map(crc32, data)))
    return list(map(_whole.pack, sizes, map(crc32, data), pack_locations(previous, 6)))


def unpack_header(raw: bytes, at: int = 0) -> Header:
    """Return the header that starts at an offset of some bytes."""
    size, crc = _header.unpack_from(raw, at)
    return Header(size, crc, int.from_bytes(raw[at + 6 : at + 12], "big"))


def size_and_crc(raw: bytes, at: int) -> tuple[int, int]:
    """Return the first two fields of the header that starts at an offset of some bytes."""
    size, crc = _header.unpack_from(raw, at)
    return size, crc


def pack_location(location: int, key_size: int) -> bytes:
    """Return a location as a lookup entry.

    Raises:
        OverflowError: the key size can't name it.
    """
    return location.to_bytes(key_size, "big")  # below six bytes file 0 only: any other number overflows


def pack_locations(locations: Iterable[int], key_size: int) -> list[bytes]:
    """Return locations as lookup entries. Raises as `pack_location`."""
    return [location.to_bytes(key_size, "big") for location in locations]


def unpack_location(raw: bytes) -> int:
    """Return the location in a lookup entry, 0 if it is empty."""
    return int.from_bytes(raw, "big")  # of six bytes, too: two of the file number, four of the position


def key_size_for(record_nr_max: int, record_size_max: int) -> int:
    """Return the key size that the originals choose for these limits, their 32-bit wrap-around included (A4)."""
    product = record_nr_max * record_size_max & 0xFFFF_FFFF
    if product // 2 > 10_000_000:
        return 6
    if record_nr_max < 65_536:
        return 2
    return 3 if record_nr_max < 16_777_216 else 4


def fit(data: bytes, header: Header, at: int = 0, limit: int | None = None) -> int:
    """Return the length of the data that the header's CRC fits, -1 if none does.

    The originals write the length modulo 65,536, so longer values are found by trying (C5).

    Args:
        data: bytes that hold the data from `at` on.
        header: the record's header.
        at: where the data starts.
        limit: longest length to try; default all there is.
    """
    room = len(data) - at if limit is None else min(limit, len(data) - at)
    length = header.size
    if length > room:
        return -1
    view = memoryview(data)
    crc = crc32(view[at : at + length])
    while crc != header.crc or length == 0:
        if length + 65_536 > room:
            return -1
        crc = crc32(view[at + length : at + length + 65_536], crc)
        length += 65_536
    return length
