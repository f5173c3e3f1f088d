"""A derived index over the history of all jobs, in SQLite: listing, searching, and which jobs are open.

It is brought up to date from the append-only files when it is asked, never while jobs run through, and may be deleted
at any time. It keeps columns, not jobs: those are read from the store, so there is no second truth. Session keys are
never in it.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.resources import files
from typing import Any

from herojobs.errors import InvalidJob, did_you_mean
from herojobs.job import Job, JobStatus
from herojobs.names import Queue, fixed_name
from herojobs.ourdb import after
from herojobs.store.base import Found, Progress
from herojobs.store.jobs import JobStore, read

VERSION = 1
"""Of the schema; an index of another version is made anew."""
BATCH = 5_000
"""Versions a transaction."""
MAX_LIMIT = 1000
BUSY = 30.0
"""Seconds to wait for another process that brings the index up to date."""

_STATUSES = tuple(status.value for status in JobStatus)


class JobIndex:
    """The index; see `herojobs.store.base.Index` for the contract of each method. Safe for threads.

    Args:
        store: what it is derived from.
    """

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._path = store.index_path
        self._db: sqlite3.Connection | None = None
        self._lock = threading.RLock()

    def catch_up(
        self,
        queues: Iterable[Queue] | None = None,
        progress: Callable[[Progress], None] | None = None,
        *,
        text: bool = False,
    ) -> None:
        """Bring the index up to date with some queues.

        Args:
            queues: which; all if not given.
            progress: called after each batch.
            text: also what `find(text=...)` needs.
        """
        wanted = self._store.queues() if queues is None else list(queues)
        total = 0
        with self._lock:
            for done, queue in enumerate(wanted):
                steps = [self._catch_up(queue, "position", "generation", self._write_jobs)]
                if text:
                    steps.append(self._catch_up(queue, "text_position", "text_generation", self._write_words))
                for step in steps:
                    for count in step:
                        total += count
                        if progress is not None:
                            progress(Progress(queue, total, done, len(wanted)))

    def find(
        self,
        *,
        circle: str | None = None,
        topic: str | None = None,
        status: str | None = None,
        kind: str | None = None,
        reason: str | None = None,
        tag: str | None = None,
        since: int | None = None,
        until: int | None = None,
        text: str | None = None,
        limit: int = 100,
        before: str | None = None,
        fresh: bool = True,
    ) -> Found:
        """Return jobs that meet every condition given, the newest submission first; see `Index.find`.

        Raises:
            InvalidJob: a condition has an impossible value; the error names it.
        """
        if status is not None and status not in _STATUSES:
            raise InvalidJob("status", status, "no such status", did_you_mean(status, _STATUSES))
        if not 1 <= limit <= MAX_LIMIT:
            raise InvalidJob("limit", limit, "out of range", f"1 to {MAX_LIMIT}")
        names = {"circle": circle and fixed_name(circle, "circle_id"), "topic": topic and fixed_name(topic, "topic")}
        queues = [
            q for q in self._store.queues() if all(not want or getattr(q, n) == want for n, want in names.items())
        ]
        with self._lock:
            if fresh:
                self.catch_up(queues, text=text is not None)
            where = ["1"]
            values: list[Any] = []
            for condition, value in (
                ("queue.circle = ?", names["circle"]),
                ("queue.topic = ?", names["topic"]),
                ("job.status = ?", status),
                ("job.kind = ?", kind),
                ("job.reason = ?", reason),
                ("instr(job.tags, ?)", None if tag is None else f",{tag},"),
                ("job.created >= ?", since),
                ("job.created < ?", until),
                ("job.key IN (SELECT rowid FROM words WHERE words MATCH ?)", None if text is None else _match(text)),
            ):
                if value is not None:
                    where.append(condition)
                    values.append(value)
            if before is not None:
                where.append("(job.created, job.key) < (?, ?)")
                values += _cursor(before)
            rows = (
                self._open()
                .execute(
                    "SELECT job.key, queue.name, job.created FROM job JOIN queue ON queue.id = job.queue"  # noqa: S608
                    f" WHERE {' AND '.join(where)} ORDER BY job.created DESC, job.key DESC LIMIT ?",
                    [*values, limit],  # the conditions are ours, the values are bound
                )
                .fetchall()
            )
        found = self._read([(name, key & 0xFFFF_FFFF) for key, name, _ in rows])
        cursor = f"{rows[-1][2]}.{rows[-1][0]}" if len(rows) == limit else None
        return Found([job for job in found if job is not None], cursor)

    def open_ids(self, queue: Queue, fresh: bool = True) -> list[int]:
        """Return the ids of the jobs that aren't over, ascending. One may have ended since: look before acting."""
        with self._lock:
            if fresh:
                self.catch_up([queue])
            rows = self._open().execute(
                "SELECT key & 0xFFFFFFFF FROM job WHERE status IN ('new', 'active')"
                " AND queue = (SELECT id FROM queue WHERE name = ?) ORDER BY key",
                (queue.key,),
            )
            return [key for (key,) in rows]

    def counts(self, circle: str | None = None, topic: str | None = None, fresh: bool = True) -> dict[str, int]:
        """Return how many jobs there are by status; the four statuses are always there."""
        with self._lock:
            if fresh:
                self.catch_up()
            rows = self._open().execute(
                "SELECT status, count(*) FROM job JOIN queue ON queue.id = job.queue"
                " WHERE circle = ifnull(?, circle) AND topic = ifnull(?, topic) GROUP BY status",
                (circle and fixed_name(circle, "circle_id"), topic and fixed_name(topic, "topic")),
            )
            return dict.fromkeys(_STATUSES, 0) | dict(rows)

    def close(self) -> None:
        """Close the index."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    # inside

    def _catch_up(
        self,
        queue: Queue,
        position_column: str,
        generation_column: str,
        write: Callable[[int, dict[int, bytes | None], bool], None],
    ) -> Iterator[int]:
        """Take in a queue's versions since last time, a batch a transaction; only the newest of each job matters."""
        generation = self._store.generation(queue)
        while True:
            db = self._open()
            db.execute("BEGIN IMMEDIATE")  # one process takes in at a time
            try:
                db.execute(
                    "INSERT OR IGNORE INTO queue (name, circle, topic, generation) VALUES (?, ?, ?, ?)",
                    (queue.key, queue.circle, queue.topic, generation),
                )
                number, known, position = db.execute(
                    f"SELECT id, {generation_column}, {position_column} FROM queue WHERE name = ?",  # noqa: S608 - ours
                    (queue.key,),
                ).fetchone()
                anew = known != generation  # compacted: positions mean nothing any more
                newest: dict[int, bytes | None] = {}
                count = 0
                for version in self._store.scan(queue, 0 if anew else position):
                    if version.id:
                        newest[version.id] = None if version.deleted else version.data
                    position = after(version)
                    count += 1
                    if count == BATCH:
                        break
                if count or anew:
                    write(number, newest, anew)
                    db.execute(
                        f"UPDATE queue SET {generation_column} = ?, {position_column} = ? WHERE id = ?",  # noqa: S608
                        (generation, position, number),  # the columns are ours
                    )
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            yield count
            if count < BATCH:
                return

    def _write_jobs(self, number: int, newest: dict[int, bytes | None], anew: bool) -> None:
        db = self._open()
        if anew:
            db.execute("DELETE FROM job WHERE queue = ?", (number,))
        rows, gone = [], []
        for id, data in newest.items():
            job = None if data is None else _readable(data)
            if job is None:
                gone.append((number << 32 | id,))
            else:
                tags = f",{','.join(job.tags)}," if job.tags else ""
                created = job.created_ms or job.time_scheduled * 1000
                rows.append((number << 32 | id, number, job.status, job.params_type, job.reason, created, tags))
        db.executemany("INSERT OR REPLACE INTO job VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        db.executemany("DELETE FROM job WHERE key = ?", gone)

    def _write_words(self, number: int, newest: dict[int, bytes | None], anew: bool) -> None:
        db = self._open()
        if anew:
            db.execute("DELETE FROM words WHERE rowid >> 32 = ?", (number,))
        db.executemany("DELETE FROM words WHERE rowid = ?", [(number << 32 | id,) for id in newest])
        rows = []
        for id, data in newest.items():
            job = None if data is None else _readable(data)
            if job is not None:
                rows.append((number << 32 | id, job.params, job.result, job.error))
        db.executemany("INSERT INTO words (rowid, params, result, error) VALUES (?, ?, ?, ?)", rows)

    def _read(self, names: Sequence[tuple[str, int]]) -> list[Job | None]:
        """Read jobs from the store, in order; those that vanished meanwhile are None."""
        by_queue: dict[str, list[int]] = {}
        for name, id in names:
            by_queue.setdefault(name, []).append(id)
        jobs: dict[tuple[str, int], Job | None] = {}
        for name, ids in by_queue.items():
            queue = Queue.parse(name)
            if queue is not None:
                jobs |= zip([(name, id) for id in ids], self._store.get_many(queue, ids), strict=True)
        return [jobs.get(name) for name in names]

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._db = self._connect()
            except sqlite3.DatabaseError as e:
                if isinstance(e, sqlite3.OperationalError) and "locked" in str(e):
                    raise
                for ending in ("", "-wal", "-shm"):  # damaged or of another version: it is made anew
                    with contextlib.suppress(FileNotFoundError):
                        self._path.with_name(self._path.name + ending).unlink()
                self._db = self._connect()
        return self._db

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=BUSY, isolation_level=None, check_same_thread=False)
        try:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version not in (0, VERSION):
                raise sqlite3.DatabaseError(f"version {version}")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = OFF")  # it can be made anew
            if version == 0:
                db.executescript(files("herojobs.store").joinpath("sql/schema.sql").read_text("utf-8"))
                db.execute(f"PRAGMA user_version = {VERSION}")
            db.execute("SELECT count(*) FROM queue").fetchone()
        except BaseException:
            db.close()
            raise
        return db


def _readable(data: bytes) -> Job | None:
    try:
        return read(data)
    except InvalidJob:
        return None


def _match(text: str) -> str:
    """Return a search that holds every word of a text, or its beginning; nothing in it is FTS syntax."""
    words = [word.replace('"', "") for word in text.replace("\0", " ").split()]
    return " ".join(f'"{word}"*' for word in words if word) or '""'


def _cursor(text: str) -> tuple[int, int]:
    created, dot, key = text.partition(".")
    if not (dot and created.isdigit() and key.isdigit()):
        raise InvalidJob("before", text, "no cursor", "the `cursor` of the page before")
    return int(created), int(key)
