"""The index's file: opened, made, and made anew when it is damaged, of another version or gone.

It is derived, so throwing it away loses nothing. What needs care is that other processes have it open meanwhile:
whoever uses a connection checks first that the file is still the one that it was opened for.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

VERSION = 3
"""Of the schema; an index of another version is made anew."""

BUSY = 30.0
"""Seconds to wait for another process that is making the file."""

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR})
"""Result codes of a file that is no database, or is cut off."""

_SETTINGS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA cell_size_check = ON",
    "PRAGMA cache_size = -2000",
    "PRAGMA temp_store = MEMORY",  # each row's statement would write its journal to a file
)


def statement(name: str) -> str:
    """Return the statement in `sql/<name>.sql`."""
    return files("herojobs.store").joinpath(f"sql/{name}.sql").read_text("utf-8")


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Return whether an error says that the file isn't a whole index."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED or str(error).startswith("no such")


@contextlib.contextmanager
def trouble_told(path: Path) -> Iterator[None]:
    """Tell what keeps SQLite from working with a file (a full disk, no permission, damage) as trouble with that file.

    Raises:
        OSError: there is such trouble in the block.
    """
    try:
        yield
    except sqlite3.IntegrityError:
        raise  # the content's fault, not the file's
    except sqlite3.DatabaseError as e:
        raise OSError(f"{path}: {e}") from e


class FileChanged(Exception):
    """The file was replaced while it was written to: what is known of its content isn't true of the new one."""


class IndexFile:
    """The file and this process's connection to it, used by one thread at a time.

    Args:
        path: the file; `<name>.lock` beside it is who may change it.

    Attributes:
        openings: counts connections: what is known of the content from before may not be true of another file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._inode = (0, 0)
        self.openings = 0

    @contextlib.contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Give a connection to a whole index, made if need be, for the block.

        Raises:
            sqlite3.DatabaseError: see `is_damage`; `discard` then helps.
        """
        with self._lock:
            if self._db is None or self._inode != _inode(self._path):
                self.close()
                self._db = self._open()
                self.openings += 1
            yield self._db

    @contextlib.contextmanager
    def changing(self, wait: float) -> Iterator[bool]:
        """Hold the lock of whoever changes the index for the block; False if another has it for `wait` seconds."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            yield _flock(fd, wait)
        finally:
            os.close(fd)

    def check(self) -> None:
        """Raise FileChanged if the file isn't the one that the connection was opened for."""
        if self._inode != _inode(self._path):
            raise FileChanged

    def discard(self) -> None:
        """Throw a damaged file away, unless somebody else has done it; the caller must not hold `changing`."""
        with self._lock:
            damaged = self._inode
            self.close()
            with self.changing(BUSY) as held:
                if held and damaged == _inode(self._path):
                    self._remove()

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    def _open(self) -> sqlite3.Connection:
        deadline = time.monotonic() + BUSY
        while True:
            db = self._connect()
            if db is not None:
                return db
            with self.changing(0.02) as held:
                if held and _inode(self._path) == (0, 0):
                    self._remove()  # its write-ahead log may be left over
                    self._make()
                elif held and (db := self._connect()) is not None:
                    return db
                elif held:
                    self._remove()
            if time.monotonic() > deadline:
                raise sqlite3.OperationalError(f"another process has been making it for {BUSY:.0f} s")

    def _connect(self) -> sqlite3.Connection | None:
        """Return a connection, None if the file isn't there or isn't of our version."""
        inode = _inode(self._path)
        if inode == (0, 0):
            return None
        db = sqlite3.connect(self._path, timeout=BUSY, isolation_level=None, check_same_thread=False)
        try:
            for setting in _SETTINGS:
                db.execute(setting)
            if db.execute("PRAGMA user_version").fetchone() == (VERSION,) and inode == _inode(self._path):
                self._inode = inode
                return db
        except sqlite3.DatabaseError as e:
            db.close()
            if not is_damage(e):
                raise
            return None
        db.close()
        return None

    def _remove(self) -> None:
        for ending in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self._path}{ending}")

    def _make(self) -> None:
        """Make the file under another name, so that nobody sees it half made."""
        made = self._path.with_suffix(".new")
        made.unlink(missing_ok=True)
        db = sqlite3.connect(made, isolation_level=None)
        try:
            db.executescript(f"BEGIN; {statement('schema')} PRAGMA user_version = {VERSION}; COMMIT;")
        finally:
            db.close()
        made.rename(self._path)


def _inode(path: Path) -> tuple[int, int]:
    """Return what tells a file from one that took its place, zeros if there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return 0, 0
    return found.st_dev, found.st_ino


def _flock(fd: int, wait: float) -> bool:
    deadline = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.005)
        else:
            return True
