"""A derived index over the history of all jobs, in SQLite: listing, searching, and which jobs are open.

It is brought up to date from the append-only files when it is asked, never while jobs run through, and may be deleted
at any time. It keeps columns, not jobs: those are read from the store and looked at again, so there is no second truth.
Session keys are never in it.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import msgspec

from herojobs.errors import InvalidJob, did_you_mean
from herojobs.job import Job, JobStatus
from herojobs.names import Queue, fixed_name
from herojobs.store import search
from herojobs.store.base import Found, Progress
from herojobs.store.catchup import Jobs, Part, Words, follow, glance, mark_of, marked
from herojobs.store.jobs import JobStore
from herojobs.store.sqlite import FileChanged, IndexFile, is_damage, statement, trouble_told

MAX_LIMIT = 1000
ATTEMPTS = 3
"""How often a question is asked again when the file was damaged, or thrown away meanwhile."""

_STATUSES = tuple(status.value for status in JobStatus)
_find = statement("find")
_open_ids = statement("open_ids")
_over = statement("over")
_counts = statement("counts")

T = TypeVar("T")


class _Row(NamedTuple):
    key: int
    created: int
    circle: str
    topic: str


class JobIndex:
    """The index; see `herojobs.store.base.Index` for the contract of each method. Safe for threads and processes.

    Args:
        store: what it is derived from.
    """

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._reader = IndexFile(store.index_path)
        self._writer = IndexFile(store.index_path)
        self._turn = threading.Lock()
        self._glances: dict[tuple[str, Queue], tuple[int, ...]] = {}
        self._glanced_at = 0

    def catch_up(
        self,
        queues: Iterable[Queue] | None = None,
        progress: Callable[[Progress], None] | None = None,
        *,
        text: bool = False,
        wait: float = 2.0,
    ) -> bool:
        """Bring the index up to date; return False if another process was still at it after `wait` seconds.

        Args:
            queues: which; all if not given.
            progress: called after each batch.
            text: also what `find(text=...)` needs.
            wait: seconds to wait for another process or thread that is catching up.
        """
        wanted = self._store.queues() if queues is None else [queue for queue in queues if self._store.has(queue)]
        return self._follow(wanted, progress, text=text, wait=wait, all_of_them=queues is None)

    def _follow(
        self,
        queues: Sequence[Queue],
        progress: Callable[[Progress], None] | None = None,
        *,
        text: bool = False,
        wait: float = 2.0,
        all_of_them: bool = False,
    ) -> bool:
        """Bring the index up to date with queues that there are; as `catch_up`."""
        deadline = time.monotonic() + wait
        if not self._turn.acquire(timeout=wait):
            return False
        try:
            return self._guarded(self._writer, lambda: self._catch_up(queues, all_of_them, progress, text, deadline))
        finally:
            self._turn.release()

    def find(
        self,
        *,
        circle: str | Iterable[str] | None = None,
        topic: str | None = None,
        status: str | None = None,
        kind: str | None = None,
        reason: str | None = None,
        tag: str | None = None,
        since: int | None = None,
        until: int | None = None,
        text: str | None = None,
        session_key: str | None = None,
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
        cursor = None if before is None else _cursor(before)
        wanted = None if text is None or not text.strip() else search.parse(text)
        queues = self._queues(circle, topic)
        equal = {"status": status, "kind": kind, "reason": reason}
        conditions = [f"job.{name} = :{name}" for name, value in equal.items() if value is not None]
        if status is not None and status != JobStatus.DONE:
            conditions.append("job.status <> 'done'")  # what the smaller indexes are of
        if circle is not None or topic is not None:
            conditions.append("job.queue IN (SELECT value FROM json_each(:queues))")
        if tag is not None:
            conditions.append("job.key IN (SELECT key FROM tag WHERE tag = :tag)")
        if since is not None:
            conditions.append("job.created >= :since")
        if until is not None:
            conditions.append("job.created < :until")
        if wanted is not None and wanted.match is not None:
            conditions.append("job.key IN (SELECT rowid FROM words WHERE words MATCH :match)")
        values = {
            **{name: _bindable(value) for name, value in equal.items()},
            "tag": _bindable(tag),
            "since": since,
            "until": until,
            "match": wanted and wanted.match,
        }

        def fits(job: Job) -> bool:
            return (
                all(value is None or getattr(job, _FIELDS[name]) == value for name, value in equal.items())
                and (tag is None or tag in job.tags)
                and (session_key is None or job.session_key == session_key)
                and (wanted is None or wanted.fits(job))
            )

        def look() -> Found:
            if fresh:
                self._follow(queues, text=wanted is not None)
            found: list[Job] = []
            asked = None if circle is None and topic is None else queues
            for row, job in self._pages(conditions, values, asked, limit, cursor):
                if job is not None and fits(job):
                    found.append(job)
                    if len(found) == limit:
                        return Found(found, f"{row.created}.{row.key}")
            return Found(found, None)

        return self._guarded(self._reader, look)

    def open_ids(self, queue: Queue, fresh: bool = True) -> list[int]:
        """Return the ids of the jobs that aren't over, ascending. One may have ended since: look before acting."""

        def look() -> list[int]:
            if fresh:
                self.catch_up([queue])
            return [id for (id,) in self._ask(_open_ids, queue._asdict())]

        return self._guarded(self._reader, look)

    def over(self, queue: Queue, before: int, status: str | None = None) -> Iterator[list[int]]:
        """Yield the ids of jobs that are over and were submitted before a time, a batch at a time; see `Index.over`."""
        self.catch_up([queue])
        values = {**queue._asdict(), "before": before, "status": status, "limit": MAX_LIMIT, "created": -1, "key": 0}
        while True:
            rows = self._guarded(self._reader, partial(self._ask, _over, values))
            if rows:
                yield [key & 0xFFFF_FFFF for _, key in rows]
            if len(rows) < MAX_LIMIT:
                return
            values = {**values, "created": rows[-1][0], "key": rows[-1][1]}

    def counts(self, circle: str | None = None, topic: str | None = None, fresh: bool = True) -> dict[str, int]:
        """Return how many jobs there are by status; the four statuses are always there."""
        queues = self._queues(circle, topic)

        def look() -> dict[str, int]:
            if fresh:
                self._follow(queues)
            if circle is None and topic is None:
                return dict(self._ask(_counts, {"queues": None}))
            return dict(self._ask(_counts, {}, queues))

        found = self._guarded(self._reader, look)
        return dict.fromkeys(_STATUSES, 0) | {status: count for status, count in found.items() if status in _STATUSES}

    def close(self) -> None:
        """Close the index. It opens again when it is asked."""
        self._reader.close()
        self._writer.close()

    # inside

    def _queues(self, circle: str | Iterable[str] | None, topic: str | None) -> list[Queue]:
        circles = (circle,) if isinstance(circle, str) else circle
        wanted_circles = None if circles is None else {fixed_name(each, "circle_id") for each in circles}
        wanted_topic = None if topic is None else fixed_name(topic, "topic")
        if wanted_circles is not None and wanted_topic is not None:
            return [queue for each in sorted(wanted_circles) if self._store.has(queue := Queue(each, wanted_topic))]
        return [
            queue
            for queue in self._store.queues()
            if (wanted_circles is None or queue.circle in wanted_circles) and wanted_topic in (None, queue.topic)
        ]

    def _pages(
        self,
        conditions: Sequence[str],
        values: dict[str, Any],
        queues: Sequence[Queue] | None,
        limit: int,
        cursor: tuple[int, int] | None,
    ) -> Iterator[tuple[_Row, Job | None]]:
        """Yield what the index finds, with the job as it is now, None if it can't be read; a page at a time."""
        while True:
            paging = [] if cursor is None else ["(job.created, job.key) < (:created, :key)"]
            query = _find.replace("{conditions}", " AND ".join([*conditions, *paging]) or "1")
            created, key = cursor or (0, 0)
            rows = [
                _Row(*row)
                for row in self._ask(query, {**values, "created": created, "key": key, "limit": limit}, queues)
            ]
            yield from zip(rows, self._read(rows), strict=True)
            if len(rows) < limit:
                return
            cursor = rows[-1].created, rows[-1].key
            limit = MAX_LIMIT  # much of what was found didn't fit

    def _read(self, rows: Sequence[_Row]) -> list[Job | None]:
        """Read jobs from the store, in order."""
        by_queue: dict[Queue, list[int]] = {}
        for row in rows:
            by_queue.setdefault(Queue(row.circle, row.topic), []).append(row.key & 0xFFFF_FFFF)
        jobs = {queue: iter(self._store.get_many(queue, ids)) for queue, ids in by_queue.items()}
        return [next(jobs[Queue(row.circle, row.topic)]) for row in rows]

    def _ask(self, query: str, values: dict[str, Any], queues: Sequence[Queue] | None = None) -> list[Any]:
        """Return the rows of a query; `queues` become the numbers in its list :queues."""
        with self._reader.connection() as db:
            if queues is not None:
                if len(queues) == 1:
                    rows = db.execute("SELECT id, circle, topic FROM queue WHERE circle = ? AND topic = ?", queues[0])
                else:
                    rows = db.execute("SELECT id, circle, topic FROM queue")
                numbers = {Queue(circle, topic): id for id, circle, topic in rows}
                known = [numbers[each] for each in queues if each in numbers]
                values = {**values, "queues": msgspec.json.encode(known).decode()}
            return db.execute(query, values).fetchall()

    def _catch_up(
        self,
        queues: Sequence[Queue],
        all_of_them: bool,
        progress: Callable[[Progress], None] | None,
        text: bool,
        deadline: float,
    ) -> bool:
        with (
            self._writer.connection() as db,
            self._writer.changing(max(0.0, deadline - time.monotonic())) as held,
        ):
            if not held:
                return False

            def connect() -> sqlite3.Connection:
                self._writer.check()
                return db

            parts: list[Part] = [Jobs(), Words()] if text else [Jobs()]
            if self._glanced_at != self._writer.openings:
                self._glances.clear()
                self._glanced_at = self._writer.openings
            versions = 0
            gone: set[Queue] = set()
            for done, queue in enumerate(queues):
                now = glance(self._store, queue)
                if not now and not self._store.has(queue):
                    gone.add(queue)
                    continue
                for part in parts:
                    if now and self._glances.get((part.name, queue)) == now:
                        continue
                    for count in follow(self._store, connect, queue, part, mark_of(connect(), part, queue)):
                        versions += count
                        if progress is not None:
                            progress(Progress(queue, versions, done, len(queues)))
                    self._glances[part.name, queue] = now  # what came since has changed it
            if all_of_them:
                _forget(connect(), marked(connect()) - (set(queues) - gone))
            elif gone:
                _forget(connect(), marked(connect()) & gone)
            return True

    def _guarded(self, file: IndexFile, action: Callable[[], T]) -> T:
        """Do something with the index; if its file turns out to be damaged, make it anew and do it again.

        Raises:
            OSError: the disk is full, say.
        """
        with trouble_told(self._store.index_path):
            for _ in range(ATTEMPTS):
                try:
                    return action()
                except FileChanged:
                    continue
                except sqlite3.DatabaseError as e:
                    if not is_damage(e):
                        raise
                    file.discard()
        raise OSError(f"{self._store.index_path} was removed or damaged {ATTEMPTS} times just now")


