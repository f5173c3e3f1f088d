"""The data files `0.db`, `1.db` ...: descriptors kept open, reads by `pread`, appends whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from herojobs.ourdb.errors import DiskFull
from herojobs.ourdb.format import MAX_FILES

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class DataFiles:
    """The data files of one database.

    Args:
        folder: the database's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[int, int] = {}

    def path(self, number: int) -> Path:
        """Return the path of a data file."""
        return self._folder / f"{number}.db"

    def numbers(self) -> list[int]:
        """Return the numbers of the files that there are, in order."""
        found = []
        for name in os.listdir(self._folder):
            stem, dot, ending = name.partition(".")
            if dot and ending == "db" and stem.isdigit() and stem == str(int(stem)) and int(stem) < MAX_FILES:
                found.append(int(stem))
        return sorted(found)

    def size(self, number: int) -> int:
        """Return a file's length, 0 if there is none."""
        try:
            return os.fstat(self._fd(number)).st_size
        except FileNotFoundError:
            return 0

    def read(self, number: int, position: int, length: int) -> bytes:
        """Return up to `length` bytes from a place; fewer at the file's end, none if there is no such file."""
        try:
            return os.pread(self._fd(number), length, position)
        except FileNotFoundError:
            return b""

    def append(self, number: int, position: int, data: bytes) -> None:
        """Write data at a file's end, which is at `position`; position 0 makes the file.

        Raises:
            DiskFull: it doesn't fit; the file is as it was.
        """
        fd = self._create(number) if position == 0 else self._fd(number)
        written = 0
        try:
            while written < len(data):
                written += os.pwrite(fd, data[written:] if written else data, position + written)
        except OSError as e:
            self.cut(number, position)
            if e.errno in _FULL:
                raise DiskFull(f"{self.path(number)}: {os.strerror(e.errno or 0)}; nothing was written") from e
            raise

    def overwrite(self, number: int, position: int, data: bytes) -> None:
        """Write over bytes that are there already."""
        os.pwrite(self._fd(number), data, position)

    def cut(self, number: int, length: int) -> None:
        """Make a file shorter again; length 0 removes it."""
        if length == 0:
            self._close(number)
            self.path(number).unlink(missing_ok=True)
        else:
            os.ftruncate(self._fd(number), length)

    def sync(self, number: int) -> None:
        """Have the disk hold a file's data."""
        os.fdatasync(self._fd(number))

    def close(self) -> None:
        """Close all descriptors."""
        for number in list(self._open):
            self._close(number)

    def _fd(self, number: int) -> int:
        fd = self._open.get(number)
        if fd is None:
            fd = os.open(self.path(number), os.O_RDWR | os.O_CLOEXEC)
            self._open[number] = fd
        return fd

    def _create(self, number: int) -> int:
        # Never truncated, as the originals do when reopened; an empty one is what a writer left that died here.
        fd = os.open(self.path(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if os.fstat(fd).st_size:
            os.close(fd)
            raise FileExistsError(f"{self.path(number)} has data already")
        self._open[number] = fd
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return fd

    def _close(self, number: int) -> None:
        fd = self._open.pop(number, None)
        if fd is not None:
            os.close(fd)
