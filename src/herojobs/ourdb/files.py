"""The data files `0.db`, `1.db` ...: descriptors kept open, reads by `pread`, appends whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from herojobs.ourdb.errors import DiskFull
from herojobs.ourdb.format import MAX_FILES

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Error numbers that mean that there is no room."""


class DataFiles:
    """The data files of one database.

    Its descriptors are closed when nobody holds the object any more, so that a thread which reads isn't disturbed when
    another one opens what a compaction has put in place.

    Args:
        folder: the database's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._prefix = f"{folder}{os.sep}"
        self._open: dict[int, int] = {}
        self._closed = False

    def path(self, number: int) -> Path:
        """Return the path of a data file."""
        return self._folder / f"{number}.db"

    def numbers(self) -> list[int]:
        """Return the numbers of the files that there are, in order."""
        found = []
        for name in os.listdir(self._folder):
            stem, dot, ending = name.partition(".")
            if dot and ending == "db" and stem.isdecimal() and stem == str(int(stem)) and int(stem) < MAX_FILES:
                found.append(int(stem))
        return sorted(found)

    def exists(self, number: int) -> bool:
        """Return whether there is such a file."""
        return os.access(f"{self._prefix}{number}.db", os.F_OK)

    def size(self, number: int) -> int:
        """Return a file's length, 0 if there is none."""
        try:
            return os.lseek(self._open.get(number) or self._fd(number), 0, os.SEEK_END)
        except FileNotFoundError:
            return 0

    def read(self, number: int, position: int, length: int) -> bytes:
        """Return up to `length` bytes from a place; fewer at the file's end, none if there is no such file."""
        fd = self._open.get(number)
        if fd is None:
            try:
                fd = self._fd(number)
            except FileNotFoundError:
                return b""
        return os.pread(fd, length, position)

    def append(self, number: int, position: int, data: bytes) -> None:
        """Write data at a file's end, which is at `position`; position 0 makes the file.

        Raises:
            DiskFull: it doesn't fit; the file is as it was.
        """
        try:
            fd = self._create(number) if position == 0 else self._fd(number)
            written = os.pwrite(fd, data, position)
            while written < len(data):
                written += os.pwrite(fd, data[written:], position + written)
        except FileExistsError:
            raise
        except BaseException as e:
            with contextlib.suppress(OSError):
                self.cut(number, position)
            if isinstance(e, OSError) and e.errno in FULL:
                raise DiskFull(f"{self.path(number)}: {os.strerror(e.errno or 0)}; nothing was written") from e
            raise

    def overwrite(self, number: int, position: int, data: bytes) -> None:
        """Write over bytes that are there already."""
        os.pwrite(self._fd(number), data, position)

    def cut(self, number: int, length: int) -> None:
        """Make a file shorter again; length 0 removes it."""
        if length == 0:
            fd = self._open.pop(number, None)
            if fd is not None:
                os.close(fd)
            self.path(number).unlink(missing_ok=True)
        else:
            os.ftruncate(self._fd(number), length)

    def sync(self, number: int) -> None:
        """Have the disk hold a file's data."""
        os.fdatasync(self._fd(number))

    def open_all(self) -> list[int]:
        """Open every file and return their numbers, so that what is read later is what is there now."""
        numbers = self.numbers()
        for number in numbers:
            with contextlib.suppress(FileNotFoundError):
                self._fd(number)
        return numbers

    def close(self) -> None:
        """Close all descriptors; nothing can be read any more."""
        self._closed = True
        while self._open:
            os.close(self._open.popitem()[1])

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            self.close()

    def _fd(self, number: int) -> int:
        fd = self._open.get(number)
        if fd is None:
            if self._closed:
                raise OSError(errno.EBADF, "the database was closed")
            fd = self._keep(number, os.open(f"{self._prefix}{number}.db", os.O_RDWR | os.O_CLOEXEC))
        return fd

    def _create(self, number: int) -> int:
        # Never truncated, as the originals do when reopened; an empty one is what a writer left that died here.
        fd = os.open(f"{self._prefix}{number}.db", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if os.fstat(fd).st_size:
            os.close(fd)
            raise FileExistsError(f"{self.path(number)} has data already")
        fd = self._keep(number, fd)
        sync_folder(self._folder)
        return fd

    def _keep(self, number: int, fd: int) -> int:
        kept = self._open.setdefault(number, fd)
        if kept != fd:  # another thread was first
            os.close(fd)
        return kept


def sync_folder(folder: Path) -> None:
    """Have the disk hold the names in a folder."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replace(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Write a file whole or not at all: under another name first, then renamed."""
    temporary = path.with_name(f"{path.name}.new")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        if sync:
            os.fdatasync(file.fileno())
    temporary.replace(path)