_FIELDS = {"status": "status", "kind": "params_type", "reason": "reason"}


def _forget(db: sqlite3.Connection, queues: Iterable[Queue]) -> None:
    """Remove queues whose folder somebody has removed."""
    for queue in queues:
        (number,) = db.execute("SELECT id FROM queue WHERE circle = ? AND topic = ?", queue).fetchone()
        bounds = number << 32, number << 32 | 0xFFFF_FFFF
        db.execute("DELETE FROM job WHERE key BETWEEN ? AND ?", bounds)
        db.execute("DELETE FROM tag WHERE key BETWEEN ? AND ?", bounds)
        db.execute("DELETE FROM words WHERE rowid BETWEEN ? AND ?", bounds)
        db.execute("DELETE FROM mark WHERE queue = ?", (number,))  # last: if we die before, it is done again


def _bindable(text: str | None) -> str | None:
    """Return a text that SQLite takes: half of a surrogate pair, which no stored job holds, becomes a question mark."""
    return text and text.encode("utf-8", "replace").decode()


def _cursor(text: str) -> tuple[int, int]:
    created, dot, key = text.partition(".")
    if not (dot and created.isascii() and created.isdigit() and key.isascii() and key.isdigit() and len(text) < 40):
        raise InvalidJob("before", text, "no cursor", "the `cursor` of the page before")
    return min(int(created), 1 << 62), min(int(key), 1 << 62)
