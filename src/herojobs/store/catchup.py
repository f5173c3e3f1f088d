"""Bringing the index up to date from the append-only files of a queue.

Two tables follow a queue, each at its own pace: `job` whenever it is asked, `words` when somebody searches for text.
Each has a mark, written in the transaction of the rows that it stands for: one that is killed goes on from there.
After a compaction a queue is read from its beginning again; what isn't met on the way any more is swept out at the end.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol

import msgspec

from herojobs.job import Job
from herojobs.names import Queue
from herojobs.ourdb import after
from herojobs.ourdb.state import parse
from herojobs.store.jobs import JobStore, decoded
from herojobs.store.sqlite import statement

BATCH = 2_000
"""Versions a transaction: few, as a WatchDog keeps the memory that they took."""
BATCH_UNNAMED = 40_000
"""The same where versions don't hold their id, which is looked for in the whole table."""
BATCH_BYTES = 16 * 1024 * 1024
"""Bytes of them, so that big jobs don't fill the memory."""

SETTLED_NS = 100_000_000
"""Nanoseconds after which a file's time tells of every write to it."""

MAX_TIME = 1 << 53
"""Latest time in milliseconds; another program may write anything."""

_KEYS = "rowid BETWEEN :first AND :last"
_put_job = statement("put_job")


class Mark(NamedTuple):
    """A row of the table `mark`, without its key."""

    generation: int = -1
    location: int = 0
    sweep: bool = False
    seen: bytes = b""


class Part(Protocol):
    """A table that follows the queues."""

    name: str

    def write(self, db: sqlite3.Connection, queue: int, newest: Mapping[int, bytes]) -> list[int]:
        """Write jobs by id, as they are now; return the ids of those that are no jobs."""
        ...

    def remove(self, db: sqlite3.Connection, keys: list[int]) -> None:
        """Remove jobs by key."""
        ...


class _Row(msgspec.Struct):
    """What the table `job` holds of a job; the rest of its JSON is passed over unread."""

    status: str
    params_type: str
    time_scheduled: int
    reason: str = ""
    created_ms: int = 0
    tags: list[str] = []


_row = msgspec.json.Decoder(_Row).decode


class Jobs:
    """The table `job`, with `tag`."""

    name = "job"

    def write(self, db: sqlite3.Connection, queue: int, newest: Mapping[int, bytes]) -> list[int]:
        """Write jobs by id, as they are now; return the ids of those that are no jobs."""
        tags: list[tuple[str, int]] = []
        gone: list[int] = []
        base = queue << 32

        def rows() -> Iterator[tuple[int, int, int, str, str, str]]:  # one at a time: a batch of them is megabytes
            for id, data in newest.items():
                row: _Row | Job | None
                try:
                    row = _row(data)
                except (ValueError, RecursionError):  # another program's JSON
                    row = decoded(data)
                    if row is None:
                        gone.append(id)
                        continue
                created = min(max(0, row.created_ms or row.time_scheduled * 1000), MAX_TIME)
                yield base | id, queue, created, row.status or "new", row.params_type, row.reason
                if row.tags:
                    tags.extend((tag, base | id) for tag in row.tags)

        db.executemany(_put_job, rows())
        db.executemany("INSERT OR IGNORE INTO tag VALUES (?, ?)", tags)
        return gone

    def remove(self, db: sqlite3.Connection, keys: list[int]) -> None:
        """Remove jobs by key, and their words, which somebody may have wanted to be gone."""
        rows = [(key,) for key in keys]
        db.executemany("DELETE FROM job WHERE key = ?", rows)
        db.executemany("DELETE FROM tag WHERE key = ?", rows)
        db.executemany("DELETE FROM words WHERE rowid = ?", rows)


class Words:
    """The table `words`."""

    name = "words"

    def write(self, db: sqlite3.Connection, queue: int, newest: Mapping[int, bytes]) -> list[int]:
        """Write jobs by id, as they are now; return the ids of those that are no jobs."""
        gone: list[int] = []
        base = queue << 32

        def rows() -> Iterator[tuple[int, str, str, str]]:
            for id, data in newest.items():
                job = decoded(data)
                if job is None:
                    gone.append(id)
                else:
                    yield base | id, job.params, job.result, job.error

        db.executemany("INSERT OR REPLACE INTO words (rowid, params, result, error) VALUES (?, ?, ?, ?)", rows())
        return gone

    def remove(self, db: sqlite3.Connection, keys: list[int]) -> None:
        """Remove jobs by key."""
        db.executemany("DELETE FROM words WHERE rowid = ?", [(key,) for key in keys])


def mark_of(db: sqlite3.Connection, part: Part, queue: Queue) -> Mark:
    """Return the mark of a queue."""
    row = db.execute(
        "SELECT generation, location, sweep, seen FROM mark WHERE part = :part"
        " AND queue = (SELECT id FROM queue WHERE circle = :circle AND topic = :topic)",
        {"part": part.name, **queue._asdict()},
    ).fetchone()
    return Mark(*row) if row else Mark()


def marked(db: sqlite3.Connection) -> set[Queue]:
    """Return the queues that have marks."""
    rows = db.execute("SELECT DISTINCT circle, topic FROM mark JOIN queue ON queue.id = mark.queue")
    return {Queue(circle, topic) for circle, topic in rows}


