"""The history of jobs in OurDB: one database a queue, at `<home>/var/circles/<circle>/<topic>/jobsdb`."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from herojobs import job as jobs
from herojobs.checkpoints import Checkpoints
from herojobs.errors import InvalidJob, JobConflict, JobNotFound, ParamsTooLarge
from herojobs.job import Job
from herojobs.names import Queue, Ref
from herojobs.ourdb import CorruptRecord, NotFound, OurDB, RecordTooLarge, Version
from herojobs.ourdb.state import EMPTY
from herojobs.settings import Settings, make_home
from herojobs.store.base import Position, Put, Spelling, Tip
from herojobs.store.databases import Databases
from herojobs.store.spelling import Spellings

DELETED_AT_ONCE = 200
"""Jobs deleted in one commit."""

NOWHERE = -2
"""A condition for OurDB that no version meets."""

_ID = re.compile(rb'\{"jobid":(\d{1,10})[,}]')


class End(NamedTuple):
    """How far a queue's database is written: `scan` up to `location` gives what is whole, in this generation."""

    generation: int
    location: int


class JobStore:
    """The durable history of jobs; see `herojobs.store.base.Store` for the contract of each method.

    Args:
        settings: where the databases are and how they are synced.
        max_open: databases that stay open at most; None = as many as the limit on open files lets.
    """

    def __init__(self, settings: Settings, max_open: int | None = None) -> None:
        self._settings = settings
        self._circles = settings.circles_dir
        self._databases = Databases(self._open, lambda queue: self.path(queue).is_dir(), max_open)
        self._checkpoints = Checkpoints(self._circles)
        self._spellings = Spellings(self._circles)
        self._named: dict[tuple[str, str], Queue] = {}

    # writing

    def add_many(self, queue: Queue, new: Sequence[Job], lock_timeout: float | None = None) -> list[bytes]:
        """Store new jobs, give each its `job_id`, and return the JSON that was stored, in order.

        Raises:
            InvalidJob: the text of a job can't be encoded. Nothing was written, no job changed.
            ParamsTooLarge: OurDB can't hold a job of that size. Likewise.
            OurDBError: the disk is full, say. Likewise.
        """
        written: list[bytes] = []
        before = [job.job_id for job in new]

        def make(ids: range) -> list[bytes]:
            for job, id in zip(new, ids, strict=True):
                job.job_id = id
                written.append(jobs.encode(job))
            return written

        try:
            with self._databases.use(queue) as db:
                db.add_made(len(new), make, lock_timeout=lock_timeout)
        except BaseException as e:
            for job, id in zip(new, before, strict=True):
                job.job_id = id
            if isinstance(e, UnicodeEncodeError):
                raise jobs.unwritable(e, new[len(written)]) from None
            if isinstance(e, RecordTooLarge):
                too_large = next(job for job, data in zip(new, written, strict=True) if len(data) > e.limit)
                raise _too_large(e, too_large) from None
            raise
        return written

    def put_many(self, queue: Queue, puts: Sequence[Put], lock_timeout: float | None = None) -> list[Position | None]:
        """Store new versions in one commit; return for each its position, or None if it wasn't accepted.

        Raises:
            ParamsTooLarge: one is over OurDB's limit; nothing was written.
            OurDBError: the disk is full, say. Likewise.
        """
        if not self._exists(queue):
            return [None] * len(puts)
        with self._databases.use(queue) as db:

            def make(generation: int) -> list[tuple[int, bytes, int | None]]:
                return [
                    (put.id, put.data, put.after.location)
                    if put.after is not None and put.after.generation == generation
                    else (put.id, put.data, _condition(db, generation, put.id, put.after))
                    for put in puts
                ]

            try:
                generation, located = db.set_made(make, lock_timeout=lock_timeout)
            except RecordTooLarge as e:
                raise _too_large(e, None) from None
        return [
            None if location is None else Position(location, generation, put.data)
            for put, location in zip(puts, located, strict=True)
        ]

    def put_at(self, queue: Queue, id: int, job: Job) -> Tip:
        """Store a job that came with an id of its own, set its `job_id`; later ids are given past it.

        Raises:
            JobConflict: there is, or was, a job with this id.
            InvalidJob, ParamsTooLarge: as `add_many`.
            herojobs.ourdb.NotFound: no job can have this id.
        """
        before, job.job_id = job.job_id, id
        try:
            data = encoded(job)
            with self._databases.use(queue) as db:
                generation = db.generation  # before the write: a position of too old a generation is told by content
                location = db.put_at(id, data)
        except BaseException as e:
            job.job_id = before
            if isinstance(e, RecordTooLarge):
                raise _too_large(e, job) from None
            if isinstance(e, ValueError):
                raise JobConflict(f"{Ref(queue, id)}: the id was used already") from None
            raise
        return Tip(data, Position(location, generation, data))

    @contextlib.contextmanager
    def writing(self, queue: Queue) -> Iterator[None]:
        """Have nobody else write to a queue's database for the block; the calling thread may, as ever."""
        with self._databases.use(queue) as db, db.lock.held(db.lock_timeout):
            yield

    def next_id(self, queue: Queue) -> int:
        """Return the id that the next new job of a queue would get now; somebody else may be faster."""
        with self._databases.use(queue) as db:
            return db.next_id

    def delete(self, queue: Queue, ids: Iterable[int], after: Sequence[Position] | None = None) -> list[int]:
        """Remove jobs with their whole history, logs, messages and checkpoints; return the ids that existed.

        Args:
            queue: the queue.
            ids: which.
            after: for each, the version that must still be the newest; another one stays, and isn't returned. Such
                deletions are made in several commits, others in one.

        Raises:
            OSError, OurDBError: the disk is full, say. All of the jobs are still there, though logs may be gone.
        """
        if not self._exists(queue):
            return []
        wanted = list(ids)
        if after is None:
            self._remove_files(queue, wanted)
            with self._databases.use(queue) as db:
                return db.delete_many(wanted)
        deleted: list[int] = []
        with self._databases.use(queue) as db:
            for start in range(0, len(wanted), DELETED_AT_ONCE):  # others wait for the commit
                part = wanted[start : start + DELETED_AT_ONCE]
                with db.lock.held(db.lock_timeout):
                    generation = db.generation
                    seen = zip(part, after[start:], strict=False)
                    deleted += db.delete_many(
                        part, after={id: _condition(db, generation, id, each) or 0 for id, each in seen}
                    )
        self._remove_files(queue, deleted)
        return deleted

    def _remove_files(self, queue: Queue, ids: Iterable[int]) -> None:
        for id in ids:
            self.log_path(queue, id).unlink(missing_ok=True)
            self.messages_path(queue, id).unlink(missing_ok=True)
            self._checkpoints.drop(Ref(queue, id))

    def old_logs(self, queue: Queue, before: float) -> list[int]:
        """Return the ids of jobs whose log was last written to before a unix time, in seconds."""
        found = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self.log_path(queue, 0).parent) as entries:
            for entry in entries:
                stem, _, ending = entry.name.partition(".")
                if ending == "log" and stem.isdecimal() and entry.stat().st_mtime < before:
                    found.append(int(stem))
        return sorted(found)

    def compact_if_due(self, queue: Queue) -> bool:
        """Give the disk back what deletions have left in a queue's database, if it is much; return whether it was."""
        if not self.is_compaction_due(queue):
            return False
        with self._databases.use(queue) as db:
            return db.compact_if_due()

    def is_compaction_due(self, queue: Queue) -> bool:
        """Return whether `compact_if_due` would do something; nothing is opened."""
        from herojobs.ourdb import compact

        return compact.is_due(self.path(queue))

    # reading

    def get(self, queue: Queue, id: int) -> Job:
        """Return a job as it is now.

        Raises:
            JobNotFound: there is none.
            InvalidJob: another program has written something there that is no job.
        """
        return self.tip(queue, id)[0]

    def get_many(self, queue: Queue, ids: Sequence[int]) -> list[Job | None]:
        """Return jobs as they are now, in order, None for those that don't exist or can't be read."""
        tips = self.tips(queue, ids)
        return [None if tip is None else _job_or_none(queue, id, tip.data) for id, tip in zip(ids, tips, strict=True)]

    def tip(self, queue: Queue, id: int) -> tuple[Job, Position]:
        """Return a job as it is now and where this version lies, for `Put.after`. Raises as `get`."""
        if not self._exists(queue):
            raise JobNotFound(Ref(queue, id))
        with self._databases.use(queue) as db:
            generation = db.generation
            try:
                location, data = db.tip(id)
            except NotFound:
                raise JobNotFound(Ref(queue, id)) from None
        return _job(queue, id, data), Position(location, generation, data)

    def tips(self, queue: Queue, ids: Sequence[int]) -> list[Tip | None]:
        """Return the newest versions undecoded, in order, None as in `get_many`; for those who handle many."""
        if not self._exists(queue):
            return [None] * len(ids)
        with self._databases.use(queue) as db:
            generation = db.generation
            try:
                found = db.tips(ids) if len(ids) > 1 else [_tip_or_none(db, id) for id in ids]
            except CorruptRecord:
                found = [_tip_or_none(db, id) for id in ids]
        return [tip and Tip(tip[1], Position(tip[0], generation, tip[1])) for tip in found]

    def history(self, queue: Queue, id: int) -> list[Job]:
        """Return the versions of a job that are kept and can be read, the oldest first. Raises JobNotFound."""
        if not self._exists(queue):
            raise JobNotFound(Ref(queue, id))
        with self._databases.use(queue) as db:
            try:
                versions = db.history(id, 10_000)
            except NotFound:
                raise JobNotFound(Ref(queue, id)) from None
        kept = (_job_or_none(queue, id, version.data) for version in reversed(versions) if version.ok)
        return [job for job in kept if job is not None]

    def queues(self) -> list[Queue]:
        """Return the queues that have ever held a job, by name."""
        found = []
        for circle in _folders(self._circles):
            for topic in _folders(f"{self._circles}/{circle}"):
                known = self._named.get((circle, topic))  # a look at each of ten thousand topics takes its time
                queue = known or Queue.parse(f"{circle}:{topic}")
                if queue is not None and (known or self._exists(queue)):
                    self._named[queue] = queue
                    found.append(queue)
        return sorted(found)

    # following, for an index

    def end(self, queue: Queue) -> End:
        """Return how far a queue's database is written now."""
        with self._databases.use(queue) as db:
            _ = db.generation  # opens the new files after a compaction
            state = db.state_file.read() or EMPTY
        return End(state.generation, state.end)

    def scan(self, queue: Queue, since: int = 0) -> Iterator[Version]:
        """Yield every version of every job of a queue from a location on, as OurDB does."""
        with self._databases.use(queue) as db:
            yield from db.scan(since)

    def existing(self, queue: Queue, ids: Sequence[int]) -> set[int]:
        """Return those of some ids that jobs have."""
        with self._databases.use(queue) as db:
            _ = db.generation
            return {id for id, location in zip(ids, db.table.get_many(ids), strict=True) if location}

    def places(self, queue: Queue) -> Iterator[tuple[int, int]]:
        """Yield the id of every job of a queue, and the location of its newest version."""
        with self._databases.use(queue) as db:
            _ = db.generation
            yield from db.table.items()

    def doubtful(self, queue: Queue) -> frozenset[int]:
        """Return ids that another program wrote, or may have deleted: they aren't queued unless somebody asks."""
        with self._databases.use(queue) as db:
            return db.doubtful

    # names and places

    def remember_spelling(self, queue: Queue, circle_id: str, topic: str) -> list[str]:
        """Note how a queue's names are spelled; return warnings, each told once, about a second spelling."""
        return self._spellings.remember(queue, circle_id, topic)

    def spelling(self, queue: Queue) -> Spelling:
        """Return the first spelling of a queue's names, the fixed names if none is known."""
        return self._spellings.first(queue)

    def messages_path(self, queue: Queue, id: int) -> Path:
        """Return the file that keeps an AI job's conversation; it need not exist."""
        return self.log_path(queue, id).with_suffix(".messages.json")

    def log_path(self, queue: Queue, id: int) -> Path:
        """Return the file that keeps a job's output; it need not exist."""
        return self._circles / queue.circle / queue.topic / "logs" / f"{id}.log"

    def folder(self, queue: Queue) -> str:
        """Return the folder of a queue."""
        return f"{self._circles}/{queue.circle}/{queue.topic}"

    def has(self, queue: Queue) -> bool:
        """Return whether a queue has ever held a job."""
        return self._exists(queue)

    def path(self, queue: Queue) -> Path:
        """Return the folder of a queue's database."""
        return self._circles / queue.circle / queue.topic / "jobsdb"

    @property
    def keeps_dump(self) -> bool:
        """Whether databases keep the dump that other programs read (setting `ourdb_dump`)."""
        return self._settings.ourdb_dump

    @property
    def index_path(self) -> Path:
        """The file of the index that is derived from this store."""
        return self._settings.home / "var" / "index.sqlite3"

    def close(self) -> None:
        """Close what is open. Calls that are under way end first."""
        self._databases.close()

    def _open(self, queue: Queue) -> OurDB:
        make_home(self._settings.home)
        return OurDB(self.path(queue), sync=self._settings.sync, id_of=id_of, dump=self._settings.ourdb_dump)

    def _exists(self, queue: Queue) -> bool:
        """Whether a queue has a database: looking must not make one."""
        return self._databases.is_open(queue) or os.path.isdir(f"{self._circles}/{queue.circle}/{queue.topic}/jobsdb")


