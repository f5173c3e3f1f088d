"""Jobs that come after others: what is checked when they are submitted, and a whole flow found and cancelled.

Jobs that hang together are a flow. They are found by their tags: a job has those of the jobs that it comes after,
`flow:...` each, and for one that has none `flow:REF`. Those of a chain or a fan-in share one from the start.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from graphlib import TopologicalSorter
from typing import Any

from herojobs.client.given import AnyRef, as_jobs, as_ref
from herojobs.errors import InvalidJob, JobConflict, JobNotFound
from herojobs.job import After, Job, validate
from herojobs.names import Ref
from herojobs.store import JobIndex, JobStore

FLOW = "flow:"
"""Begins the tags by which the jobs of a flow are found."""
MOST_FLOWS = 16
"""Flows that one job can join together; of more jobs that had nothing to do with each other the first ones count."""

JobFields = Job | Mapping[str, Any]
SubmitMany = Callable[..., Awaitable[list[Job]]]


class Chains:
    """Submits chains and fan-ins, over whatever submits jobs.

    Args:
        submit_many: as `Core.submit_many`.
    """

    def __init__(self, submit_many: SubmitMany) -> None:
        self._submit_many = submit_many

    async def chain(self, given: Iterable[JobFields], on_failure: str, session_key: str) -> list[Job]:
        """Submit jobs that come one after another; see `HeroJobs.chain`."""
        submitted: list[Job] = []
        for job in _checked(given):
            if submitted:
                job.after = [*job.after, After(str(submitted[-1].ref), on_failure)]
            submitted += await self._submit_many([job], session_key)
        return submitted

    async def fan_in(
        self, given: Iterable[JobFields], then: JobFields, on_failure: str, session_key: str
    ) -> tuple[list[Job], Job]:
        """Submit jobs that run side by side and one that comes after all of them; see `HeroJobs.fan_in`."""
        *parts, last = _checked([*given, then])
        if not parts:
            raise InvalidJob("jobs", "none", "there is nothing to come after", "at least one")
        parts = await self._submit_many(parts, session_key)
        last.after = [*last.after, *(After(str(job.ref), on_failure) for job in parts)]
        (submitted,) = await self._submit_many([last], session_key)
        return parts, submitted


def prepare(job: Job, store: JobStore) -> None:
    """Check what a new job comes after, and give it its flow's tag.

    Raises:
        InvalidJob: one of these doesn't exist, or belongs to another circle.
    """
    refs = [Ref.parse(each.ref) for each in job.after]
    job.after = [After(str(ref), each.on_failure) for ref, each in zip(refs, job.after, strict=True)]
    tags = dict.fromkeys(job.tags)
    for ref in refs:
        try:
            found = store.get(*ref)
        except JobNotFound:
            raise InvalidJob("after", str(ref), "there is no such job") from None
        if len(tags) < len(job.tags) + MOST_FLOWS:
            tags.update(dict.fromkeys(flow_tags(found, ref)))
    job.tags = list(tags)


class Flows(Chains):
    """Submits, finds and cancels flows.

    Args:
        store: the durable history.
        index: finds jobs by their tag.
        submit_many: as `Core.submit_many`.
        cancel: as `Core.cancel`.
        apart: as of `Core`.
    """

    def __init__(
        self,
        store: JobStore,
        index: JobIndex,
        submit_many: SubmitMany,
        cancel: Callable[[AnyRef], Awaitable[Job]],
        apart: Callable[..., Awaitable[Any]],
    ) -> None:
        super().__init__(submit_many)
        self._store = store
        self._index = index
        self._cancel = cancel
        self._apart = apart

    def is_waiting(self, job: Job) -> bool:
        """Return whether something that a job comes after isn't over."""
        for each in job.after:
            with suppress(JobNotFound):
                if not self._store.get(*Ref.parse(each.ref)).is_over:
                    return True
        return False

    async def find(self, ref: AnyRef) -> list[Job]:
        """Return all jobs that hang together with one, in the order of their submission."""
        found: list[Job] = await self._apart(self._find, ref)
        return found

    def _find(self, ref: AnyRef) -> list[Job]:
        start = as_ref(ref)
        found: dict[Ref, Job] = {}
        tags: set[str] = set()
        waiting = [start]
        self._store.get(*start)
        while waiting:
            each = waiting.pop()
            if each in found or each.queue.circle != start.queue.circle:  # a foreign program may name any job
                continue
            try:
                job = self._store.get(*each)
            except JobNotFound:
                continue
            found[each] = job
            waiting += [Ref.parse(parent.ref) for parent in job.after]
            for tag in {*flow_tags(job, each), f"{FLOW}{each}"} - tags:
                tags.add(tag)
                waiting += self._tagged(tag, each)
        return _in_order(found)

    async def cancel(self, ref: AnyRef) -> list[Job]:
        """Cancel all jobs of a flow that aren't over; see `HeroJobs.cancel_flow`."""
        cancelled = []
        for job in reversed(await self.find(ref)):  # who waits first, so that no end of another one lets it go
            if not job.is_over:
                with suppress(JobConflict):  # it ended in this moment
                    cancelled.append(await self._cancel(job))
        return cancelled[::-1]

    def _tagged(self, tag: str, ref: Ref) -> list[Ref]:
        found: list[Ref] = []
        cursor: str | None = None
        while True:
            page = self._index.find(circle=ref.queue.circle, tag=tag, limit=1000, before=cursor, fresh=cursor is None)
            found += [job.ref for job in page.jobs]
            cursor = page.cursor
            if cursor is None:
                return found


def _checked(given: Iterable[JobFields]) -> list[Job]:
    """Return new jobs of one flow, all valid, so that none is refused when those before it are submitted already."""
    made = as_jobs(given)
    tag = f"{FLOW}{secrets.token_hex(6)}"
    for place, job in enumerate(made):
        try:
            validate(job)
        except InvalidJob as e:
            e.place(place)
            raise
        job.tags = [*job.tags, tag]
    return made


def _in_order(found: Mapping[Ref, Job]) -> list[Job]:
    """Return jobs in the order of their submission, none before those that it comes after."""
    sorter = TopologicalSorter({ref: [Ref.parse(each.ref) for each in job.after] for ref, job in found.items()})
    sorter.prepare()
    ordered: list[Job] = []
    while sorter.is_active():
        ready = sorter.get_ready()
        ordered += sorted(
            (found[ref] for ref in ready if ref in found), key=lambda job: (job.created_ms, job.topic, job.job_id)
        )
        sorter.done(*ready)
    return ordered


def flow_tags(job: Job, ref: Ref) -> list[str]:
    """Return the tags of the flows that a job belongs to, or of the one that it begins."""
    return [tag for tag in job.tags if tag.startswith(FLOW)] or [f"{FLOW}{ref}"]