def glance(store: JobStore, queue: Queue) -> tuple[int, ...]:
    """Return what changes whenever a queue's database does, by as few steps as can be; empty if it is doubtful.

    Every commit writes `lookup/state`. The kernel's clock for files ticks every few milliseconds, so one that was
    written to in this moment may be written to again without a change that shows.
    """
    folder = f"{store.folder(queue)}/jobsdb"
    try:
        state = os.stat(f"{folder}/lookup/state")
        if time.time_ns() - state.st_mtime_ns < SETTLED_NS:
            return ()
        first = os.stat(f"{folder}/0.db")  # where other programs append that know nothing of a state
    except FileNotFoundError:
        return ()
    return state.st_mtime_ns, state.st_ino, first.st_size, first.st_ino


def seen(store: JobStore, queue: Queue) -> bytes:
    """Return what changes whenever a queue's database does, empty if there is none; cheap, and opens nothing."""
    folder = f"{store.folder(queue)}/jobsdb"
    try:
        with os.scandir(folder) as entries:
            sizes = sorted((each.name, each.stat().st_size) for each in entries if each.name[0].isdigit())
        with open(f"{folder}/lookup/state", "rb") as file:
            state, inode = parse(file.read()), os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        if not os.path.isdir(folder):
            return b""
        state, inode, sizes = None, 0, []  # another program's, never opened by ours
    written = state and (state.generation, state.end, state.next_id, state.truncated)  # not whether it was closed
    return f"{written} {inode} {sizes}".encode()


def follow(
    store: JobStore, connect: Callable[[], sqlite3.Connection], queue: Queue, part: Part, mark: Mark
) -> Iterator[int]:
    """Take in what a queue has got since its mark; yield the number of versions read, a transaction each.

    Args:
        store: where from.
        connect: gives the connection, as long as the file is still the same.
        queue: the queue.
        part: the table.
        mark: where it is.
    """
    most = BATCH
    while True:
        look = seen(store, queue)
        if look in (mark.seen, b""):
            return
        end = store.end(queue)
        if end.generation != mark.generation or end.location < mark.location:
            mark = Mark(end.generation, 0, sweep=mark.generation >= 0)
        newest: dict[int, bytes] = {}
        unnamed: dict[int, bytes] = {}
        location = mark.location
        count = size = 0
        if location < end.location:
            for version in store.scan(queue, location):
                if version.location >= end.location or count >= most or size >= BATCH_BYTES:
                    break
                data = b"" if version.deleted else version.data
                if version.id:
                    newest[version.id] = data
                else:
                    unnamed[version.location] = data
                location = after(version)
                count += 1
                size += len(data)
            else:
                location = end.location  # what is left, if anything, is no record
            if unnamed:  # the original's first versions don't hold their id
                newest |= {id: unnamed[at] for id, at in store.places(queue) if at in unnamed}
            if store.end(queue).generation != end.generation:
                continue  # compacted meanwhile: these locations are of files that are gone
            if count < most and size < BATCH_BYTES:
                location = end.location
            most = BATCH_UNNAMED if unnamed else BATCH
        complete = location >= end.location
        mark = mark._replace(location=location, seen=look if complete and not mark.sweep else b"")
        _write(connect(), queue, part, newest, mark)
        if count:
            yield count
        if complete:
            if not mark.sweep:
                return
            _sweep(store, connect, queue, part)
            mark = mark._replace(sweep=False)


def _write(db: sqlite3.Connection, queue: Queue, part: Part, newest: Mapping[int, bytes], mark: Mark) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        number = _number(db, queue)
        gone = part.write(db, number, {id: data for id, data in newest.items() if data})
        gone += [id for id, data in newest.items() if not data]
        part.remove(db, [number << 32 | id for id in gone])
        db.execute("INSERT OR REPLACE INTO mark VALUES (?, ?, ?, ?, ?, ?)", (number, part.name, *mark))
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _number(db: sqlite3.Connection, queue: Queue) -> int:
    db.execute("INSERT OR IGNORE INTO queue (circle, topic) VALUES (?, ?)", queue)
    (number,) = db.execute("SELECT id FROM queue WHERE circle = ? AND topic = ?", queue).fetchone()
    return int(number)


def _sweep(store: JobStore, connect: Callable[[], sqlite3.Connection], queue: Queue, part: Part) -> None:
    """Remove the jobs of a queue that don't exist any more."""
    db = connect()
    number = _number(db, queue)
    first, last = number << 32, number << 32 | 0xFFFF_FFFF
    while True:
        rows = db.execute(
            f"SELECT rowid FROM {part.name} WHERE {_KEYS} ORDER BY rowid LIMIT :limit",  # noqa: S608 - our own names
            {"first": first, "last": last, "limit": BATCH},
        ).fetchall()
        if not rows:
            break
        keys = [key for (key,) in rows]
        existing = store.existing(queue, [key & 0xFFFF_FFFF for key in keys])
        db = connect()
        part.remove(db, [key for key in keys if key & 0xFFFF_FFFF not in existing])
        first = keys[-1] + 1
    db.execute("UPDATE mark SET sweep = 0 WHERE queue = ? AND part = ?", (number, part.name))