def id_of(data: bytes) -> int:
    """Return the id in a job's JSON, 0 if it has none: what OurDB rebuilds a lost table by."""
    match = _ID.match(data)
    if match:
        return int(match[1])
    job = decoded(data)
    return 0 if job is None else job.job_id


def encoded(job: Job) -> bytes:
    """Return a job's JSON.

    Raises:
        InvalidJob: a text in it can't be encoded; the error names the field.
    """
    try:
        return jobs.encode(job)
    except UnicodeEncodeError as e:
        raise jobs.unwritable(e, job) from None


def read(data: bytes) -> Job:
    """Return the job in a record, ours or a foreign program's.

    Raises:
        InvalidJob: it is no job.
    """
    try:
        return jobs.decode(data)
    except ValueError:
        return jobs.decode_foreign(data)


def decoded(data: bytes) -> Job | None:
    """Return the job in a record, None if it is no job."""
    try:
        return read(data)
    except (InvalidJob, ValueError, RecursionError):  # not JSON, not UTF-8, nested too deeply
        return None


def _job(queue: Queue, id: int, data: bytes) -> Job:
    """Return the job in a record; which one it is, is told by where it is stored (Redis layout, B14)."""
    job = read(data)
    job.job_id = id
    if not job.status:
        job.status = jobs.JobStatus.NEW.value
    try:
        fits = job.queue == queue
    except InvalidJob:
        fits = False
    if not fits:
        job.circle_id, job.topic = queue
    return job


def _job_or_none(queue: Queue, id: int, data: bytes) -> Job | None:
    try:
        return _job(queue, id, data)
    except (InvalidJob, ValueError, RecursionError):
        return None


def _condition(db: OurDB, generation: int, id: int, after: Position | None) -> int | None:
    """Return the location that must be the newest; after a compaction, where the version of that content is now."""
    if after is None:
        return None
    if after.generation == generation:
        return after.location
    with contextlib.suppress(NotFound, CorruptRecord):
        location, data = db.tip(id)
        if data == after.data:
            return location
    return NOWHERE


def _tip_or_none(db: OurDB, id: int) -> tuple[int, bytes] | None:
    try:
        return db.tip(id)
    except (NotFound, CorruptRecord):
        return None


def _too_large(error: RecordTooLarge, job: Job | None) -> ParamsTooLarge:
    begin = job.params[:20] if job else ""
    return ParamsTooLarge("params", begin + "...", f"the job has {error.size:,} bytes", f"at most {error.limit:,}")


def _folders(path: Path | str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
