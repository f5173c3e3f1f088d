"""The lookup table: for each id the location of its newest version (OurDB format A4, C2).

The file is sparse: its apparent size covers every possible id, on the disk are the pages in use. It is read through a
shared memory map and written by `pwrite`, since a store into a map of a file that the full disk can't grow would kill
the process. It never gets shorter: a reader of the map beyond the file's end would be killed too.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from herojobs.ourdb.format import pack_location, unpack_location

PAGE = 4096


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
        self._map = mmap.mmap(self._fd, size, prot=mmap.PROT_READ)

    def get(self, id: int) -> int:
        """Return the location of an id's newest version, 0 if it has none."""
        size = self.key_size
        return unpack_location(self._map[id * size : id * size + size], size)

    def get_many(self, ids: Iterable[int]) -> list[int]:
        """Return the locations of many ids."""
        size, table = self.key_size, self._map
        if size == 6:
            from_bytes = int.from_bytes
            return [from_bytes(table[id * 6 : id * 6 + 6], "big") for id in ids]  # file << 32 | position as it stands
        return [self.get(id) for id in ids]

    def put_many(self, entries: Mapping[int, int]) -> None:
        """Write entries; runs of consecutive ids by one system call each."""
        size = self.key_size
        start = 0
        chunk: list[bytes] = []
        following = -1
        for id, location in entries.items():
            if id != following:
                if chunk:
                    self._write(start, chunk)
                start, chunk = id, []
            chunk.append(pack_location(location, size))
            following = id + 1
        if chunk:
            self._write(start, chunk)

    def items(self) -> Iterator[tuple[int, int]]:
        """Yield id and location of every entry in use, in order of ids; holes of the sparse file are passed over."""
        size = self.key_size
        end = size * self.length
        at = 0
        while at < end:
            try:
                at = os.lseek(self._fd, at, os.SEEK_DATA)
                stop = os.lseek(self._fd, at, os.SEEK_HOLE)
            except OSError:  # no more data
                return
            first, last = at // size, min(-(-stop // size), self.length)
            block = self._map[first * size : last * size]
            for id in range(first, last):
                raw = block[(id - first) * size : (id - first + 1) * size]
                if any(raw):
                    yield id, unpack_location(raw, size)
            at = last * size

    def straddles(self, id: int) -> bool:
        """Return whether an entry lies on two pages, of which a power cut may have kept one."""
        return id * self.key_size // PAGE != (id * self.key_size + self.key_size - 1) // PAGE

    def sync(self) -> None:
        """Have the disk hold what was written."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Close the file."""
        self._map.close()
        os.close(self._fd)
        self._fd = -1

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:  # the map goes by itself
            with contextlib.suppress(OSError):
                os.close(self._fd)

    def _write(self, first: int, chunk: list[bytes]) -> None:
        data = chunk[0] if len(chunk) == 1 else b"".join(chunk)
        at = first * self.key_size
        written = os.pwrite(self._fd, data, at)
        while written < len(data):
            written += os.pwrite(self._fd, data[written:], at + written)
