"""Pages of jobs, whose answers are bounded in bytes too: a thousand jobs may hold gigabytes."""

from __future__ import annotations

from typing import Any

from herojobs.errors import InvalidJob
from herojobs.job import Job
from herojobs.store import JobIndex

MOST_BYTES = 16 * 1024 * 1024
"""Bytes of text after which a page ends early, with the cursor of the rest."""
FIRST = 20
"""Jobs that are looked at to tell how large they are."""


def page(index: JobIndex, limit: int, before: str | None, **conditions: Any) -> tuple[list[Job], str | None]:
    """Return up to `limit` jobs and the cursor of the next page, None if there is none.

    Args:
        index: what finds them.
        limit: most jobs to return; fewer come where they are large.
        before: cursor of the page before.
        conditions: as `JobIndex.find` takes them.
    """
    jobs: list[Job] = []
    size = 0
    number = min(limit, FIRST)
    while True:
        try:
            found = index.find(limit=number, before=before, fresh=not jobs, **conditions)
        except InvalidJob as e:
            if e.field == "before":
                raise InvalidJob("cursor", e.got, "no cursor", "the `cursor` of the page before") from None
            raise
        jobs += found.jobs
        size += sum(len(job.params) + len(job.result) + len(job.error) for job in found.jobs)
        before = found.cursor
        left = limit - len(jobs)
        if before is None or left == 0 or size >= MOST_BYTES:
            return jobs, before
        fitting = (MOST_BYTES - size) * len(jobs) // max(size, 1)
        number = min(left, max(FIRST, fitting))
