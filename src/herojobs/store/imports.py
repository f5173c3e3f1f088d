"""Taking in a database that another program has made, or that lies under a name that isn't fixed (Redis layout, B14).

The original opens a database anew for each job, so that each of its jobs has id 1 there (OurDB format B3): a reader by
id would find the last one only. So every chain of versions in the files becomes a job, under its own id where that is
free.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from herojobs import job as jobs
from herojobs.errors import InvalidName, JobConflict
from herojobs.job import Job, JobStatus, Reason, now_ms
from herojobs.names import Queue
from herojobs.ourdb import OurDB
from herojobs.ourdb.files import sync_folder
from herojobs.store.jobs import JobStore, decoded, id_of

MAX_KEPT_ID = 8_000_000
"""Highest id that a job keeps: ids only go up from there, and none is left past 16,777,214."""


@dataclass
class Imported:
    """What an import did.

    Attributes:
        jobs: how many jobs the queue has now.
        renumbered: old and new id of each that couldn't keep its id; old id 0: its record told none.
        ended: jobs that weren't over and are marked as lost now, so that nothing runs them after all this time.
        unreadable: records that are no jobs; they stay in the old files only.
    """

    jobs: int = 0
    renumbered: list[tuple[int, int]] = field(default_factory=list)
    ended: int = 0
    unreadable: int = 0


def raw_databases(circles_dir: Path) -> list[tuple[Path, Queue | None]]:
    """Return the databases in a folder of circles that lie under a name that isn't fixed, by path.

    The queue of each is the one that its names mean; None if nothing is left of them.
    """
    found: list[tuple[Path, Queue | None]] = []
    for path in sorted(circles_dir.glob("*/*/jobsdb")):
        circle, topic = path.parent.parent.name, path.parent.name
        if Queue.parse(f"{circle}:{topic}") is None:
            try:
                found.append((path, Queue.of(circle, topic)))
            except InvalidName:
                found.append((path, None))
    return found


def import_database(store: JobStore, path: Path, queue: Queue, *, run_open: bool = False) -> Imported:
    """Copy the jobs of a database into a queue that has none yet: all of them, or after a crash none.

    Args:
        store: where to.
        path: the folder of the database; nothing in it is changed.
        queue: the queue.
        run_open: whether jobs that aren't over shall run; if not, they end as lost.

    Raises:
        FileNotFoundError: there is no database at `path`.
        JobConflict: the queue has jobs already.
        herojobs.ourdb.OurDBError: the database can't be read.
    """
    if not any(path.glob("*.db")):
        raise FileNotFoundError(f"{path}: no database, which would have a file 0.db")
    target = store.path(queue)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="import.", dir=target.parent) as folder:
        # A copy, since opening a database mends it. Its table isn't needed: the files tell all there is.
        source = Path(folder) / "source"
        shutil.copytree(path, source, ignore=shutil.ignore_patterns("lookup", "lookup_dump.db*", "compact"))
        made = Path(folder) / "jobsdb"
        with OurDB(source, id_of=id_of, dump=False) as old, OurDB(made, id_of=id_of, dump=store.keeps_dump) as new:
            imported = _copy(old, new, queue, run_open)
        sync_folder(made)
        try:
            os.rename(made, target)  # refused unless an empty folder is there, or none
        except OSError as e:
            if target.exists():
                raise JobConflict(f"{queue} has jobs already; import into a topic that has none") from None
            raise e
    return imported


def _copy(old: OurDB, new: OurDB, queue: Queue, run_open: bool) -> Imported:
    imported = Imported()
    ids: dict[int, int] = {}  # by the location of a version of the job in the old files
    open_ids: set[int] = set()
    for version in old.scan():
        id = ids.pop(version.previous, 0)
        if version.deleted:
            if id:
                new.delete(id)
                open_ids.discard(id)
            continue
        job = decoded(version.data)
        if job is None:
            imported.unreadable += 1
            continue
        _settle_names(job, queue)
        if id:
            job.job_id = id
            new.set(id, jobs.encode(job))
        else:
            wanted = job.job_id
            id = job.job_id = _add(new, wanted, job)
            if id != wanted:
                imported.renumbered.append((wanted, id))
        ids[version.location] = id
        (open_ids.discard if job.is_over else open_ids.add)(id)
    imported.jobs = len(set(ids.values()))
    if not run_open:
        imported.ended = len(open_ids)
        for id in sorted(open_ids):
            job = decoded(new.get(id))
            assert job is not None
            _end(job)
            new.set(id, jobs.encode(job))
    return imported


def _add(new: OurDB, wanted: int, job: Job) -> int:
    """Store a job under the id it wants, under the next one if that is taken, unknown or far out; return it."""
    id = wanted if new.next_id <= wanted <= MAX_KEPT_ID else new.next_id
    job.job_id = id
    new.put_at(id, jobs.encode(job))
    return id


def _settle_names(job: Job, queue: Queue) -> None:
    try:
        if job.queue == queue:
            return
    except InvalidName:
        pass
    job.circle_id, job.topic = queue


def _end(job: Job) -> None:
    job.status, job.reason = JobStatus.ERROR.value, Reason.LOST.value
    job.error = "it wasn't over when it was imported"
    job.ended_ms = now_ms()
    job.time_end = job.ended_ms // 1000
