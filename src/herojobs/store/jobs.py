"""The history of jobs in OurDB: one database a queue, at `<home>/var/circles/<circle>/<topic>/jobsdb`."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from zlib import crc32

from herojobs import job as jobs
from herojobs.errors import InvalidJob, JobConflict, JobNotFound, ParamsTooLarge
from herojobs.job import Job
from herojobs.names import Queue, Ref
from herojobs.ourdb import CorruptRecord, NotFound, OurDB, RecordTooLarge, Version
from herojobs.settings import Settings
from herojobs.store.base import Position, Put, Spelling, Tip
from herojobs.store.databases import Databases
from herojobs.store.spelling import Spellings

MAX_OPEN = 256
"""Databases that stay open; each takes a handful of descriptors."""

_ID = re.compile(rb'\{"jobid":(\d{1,10})[,}]')


def id_of(data: bytes) -> int:
    """Return the id in a job's JSON, 0 if it has none: what OurDB rebuilds a lost table by."""
    match = _ID.match(data)
    if match:
        return int(match[1])
    with contextlib.suppress(InvalidJob):
        return jobs.decode_foreign(data).job_id
    return 0


class JobStore:
    """The durable history of jobs; see `herojobs.store.base.Store` for the contract of each method.

    Args:
        settings: where the databases are and how they are synced.
        max_open: databases that stay open at most.
    """

    def __init__(self, settings: Settings, max_open: int = MAX_OPEN) -> None:
        self._settings = settings
        self._circles = settings.circles_dir
        self._databases = Databases(self._open, max_open)
        self._spellings = Spellings(self._circles)

    # writing

    def add_many(self, queue: Queue, new: Sequence[Job], lock_timeout: float | None = None) -> list[bytes]:
        """Store new jobs, give each its `job_id`, and return the JSON that was stored, in order.

        Raises:
            InvalidJob: the text of a job can't be encoded. Nothing was written, no job changed.
            ParamsTooLarge: OurDB can't hold a job of that size. Likewise.
            OurDBError: the disk is full, say. Likewise.
        """
        written: list[bytes] = []
        encode = jobs.encode

        def maker(job: Job) -> object:
            def make(id: int) -> bytes:
                job.job_id = id
                data = encode(job)
                written.append(data)
                return data

            return make

        try:
            with self._databases.use(queue) as db:
                db.add_many([maker(job) for job in new], lock_timeout=lock_timeout)  # type: ignore[misc]
        except BaseException as e:
            for job in new:
                job.job_id = 0
            raise _for_caller(e) from None if isinstance(e, RecordTooLarge | UnicodeEncodeError) else e
        return written

    def put_many(self, queue: Queue, puts: Sequence[Put], lock_timeout: float | None = None) -> list[Position | None]:
        """Store new versions in one commit; return for each its position, or None if it wasn't accepted."""
        with self._databases.use(queue) as db:
            generation = db.generation
            items = []
            for put in puts:
                after = put.after
                location = None
                if after is not None:
                    location = after.location if after.generation == generation else _moved(db, put.id, after)
                items.append((put.id, put.data, location))
            try:
                located = db.set_many(items, lock_timeout=lock_timeout)
            except RecordTooLarge as e:
                raise _for_caller(e) from None
        return [
            None if location is None else Position(location, generation, crc32(put.data))
            for put, location in zip(puts, located, strict=True)
        ]

    def put_at(self, queue: Queue, id: int, job: Job) -> Tip:
        """Store a job that came with an id of its own, set its `job_id`; later ids are given past it.

        Raises:
            JobConflict: there is, or was, a job with this id.
            InvalidJob, ParamsTooLarge: as `add_many`.
        """
        before, job.job_id = job.job_id, id
        try:
            data = jobs.encode(job)
            with self._databases.use(queue) as db:
                location = db.put_at(id, data)
                return Tip(data, Position(location, db.generation, crc32(data)))
        except ValueError as e:
            job.job_id = before
            if isinstance(e, UnicodeEncodeError):
                raise _for_caller(e) from None
            raise JobConflict(f"{Ref(queue, id)}: the id was used already") from None
        except RecordTooLarge as e:
            job.job_id = before
            raise _for_caller(e) from None

    def delete(self, queue: Queue, ids: Iterable[int]) -> list[int]:
        """Remove jobs with their whole history and their logs; return the ids that existed."""
        deleted = []
        with self._databases.use(queue) as db:
            for id in ids:
                with contextlib.suppress(NotFound):
                    db.delete(id)
                    deleted.append(id)
                self.log_path(queue, id).unlink(missing_ok=True)
        return deleted

    # reading

    def get(self, queue: Queue, id: int) -> Job:
        """Return a job as it is now. Raises JobNotFound."""
        return self.tip(queue, id)[0]

    def get_many(self, queue: Queue, ids: Sequence[int]) -> list[Job | None]:
        """Return jobs as they are now, in order, None for those that don't exist or can't be read."""
        return [None if tip is None else read(tip.data) for tip in self.tips(queue, ids)]

    def tip(self, queue: Queue, id: int) -> tuple[Job, Position]:
        """Return a job as it is now and where this version lies, for `Put.after`. Raises JobNotFound."""
        if not self._exists(queue):
            raise JobNotFound(Ref(queue, id))
        with self._databases.use(queue) as db:
            try:
                location, data = db.tip(id)
            except NotFound:
                raise JobNotFound(Ref(queue, id)) from None
            return read(data), Position(location, db.generation, crc32(data))

    def tips(self, queue: Queue, ids: Sequence[int]) -> list[Tip | None]:
        """Return the newest versions undecoded, in order, None as in `get_many`; for those who handle many."""
        if not self._exists(queue):
            return [None] * len(ids)
        with self._databases.use(queue) as db:
            try:
                found = db.tips(ids)
            except CorruptRecord:
                found = [_tip_or_none(db, id) for id in ids]
            generation = db.generation
        return [tip and Tip(tip[1], Position(tip[0], generation, crc32(tip[1]))) for tip in found]

    def history(self, queue: Queue, id: int) -> list[Job]:
        """Return the versions of a job that are kept, the oldest first. Raises JobNotFound."""
        if not self._exists(queue):
            raise JobNotFound(Ref(queue, id))
        with self._databases.use(queue) as db:
            try:
                versions = db.history(id, 10_000)
            except NotFound:
                raise JobNotFound(Ref(queue, id)) from None
        return [read(version.data) for version in reversed(versions) if version.ok]

    def scan(self, queue: Queue, since: int = 0) -> Iterator[Version]:
        """Yield every version of every job of a queue from a location on, as OurDB does."""
        with self._databases.use(queue) as db:
            yield from db.scan(since)

    def generation(self, queue: Queue) -> int:
        """Return the generation that locations of `scan` belong to."""
        with self._databases.use(queue) as db:
            return db.generation

    def doubtful(self, queue: Queue) -> frozenset[int]:
        """Return ids that another program wrote, or may have deleted: they aren't queued unless somebody asks."""
        with self._databases.use(queue) as db:
            return db.doubtful

    def queues(self) -> list[Queue]:
        """Return the queues that have ever held a job, by name."""
        found = []
        for path in self._circles.glob("*/*/jobsdb"):
            queue = Queue.parse(f"{path.parent.parent.name}:{path.parent.name}")
            if queue is not None:
                found.append(queue)
        return sorted(found)

    # names and places

    def remember_spelling(self, queue: Queue, circle_id: str, topic: str) -> list[str]:
        """Note how a queue's names are spelled; return warnings, each told once, about a second spelling."""
        return self._spellings.remember(queue, circle_id, topic)

    def spelling(self, queue: Queue) -> Spelling:
        """Return the first spelling of a queue's names, the fixed names if none is known."""
        return self._spellings.first(queue)

    def log_path(self, queue: Queue, id: int) -> Path:
        """Return the file that keeps a job's output; it need not exist."""
        return self._circles / queue.circle / queue.topic / "logs" / f"{id}.log"

    def path(self, queue: Queue) -> Path:
        """Return the folder of a queue's database."""
        return self._circles / queue.circle / queue.topic / "jobsdb"

    @property
    def index_path(self) -> Path:
        """The file of the index that is derived from this store."""
        return self._settings.home / "var" / "index.sqlite3"

    def close(self) -> None:
        """Close what is open. Calls that are under way end first."""
        self._databases.close()

    def _open(self, queue: Queue) -> OurDB:
        return OurDB(self.path(queue), sync=self._settings.sync, id_of=id_of, dump=self._settings.ourdb_dump)

    def _exists(self, queue: Queue) -> bool:
        """Whether a queue has a database: looking must not make one."""
        return self._databases.is_open(queue) or self.path(queue).is_dir()


