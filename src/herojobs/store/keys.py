"""Jobs of which there is to be one: which job has which key, so that a second submission finds the first one.

A job carries its keys itself (`Job.idempotency_key`, `Job.unique_key`), and whether a key is taken is told by the job
that took it: is it there, is it over. So no lock can outlive its job, whatever is killed, deleted or wiped. A file
`keys.sqlite3` beside a queue's database only remembers the id of the latest job of each key; it is derived, and made
anew from OurDB when it is missing or damaged.

All is done under OurDB's write lock of the queue, which every submission takes anyway. The row of a new job is written
before the job: should the process die in between, it points to an id that nobody has, or that another job gets, which
doesn't carry the key.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from herojobs import job as jobs
from herojobs.errors import JobExists
from herojobs.job import Job, JobStatus, now_ms
from herojobs.names import Queue
from herojobs.settings import Settings
from herojobs.store.jobs import JobStore, decoded

IDEMPOTENCY, UNIQUE = 0, 1
MAX_OPEN = 32
"""Files that stay open."""
SWEPT = 4
"""Old keys that are looked at, and dropped if nothing holds them, for each new one; so the files stay small."""

_TABLE = "CREATE TABLE IF NOT EXISTS keys (kind INTEGER, key TEXT, id INTEGER, PRIMARY KEY (kind, key))"
_BUSY = 10.0


class Kept(NamedTuple):
    """What became of a job that was to be stored.

    Attributes:
        job: the job; another one than was given if its key was taken.
        data: its JSON, as stored.
        is_new: whether it was stored now.
    """

    job: Job
    data: bytes
    is_new: bool


class Row(NamedTuple):
    """A key of a kind, and the id of the latest job that has it."""

    kind: int
    key: str
    id: int


class KeyedJobs:
    """Stores jobs that have keys. Safe for threads and processes.

    Args:
        settings: how long idempotency keys hold.
        store: where the jobs are.
    """

    def __init__(self, settings: Settings, store: JobStore) -> None:
        self._settings = settings
        self._store = store
        self._files: dict[Queue, _KeyFile] = {}
        self._guard = threading.Lock()

    def add_many(self, queue: Queue, new: Sequence[Job], *, must_be_new: bool = False) -> list[Kept]:
        """Store jobs, except those whose key another one has; return what is stored of each, in order.

        Raises:
            JobExists: `must_be_new`, and a key is taken; nothing was written.
            InvalidJob, ParamsTooLarge, OurDBError: as `Store.add_many`.
        """
        try:
            return self._add_many(queue, new, must_be_new)
        except sqlite3.OperationalError as e:
            raise OSError(f"{self._path(queue)}: {e}") from None
        except sqlite3.Error:
            pass
        with self._guard:  # damaged: made anew, it is derived
            self._files.pop(queue, None)
        _remove(self._path(queue))
        return self._add_many(queue, new, must_be_new)

    def _add_many(self, queue: Queue, new: Sequence[Job], must_be_new: bool) -> list[Kept]:
        now = now_ms()
        with self._store.writing(queue):
            file = self._file(queue)
            taken: dict[tuple[int, str], Job] = {}
            answer: list[Job] = []
            fresh: list[Job] = []
            for job in new:
                keys = _keys(job)
                holder = next((taken[key] for key in keys if key in taken), None) or self._holder(
                    queue, file.ids(keys), now
                )
                if holder is not None and must_be_new:
                    raise JobExists(holder.ref if holder.job_id else f"{queue} (in this very call)")
                if holder is None:
                    holder = job
                    fresh.append(job)
                taken |= dict.fromkeys(keys, holder)
                answer.append(holder)
            first = self._store.next_id(queue)
            rows = [(*key, first + place) for place, job in enumerate(fresh) for key in _keys(job)]
            if rows:
                file.put(rows, drop=self._unheld(queue, file.some(SWEPT * len(rows)), now))
            written = self._store.add_many(queue, fresh) if fresh else []
            if fresh and fresh[0].job_id != first:
                file.put([(*key, job.job_id) for job in fresh for key in _keys(job)])
        stored = {id(job): data for job, data in zip(fresh, written, strict=True)}
        return [Kept(job, stored.get(id(job)) or jobs.encode(job), id(job) in stored) for job in answer]

    def take(self, queue: Queue, job: Job) -> None:
        """Give a job that shall run again its keys back; call it within `store.writing(queue)`.

        Raises:
            JobExists: another job has its unique key now.
        """
        if not job.unique_key:
            return
        file = self._file(queue)
        key = (UNIQUE, job.unique_key)
        holder = self._holder(queue, [(UNIQUE, id) for _, id in file.ids([key]) if id != job.job_id], now_ms())
        if holder is not None:
            raise JobExists(holder.ref)
        file.put([(*key, job.job_id)])

    def close(self) -> None:
        """Close the files."""
        with self._guard:
            for file in self._files.values():
                file.close()
            self._files.clear()

    def _holder(self, queue: Queue, ids: Iterable[tuple[int, int]], now: int) -> Job | None:
        for kind, id in ids:
            job = self._store.get_many(queue, [id])[0]
            if job is not None and self._holds(job, kind, now):
                return job
        return None

    def _holds(self, job: Job, kind: int, now: int) -> bool:
        """Return whether a job holds its key of a kind."""
        if kind == IDEMPOTENCY:
            return bool(job.idempotency_key) and now < job.created_ms + self._settings.idempotency_ttl * 1000
        if not job.unique_key:
            return False
        if isinstance(job.unique_until, int):
            return now < job.created_ms + job.unique_until * 1000
        if job.unique_until == "started":
            return job.status == JobStatus.NEW and not job.time_start
        return not job.is_over

    def _unheld(self, queue: Queue, rows: Iterable[Row], now: int) -> list[Row]:
        return [row for row in rows if self._holder(queue, [(row.kind, row.id)], now) is None]

    def _file(self, queue: Queue) -> _KeyFile:
        path = self._path(queue)
        with self._guard:
            file = self._files.pop(queue, None)
            if file is None or not file.is_current():
                file = _KeyFile(path, full=self._settings.sync == "always")
            self._files[queue] = file
            while len(self._files) > MAX_OPEN:
                self._files.pop(next(iter(self._files)))  # closed by who has it, if it is in use in this moment
        if file.is_empty:
            file.put(self._found(queue))
            file.is_empty = False
        return file

    def _path(self, queue: Queue) -> Path:
        return self._store.path(queue).with_name("keys.sqlite3")

    def _found(self, queue: Queue) -> list[tuple[int, str, int]]:
        """Return the rows of all jobs that have keys, from OurDB."""
        rows: dict[tuple[int, str], int] = {}
        for version in self._store.scan(queue):
            data = version.data
            if version.id and data and (b'"idempotency_key"' in data or b'"unique_key"' in data):
                job = decoded(data)
                for key in _keys(job) if job is not None else ():
                    rows[key] = max(version.id, rows.get(key, 0))
        return [(*key, id) for key, id in rows.items()]


class _KeyFile:
    """The file of one queue. Used by one thread at a time: the caller holds the queue's write lock."""

    def __init__(self, path: Path, full: bool) -> None:
        self._path = path
        self._pid = os.getpid()
        self._cursor = 0
        try:
            self._db = self._open(full)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:  # damaged
            _remove(path)
            self._db = self._open(full)
        self.is_empty = self._db.execute("PRAGMA user_version").fetchone() == (0,)
        """Whether it was just made, so that it must be filled from OurDB first."""
        self._inode = os.stat(path).st_ino

    def _open(self, full: bool) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
            db.execute(_TABLE)
            db.execute("SELECT count(*) FROM keys").fetchone()
        except BaseException:
            db.close()
            raise
        return db

    def is_current(self) -> bool:
        """Return whether the file is still there, and was opened by this process."""
        try:
            return self._pid == os.getpid() and self._inode == os.stat(self._path).st_ino
        except FileNotFoundError:
            return False

    def ids(self, keys: Iterable[tuple[int, str]]) -> list[tuple[int, int]]:
        """Return kind and id of the latest job of each key that has one."""
        found = []
        for kind, key in keys:
            row = self._db.execute("SELECT id FROM keys WHERE kind = ? AND key = ?", (kind, key)).fetchone()
            if row:
                found.append((kind, int(row[0])))
        return found

    def put(self, rows: Sequence[tuple[int, str, int]], drop: Sequence[Row] = ()) -> None:
        """Forget some keys, and note the latest jobs of others, in one commit."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany("DELETE FROM keys WHERE kind = ? AND key = ? AND id = ?", drop)
            self._db.executemany("INSERT OR REPLACE INTO keys VALUES (?, ?, ?)", rows)
            self._db.execute("PRAGMA user_version = 1")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def some(self, count: int) -> list[Row]:
        """Return the next rows of all, in turn."""
        rows = self._db.execute(
            "SELECT rowid, kind, key, id FROM keys WHERE rowid > ? ORDER BY rowid LIMIT ?", (self._cursor, count)
        ).fetchall()
        self._cursor = rows[-1][0] if len(rows) == count and rows else 0
        return [Row(*row[1:]) for row in rows]

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _remove(path: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        Path(f"{path}{ending}").unlink(missing_ok=True)


def has_keys(job: Job) -> bool:
    """Return whether there is to be one job of a key that this one has."""
    return bool(job.idempotency_key or job.unique_key)


def _keys(job: Job) -> list[tuple[int, str]]:
    keys = []
    if job.idempotency_key:
        keys.append((IDEMPOTENCY, job.idempotency_key))
    if job.unique_key:
        keys.append((UNIQUE, job.unique_key))
    return keys
