"""The outbox: what is to be told to whom, in a SQLite database of the home.

What was read of the job databases and what follows from it are one transaction, so a sender that is killed goes on from
there: nothing is left out, and what was told but not yet noted is told once more.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from herojobs.names import Queue

KEEP_MS = 2 * 86_400_000
"""Milliseconds that what was sent is remembered, so that a compaction doesn't make it be sent again."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS cursor (
    circle TEXT, topic TEXT, generation INTEGER, location INTEGER, PRIMARY KEY (circle, topic)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS delivery (
    n INTEGER PRIMARY KEY, target TEXT NOT NULL, ref TEXT NOT NULL, event TEXT NOT NULL, key TEXT NOT NULL,
    job BLOB, at_ms INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'waiting', tries INTEGER NOT NULL DEFAULT 0,
    due_ms INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT '', UNIQUE (target, ref, key)
);
CREATE INDEX IF NOT EXISTS delivery_due ON delivery (state, target, due_ms);
"""


class Cursor(NamedTuple):
    """How far a queue's database was read."""

    generation: int
    location: int


class Change(NamedTuple):
    """A change of a job's state.

    Attributes:
        target: who is to be told.
        ref: the job.
        event: submitted, started, retrying, done or error.
        key: tells this change from all others of the job.
        job: the job as it was then, as JSON.
        at_ms: when it was seen, unix milliseconds.
    """

    target: str
    ref: str
    event: str
    key: str
    job: bytes
    at_ms: int


class Delivery(NamedTuple):
    """A change that is to be told; `n` grows, `tries` were made so far."""

    n: int
    target: str
    ref: str
    event: str
    key: str
    job: bytes
    at_ms: int
    tries: int


class TargetState(NamedTuple):
    """How a target stands: deliveries that wait, were sent lately, have failed for good; and the latest error."""

    target: str
    waiting: int
    sent: int
    failed: int
    error: str


class Outbox:
    """The outbox of a home. For one thread.

    Args:
        path: its file.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, timeout=10, isolation_level=None)
        path.chmod(0o600)  # it holds jobs
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)

    @property
    def has_begun(self) -> bool:
        """Whether queues are followed already; if not, what is in them now is of the past."""
        return bool(self._db.execute("PRAGMA user_version").fetchone()[0])

    def begin(self) -> None:
        """Note that queues are followed from now on."""
        self._db.execute("PRAGMA user_version = 1")

    def cursors(self) -> dict[Queue, Cursor]:
        """Return how far each queue was read."""
        return {Queue(row[0], row[1]): Cursor(*row[2:]) for row in self._db.execute("SELECT * FROM cursor")}

    def take_in(self, queue: Queue, cursor: Cursor, changes: Iterable[Change]) -> None:
        """Note changes, those that are known left out, and how far the queue was read."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany(
                "INSERT OR IGNORE INTO delivery (target, ref, event, key, job, at_ms) VALUES (?, ?, ?, ?, ?, ?)",
                changes,
            )
            self._db.execute("INSERT OR REPLACE INTO cursor VALUES (?, ?, ?, ?)", (*queue, *cursor))
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def due(self, target: str, now: int, limit: int) -> list[Delivery]:
        """Return what is to be told to a target now, the oldest first."""
        rows = self._db.execute(
            "SELECT n, target, ref, event, key, job, at_ms, tries FROM delivery"
            " WHERE state = 'waiting' AND target = ? AND due_ms <= ? ORDER BY n LIMIT ?",
            (target, now, limit),
        )
        return [Delivery(*row) for row in rows]

    def settle(
        self, sent: Sequence[int], again: Sequence[tuple[int, int, str]], failed: Sequence[tuple[int, str]]
    ) -> None:
        """Note what became of deliveries: sent; to be tried again at a time, after an error; given up for it."""
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany("UPDATE delivery SET state = 'sent', job = NULL WHERE n = ?", [(n,) for n in sent])
        self._db.executemany(
            "UPDATE delivery SET due_ms = ?, error = ?, tries = tries + 1 WHERE n = ?",
            [(due, error, n) for n, due, error in again],
        )
        self._db.executemany(
            "UPDATE delivery SET state = 'failed', error = ?, tries = tries + 1 WHERE n = ?",
            [(error, n) for n, error in failed],
        )
        self._db.execute("COMMIT")

    def forget(self, now: int, known: Sequence[str]) -> None:
        """Forget what was sent long ago, and what waits for targets that don't exist any more."""
        self._db.execute("DELETE FROM delivery WHERE state = 'sent' AND at_ms < ?", (now - KEEP_MS,))
        for (target,) in self._db.execute("SELECT DISTINCT target FROM delivery").fetchall():
            if target not in known:
                self._db.execute("DELETE FROM delivery WHERE target = ? AND state = 'waiting'", (target,))

    def resend(self) -> int:
        """Have what was given up be tried again, from now on; return how many."""
        changed = self._db.execute(
            "UPDATE delivery SET state = 'waiting', tries = 0, due_ms = 0 WHERE state = 'failed'"
        )
        return changed.rowcount

    def states(self) -> list[TargetState]:
        """Return how each target stands, by name."""
        rows: list[Any] = self._db.execute(
            "SELECT target, sum(state = 'waiting'), sum(state = 'sent'), sum(state = 'failed'),"
            " coalesce((SELECT error FROM delivery AS d WHERE d.target = delivery.target AND error <> ''"
            " AND state <> 'sent' ORDER BY n DESC LIMIT 1), '') FROM delivery GROUP BY target ORDER BY target"
        ).fetchall()
        return [TargetState(*row) for row in rows]

    def close(self) -> None:
        """Close the database."""
        self._db.close()


def outbox_path(home: Path) -> Path:
    """Return the file of a home's outbox."""
    return home / "var" / "outbox.sqlite3"
