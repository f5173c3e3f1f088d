"""What a store of jobs is: the contract that OurDB's store keeps today and another database's can keep.

A history store (`Store`) holds every version of every job; an index (`Index`) answers questions over many jobs. The
tests in tests/store/test_conformance.py are the contract's other half: a new store passes them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from herojobs.job import Job
from herojobs.names import Queue


class Position(msgspec.Struct, frozen=True, gc=False):
    """Which version of a job was the newest one when somebody looked; made by a store, opaque to its callers.

    It is handed back as `Put.after`, and survives the store's compaction: `data`, the version's own, tells it once the
    location has changed with the generation.
    """

    location: int
    generation: int
    data: bytes


class Put(msgspec.Struct, frozen=True, gc=False):
    """A new version of a job: accepted only if `after` is still the newest one, or if `after` is None, whatever is.

    `data` is the job's JSON (`herojobs.job.encode`).
    """

    id: int
    data: bytes
    after: Position | None


class Tip(msgspec.Struct, frozen=True, gc=False):
    """The newest version of a job: its JSON as stored, and its position."""

    data: bytes
    position: Position


class Spelling(NamedTuple):
    """How a queue's names were spelled when they were first seen; for display."""

    circle_id: str
    topic: str


class Found(NamedTuple):
    """A page of jobs, newest first. `cursor` gives the next page, as `find(before=cursor)`; None: there is none."""

    jobs: list[Job]
    cursor: str | None


class Progress(NamedTuple):
    """How far a catch-up is: the queue it is at, versions read so far in all, queues done, and queues in all."""

    queue: Queue
    versions: int
    done: int
    queues: int


class Store(Protocol):
    """The durable history of jobs. Safe for any number of threads and processes at once.

    Every method is synchronous and quick: what isn't (`Index`) is told apart. `lock_timeout` is in seconds: how long to
    wait for another process that is writing; 0 tries once, None is the store's own limit, 30 s. What is past raises
    `herojobs.ourdb.DatabaseLocked`. Other errors of the store, such as a full disk, are `herojobs.ourdb.OurDBError`s,
    and nothing was written then.
    """

    def add_many(self, queue: Queue, jobs: Sequence[Job], lock_timeout: float | None = None) -> list[bytes]:
        """Store new jobs, give each its `job_id`, and return the JSON that was stored, in order.

        Raises:
            InvalidJob: the text of a job can't be encoded. Nothing was written, no job changed.
            ParamsTooLarge: the store can't hold a job of that size. Likewise.
        """
        ...

    def put_many(self, queue: Queue, puts: Sequence[Put], lock_timeout: float | None = None) -> list[Position | None]:
        """Store new versions in one commit; return for each its position, or None if it wasn't accepted.

        A version isn't accepted when `after` isn't the newest one any more, or when the job was deleted. Of several
        puts after the same version one is accepted, whoever makes them.

        Raises:
            ParamsTooLarge: the store can't hold a version of that size; nothing was written.
        """
        ...

    def put_at(self, queue: Queue, id: int, job: Job) -> Tip:
        """Store a job that came with an id of its own, set its `job_id`; later ids are given past it.

        Raises:
            JobConflict: there is, or was, a job with this id.
            InvalidJob, ParamsTooLarge: as `add_many`.
            herojobs.ourdb.NotFound: no job can have this id.
        """
        ...

    def get(self, queue: Queue, id: int) -> Job:
        """Return a job as it is now.

        Raises:
            JobNotFound: there is none.
            InvalidJob: another program has written something there that is no job.
        """
        ...

    def get_many(self, queue: Queue, ids: Sequence[int]) -> list[Job | None]:
        """Return jobs as they are now, in order, None for those that don't exist or can't be read."""
        ...

    def tip(self, queue: Queue, id: int) -> tuple[Job, Position]:
        """Return a job as it is now and where this version lies, for `Put.after`. Raises as `get`."""
        ...

    def tips(self, queue: Queue, ids: Sequence[int]) -> list[Tip | None]:
        """Return the newest versions undecoded, in order, None as in `get_many`; for those who handle many."""
        ...

    def history(self, queue: Queue, id: int) -> list[Job]:
        """Return the versions of a job that are kept and can be read, the oldest first. Raises JobNotFound."""
        ...

    def delete(self, queue: Queue, ids: Iterable[int], after: Sequence[Position] | None = None) -> list[int]:
        """Remove jobs with their whole history and their logs; return the ids that existed.

        Args:
            queue: the queue.
            ids: which.
            after: for each, the version that must still be the newest; another one stays, and isn't returned.
        """
        ...

    def queues(self) -> list[Queue]:
        """Return the queues that have ever held a job, by name."""
        ...

    def remember_spelling(self, queue: Queue, circle_id: str, topic: str) -> list[str]:
        """Note how a queue's names are spelled; return warnings, each told once, about a second spelling."""
        ...

    def spelling(self, queue: Queue) -> Spelling:
        """Return the first spelling of a queue's names, the fixed names if none is known."""
        ...

    def log_path(self, queue: Queue, id: int) -> Path:
        """Return the file that keeps a job's output; it need not exist."""
        ...

    def close(self) -> None:
        """Close what is open. Calls that are under way end first."""
        ...


class Index(Protocol):
    """Questions over many jobs. Derived from a store: never the truth, and never needed for it."""

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
            wait: seconds to wait for another process that is catching up.
        """
        ...

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
        """Return jobs that meet every condition given, the newest submission first.

        Args:
            circle: circle, spelled in any way; several: any of them.
            topic: topic, spelled in any way.
            status: new, active, done or error.
            kind: params_type.
            reason: why it ended.
            tag: one of its tags.
            since: submitted at or after this, in unix milliseconds.
            until: submitted before this, in unix milliseconds.
            text: words, or the beginnings of words, that occur in its params, result or error, all of them; words in
                double quotes must follow each other.
            session_key: who asked. Not indexed: each job that meets the rest is looked at.
            limit: most jobs to return, 1 to 1000.
            before: cursor of the page before.
            fresh: catch up first; else answer from what is there.

        Raises:
            InvalidJob: a condition has an impossible value; the error names it.
        """
        ...

    def open_ids(self, queue: Queue, fresh: bool = True) -> list[int]:
        """Return the ids of the jobs that aren't over, ascending. One may have ended since: look before acting."""
        ...

    def over(self, queue: Queue, before: int, status: str | None = None) -> Iterator[list[int]]:
        """Yield the ids of jobs that are over and were submitted before a time, the oldest first, a batch at a time.

        Args:
            queue: the queue.
            before: unix milliseconds.
            status: done or error; None = both.
        """
        ...

    def counts(self, circle: str | None = None, topic: str | None = None, fresh: bool = True) -> dict[str, int]:
        """Return how many jobs there are by status; the four statuses are always there."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...