def read(data: bytes) -> Job:
    """Return the job in a record, ours or a foreign program's."""
    try:
        return jobs.decode(data)
    except ValueError:
        return jobs.decode_foreign(data)


def import_database(store: JobStore, path: Path, queue: Queue) -> int:
    """Copy the jobs of a database that another program keeps under a raw name into a queue; return their number.

    Raises:
        JobConflict: the queue has jobs already.
    """
    target = store.path(queue)
    if target.exists():
        raise JobConflict(f"{queue} has jobs already; choose a topic that has none")
    shutil.copytree(path, target, ignore=shutil.ignore_patterns("lookup"))
    return sum(1 for _ in store.scan(queue))


def _moved(db: OurDB, id: int, after: Position) -> int:
    """Return where a version lies after a compaction, a place that nothing has if it isn't the newest one any more."""
    with contextlib.suppress(NotFound):
        location, data = db.tip(id)
        if crc32(data) == after.crc:
            return location
    return after.location


def _tip_or_none(db: OurDB, id: int) -> tuple[int, bytes] | None:
    try:
        return db.tip(id)
    except (NotFound, CorruptRecord):
        return None


def _for_caller(error: BaseException) -> BaseException:
    if isinstance(error, RecordTooLarge):
        return ParamsTooLarge("params", "...", str(error))
    if isinstance(error, UnicodeEncodeError):
        return InvalidJob("params", error.object[max(0, error.start - 10) : error.end + 10], "it has a lone surrogate")
    return error
