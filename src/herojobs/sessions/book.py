"""The book of sessions: a small SQLite database that only its owner can read, shared by all processes of the home.

Every change is one transaction, flushed to the disk before it returns. A process keeps a copy in memory; SQLite's
`data_version`, a read of shared memory, tells before each look whether another process has changed the book since.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from hmac import compare_digest
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from herojobs.errors import SessionError
from herojobs.sessions.keys import id_in
from herojobs.sessions.session import Role, Session

BUSY = 10.0
"""Seconds to wait for another process that writes."""

_SESSIONS = "SELECT id, name, circles, role, created, expires, revoked, login FROM session ORDER BY created, id"
_KEYS = """
SELECT id, name, circles, role, created, session.expires, revoked, login, hash, key.expires
FROM session JOIN key ON session = id WHERE revoked = 0"""


class Key(NamedTuple):
    """A key of a session that holds: its hash, and the unix milliseconds from which on it is refused, 0 = never."""

    hash: bytes
    session: Session
    expires_ms: int


class Book:
    """The book; safe for threads.

    Args:
        folder: where it lies; made with the first session.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "sessions.sqlite3"
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._pid = 0
        self._version = -1
        self._copy: dict[str, list[Key]] = {}
        self._any = False

    def is_there(self) -> bool:
        """Return whether this home has a book; one that may not be looked at counts, and nobody gets in by it."""
        if self._db is not None:
            return True
        try:
            os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            pass
        return True

    def find(self, key: str, digested: bytes) -> Key | None:
        """Return what is known of a key, None if it is no key of a session that holds; expiry is the caller's."""
        id = id_in(key)
        if id is None:
            return None
        with self._lock:
            self._refresh()
            known = self._copy.get(id, ())
        # Hashes of 256 random bits tell nobody anything; compared in constant time all the same.
        return next((each for each in known if compare_digest(each.hash, digested)), None)

    def any(self) -> bool:
        """Return whether any session was ever made here, login links aside."""
        with self._lock:
            self._refresh()
            return self._any

    def sessions(self) -> list[Session]:
        """Return all sessions, revoked ones too, the oldest first."""
        with self.reading() as db:
            return [_session(row) for row in db.execute(_SESSIONS)]

    def keys(self) -> tuple[str, int, list[Key]]:
        """Return the book's name, its generation, and the keys of all sessions that hold."""
        with self._lock:
            self._refresh()
            book, generation = self._open().execute("SELECT book, generation FROM meta").fetchone()
            return book, generation, [key for keys in self._copy.values() for key in keys]

    @contextlib.contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """Give the database for the block, as one transaction that counts the generation up."""
        with self._lock, _told(self.path):
            db = self._open()
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("UPDATE meta SET generation = generation + 1")
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            self._version = -1

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give the database for the block."""
        with self._lock, _told(self.path):
            yield self._open()

    def close(self) -> None:
        """Close the database; the next use opens it again."""
        with self._lock:
            if self._db is not None and self._pid == os.getpid():
                self._db.close()
            self._db, self._version, self._copy = None, -1, {}

    def _refresh(self) -> None:
        """Bring the copy in memory up to date."""
        with _told(self.path):
            db = self._open()
            (version,) = db.execute("PRAGMA data_version").fetchone()
            if version == self._version:
                return
            db.execute("BEGIN")
            try:
                rows = db.execute(_KEYS).fetchall()
                (made,) = db.execute("SELECT EXISTS (SELECT 1 FROM session WHERE login = 0)").fetchone()
            finally:
                db.execute("COMMIT")
            copy: dict[str, list[Key]] = {}
            for *columns, digested, expires in rows:
                session = _session(columns)
                ends = [ms for ms in (session.expires_ms, expires) if ms]
                copy.setdefault(session.id, []).append(Key(digested, session, min(ends, default=0)))
            self._copy, self._any, self._version = copy, bool(made), version

    def _open(self) -> sqlite3.Connection:
        if self._db is None or self._pid != os.getpid():  # SQLite's connections don't survive a fork
            folder = self.path.parent
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Made by us, so that it is never readable by others, not for a moment.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            db = sqlite3.connect(self.path, timeout=BUSY, isolation_level=None, check_same_thread=False)
            try:
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = FULL")  # a revocation must outlive a power cut
                schema = files("herojobs.sessions").joinpath("sql/schema.sql").read_text("utf-8")
                db.executescript(f"BEGIN IMMEDIATE; {schema} COMMIT;")
                db.execute("INSERT OR IGNORE INTO meta VALUES (1, ?, 0)", (secrets.token_hex(8),))
            except BaseException:
                db.close()
                raise
            self._db, self._pid, self._version = db, os.getpid(), -1
        return self._db


def _session(row: Sequence[Any]) -> Session:
    id, name, circles, role, created, expires, revoked, login = row
    names = tuple(msgspec.json.decode(circles, type=list[str]))
    return Session(id, name, names, Role(role), created, expires, revoked, bool(login))


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Tell SQLite's trouble as ours."""
    try:
        yield
    except (sqlite3.Error, OSError) as e:
        raise SessionError(f"the sessions in {path} can't be read or changed: {e}") from e
