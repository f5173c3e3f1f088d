"""Reads what happened to jobs from their databases, where every change of state is a version, into the outbox."""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

import msgspec

from herojobs.hooks.outbox import Change, Cursor, Outbox
from herojobs.job import Job, JobStatus, Reason
from herojobs.names import Queue, Ref
from herojobs.ourdb import Version, after
from herojobs.store import JobStore
from herojobs.store.catchup import seen
from herojobs.store.jobs import decoded

BATCH = 2_000
"""Versions a transaction."""
MAX_AGE_MS = 86_400_000
"""Milliseconds after which a change is told to nobody any more: no sender ran, or all were refused, for that long."""

Wants = Callable[[Queue, str], list[str]]
"""Returns the targets that want to hear of an event in a queue."""


class Collector:
    """Follows all queues of a home.

    Args:
        store: the job databases.
        outbox: where changes are noted.
        wants: who is told what.
    """

    def __init__(self, store: JobStore, outbox: Outbox, wants: Wants) -> None:
        self._store = store
        self._outbox = outbox
        self._wants = wants
        self._cursors = outbox.cursors()
        self._seen: dict[Queue, bytes] = {}
        if not outbox.has_begun:  # what was before is nobody's business
            for queue in store.queues():
                end = store.end(queue)
                self._note(queue, Cursor(end.generation, end.location), [])
            outbox.begin()

    def step(self, now: int) -> int:
        """Read what is new in all queues; return the number of versions read."""
        read = 0
        for queue in self._store.queues():
            look = seen(self._store, queue)
            if self._seen.get(queue) == look:
                continue
            read += self._follow(queue, now)
            self._seen[queue] = look
        return read

    def _follow(self, queue: Queue, now: int) -> int:
        end = self._store.end(queue)
        cursor = self._cursors.get(queue, Cursor(end.generation, 0))
        if cursor.generation != end.generation or cursor.location > end.location:
            cursor = Cursor(end.generation, 0)  # compacted: what was told is known by its key
        read = 0
        while cursor.location < end.location:
            changes: list[Change] = []
            location, count = cursor.location, 0
            for version in self._store.scan(queue, location):
                if version.location >= end.location or count >= BATCH:
                    break
                changes += self._changes(queue, version, now)
                location = after(version)
                count += 1
            else:
                location = end.location
            if self._store.end(queue).generation != end.generation:
                return read  # compacted meanwhile: the next step begins anew
            cursor = Cursor(end.generation, location if count else end.location)
            self._note(queue, cursor, changes)
            read += count
        return read

    def _note(self, queue: Queue, cursor: Cursor, changes: list[Change]) -> None:
        self._outbox.take_in(queue, cursor, changes)
        self._cursors[queue] = cursor

    def _changes(self, queue: Queue, version: Version, now: int) -> list[Change]:
        if version.deleted or not version.ok or not version.id:
            return []
        job = decoded(version.data)
        event = job and event_of(job, first=not version.previous)
        if not job or not event:
            return []
        when = max(job.created_ms, job.started_ms, job.ended_ms)
        targets = self._wants(queue, event) if not when or now - when < MAX_AGE_MS else []
        if not targets:
            return []
        job.job_id = version.id
        job.session_key = "***" if job.session_key else ""
        key = f"{event}-{crc32(version.data):08x}"
        data = msgspec.json.encode(job)
        return [Change(target, str(Ref(queue, version.id)), event, key, data, now) for target in targets]


def event_of(job: Job, *, first: bool) -> str:
    """Return what a version of a job tells: submitted, started, retrying, done, error; empty if nothing of these."""
    if job.status == JobStatus.NEW:
        return "submitted" if first else "retrying" if job.reason == Reason.RETRYING else ""
    return {JobStatus.ACTIVE: "started", JobStatus.DONE: "done", JobStatus.ERROR: "error"}.get(
        JobStatus(job.status), ""
    )
