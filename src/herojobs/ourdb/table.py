"""The lookup table: for each id the location of its newest version (OurDB format A4, C2).

The file is sparse: its apparent size covers every possible id, on the disk are the pages in use. It is read by `pread`
and written by `pwrite`, not through a memory map: on a full disk a store into a map kills the process, on a full tmpfs
even a look at a hole does. It never gets shorter.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from herojobs.ourdb.format import pack_locations, unpack_location

PAGE = 4096

DENSE = 16
"""Entries that `get_many` reads along for each that it needs, rather than read one by one."""

BLOCK = 16_384
"""Entries that `blocks` reads at once."""

Run = tuple[int, bytes]
"""Successive entries: the first id, and their bytes."""

_six = struct.Struct(">HI")


def locations(entries: bytes, key_size: int) -> list[int]:
    """Return what successive entries hold."""
    if key_size == 6:
        return [file << 32 | position for file, position in _six.iter_unpack(entries)]
    return [unpack_location(entries[at : at + key_size]) for at in range(0, len(entries), key_size)]


def runs(ids: Sequence[int]) -> list[tuple[int, int]]:
    """Return start and end of the runs of consecutive ids, together all of them."""
    if ids and is_run(ids):
        return [(0, len(ids))]
    found = []
    start = 0
    for place in range(1, len(ids) + 1):
        if place == len(ids) or ids[place] - ids[start] != place - start:
            found.append((start, place))
            start = place
    return found


def is_run(ids: Sequence[int]) -> bool:
    """Return whether ids, at least one, are consecutive."""
    return ids[-1] - ids[0] == len(ids) - 1 and list(ids) == list(range(ids[0], ids[-1] + 1))


class Table:
    """The table of one database.

    Args:
        path: the file; made if it isn't there.
        key_size: bytes an entry.
        length: number of entries; ids run from 0 to `length` - 1.
    """

    def __init__(self, path: Path, key_size: int, length: int) -> None:
        self.key_size = key_size
        self.length = length
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        size = key_size * length
        if os.fstat(self._fd).st_size < size:
            os.ftruncate(self._fd, size)

    def get(self, id: int) -> int:
        """Return the location of an id's newest version, 0 if it has none."""
        size = self.key_size
        return unpack_location(os.pread(self._fd, size, id * size))

    def get_many(self, ids: Sequence[int]) -> list[int]:
        """Return the locations of many ids."""
        if len(ids) < 2:
            return [self.get(id) for id in ids]
        size = self.key_size
        lowest, highest = min(ids), max(ids)
        if highest - lowest > DENSE * len(ids):
            return [self.get(id) for id in ids]
        raw = os.pread(self._fd, (highest - lowest + 1) * size, lowest * size)
        if is_run(ids) and len(raw) == len(ids) * size:
            return locations(raw, size)
        places = [(id - lowest) * size for id in ids]
        from_bytes = int.from_bytes  # file << 32 | position is the six bytes as they stand
        return [from_bytes(raw[at : at + size], "big") for at in places]

    def raw(self, first: int, end: int) -> bytes:
        """Return the entries from one id to before another."""
        size = self.key_size
        data = bytearray((end - first) * size)
        view, done = memoryview(data), 0
        while done < len(data):
            read = os.preadv(self._fd, [view[done:]], first * size + done)
            if not read:
                break
            done += read
        return bytes(data)

    def put_many(self, entries: Mapping[int, int], *, new: bool = False) -> list[Run]:
        """Write entries, all or none; runs of consecutive ids by one system call each.

        Args:
            entries: locations by id.
            new: whether all of them are zero so far, as those of new records are.

        Returns:
            what was there before, for `restore`.
        """
        size = self.key_size
        if len(entries) == 1:
            ((id, location),) = entries.items()
            old = bytes(size) if new else os.pread(self._fd, size, id * size)
            if os.pwrite(self._fd, location.to_bytes(size, "big"), id * size) == size:
                return [(id, old)]
        ids = list(entries)
        data = b"".join(pack_locations(entries.values(), size))
        before: list[Run] = []
        try:
            for start, end in runs(ids):
                first, length = ids[start], (end - start) * size
                before.append((first, bytes(length) if new else os.pread(self._fd, length, first * size)))
                self._write(first, data[start * size : end * size])
        except BaseException:
            with contextlib.suppress(OSError):
                self.restore(before)
            raise
        return before

    def restore(self, before: Sequence[Run]) -> None:
        """Undo a `put_many`."""
        for first, data in reversed(before):
            self._write(first, data)

    def blocks(self) -> Iterator[tuple[int, bytes]]:
        """Yield the pieces of the table that are in use: the first id, and the entries; holes are passed over."""
        step = self.key_size * BLOCK
        end = self.key_size * self.length
        at = 0
        while at < end:
            try:
                at = os.lseek(self._fd, at, os.SEEK_DATA) // step * step
            except OSError:  # no more data
                return
            yield at // self.key_size, os.pread(self._fd, min(step, end - at), at)
            at += step

    def items(self) -> Iterator[tuple[int, int]]:
        """Yield id and location of every entry in use, in order of ids."""
        for first, block in self.blocks():
            for id, location in enumerate(locations(block, self.key_size), first):
                if location:
                    yield id, location

    def straddles(self, id: int) -> bool:
        """Return whether an entry lies on two pages, of which a power cut may have kept one."""
        return id * self.key_size // PAGE != (id * self.key_size + self.key_size - 1) // PAGE

    def sync(self) -> None:
        """Have the disk hold what was written."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)
        self._fd = -1

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            with contextlib.suppress(OSError):
                os.close(self._fd)

    def _write(self, first: int, data: bytes) -> None:
        at = first * self.key_size
        written = os.pwrite(self._fd, data, at)
        while written < len(data):
            written += os.pwrite(self._fd, data[written:], at + written)
