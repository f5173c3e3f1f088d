"""The client that tests get: jobs run in the test's own process, when the test says so."""

from __future__ import annotations

import re
from typing import Any

from herojobs.client import HeroJobs
from herojobs.client.given import AnyRef
from herojobs.errors import WaitTimeout
from herojobs.job import Job, now_ms
from herojobs.settings import Settings
from herojobs.store import JobStore
from herojobs.testing.submissions import Wanted, failure
from herojobs.watchdog.inline import InlineWatchDog


class InlineHero(HeroJobs):
    """A `HeroJobs` with an `InlineWatchDog` at hand, and assertions about what was submitted.

    What other clients of the same home submit, those of the program under test say, is seen and run too.

    Args:
        settings: the home, Redis and actors to use.
        inline: whether `wait` runs what waits; False if a real WatchDog does.
    """

    def __init__(self, settings: Settings, *, inline: bool = True) -> None:
        super().__init__(settings=settings)
        self._is_inline = inline
        self._inline: InlineWatchDog | None = None

    @property
    def watchdog(self) -> InlineWatchDog:
        """The WatchDog that runs the jobs; made when it is first used."""
        if self._inline is None:
            self._inline = InlineWatchDog(settings=self.settings)
        return self._inline

    def run_pending(self) -> int:
        """Run all jobs that wait or are due, and those that they submit; return how many ran."""
        return self.watchdog.run_pending()

    def run(self, params: str, **fields: Any) -> Job:
        """Submit a job, run what waits, and return the job as it is then.

        Args:
            params: the script, call or prompt.
            fields: further arguments of `submit`; the circle is `default` if none is given.
        """
        job = self.submit(params, **fields)
        self.run_pending()
        return self.get(job)

    def wait(self, ref: AnyRef, timeout: float | None = None) -> Job:
        """Run what waits, and return a job that is over by then; with a real WatchDog, wait for it.

        Raises:
            WaitTimeout: it isn't, so that it won't ever be unless something happens; the error says what it waits for.
        """
        if not self._is_inline:
            return super().wait(ref, timeout)
        self.run_pending()
        job = self.get(ref)
        if job.is_over:
            return job
        late = job.time_scheduled * 1000 - now_ms()
        why = f"it is due in {late / 1000:g} s: move the clock" if late > 0 else "nothing runs it"
        raise WaitTimeout(f"{job.ref} is {job.status} after everything that waits was run; {why}")

    def submitted(
        self,
        *,
        kind: str | None = None,
        circle_id: str | None = None,
        topic: str | None = None,
        params: str | re.Pattern[str] | None = None,
        tag: str | None = None,
        status: str | None = None,
        parent: str | None = None,
    ) -> list[Job]:
        """Return the jobs of this home that meet every condition given, by queue and in the order of submission.

        Args:
            kind: their params_type.
            circle_id: their circle, spelled in any way.
            topic: their topic, likewise.
            params: a text that their params contain, or a compiled pattern that is found in them.
            tag: one of their tags.
            status: new, active, done or error.
            parent: reference of the job that submitted them.
        """
        wanted = Wanted(kind, circle_id, topic, params, tag, status, parent)
        return [job for job in self._every_job() if not wanted.misses(job)]

    def assert_submitted(
        self,
        *,
        kind: str | None = None,
        circle_id: str | None = None,
        topic: str | None = None,
        params: str | re.Pattern[str] | None = None,
        tag: str | None = None,
        status: str | None = None,
        parent: str | None = None,
        count: int | None = None,
    ) -> list[Job]:
        """Fail unless jobs were submitted that meet the conditions of `submitted`; return them.

        Args:
            kind: these are as for `submitted`.
            circle_id: likewise.
            topic: likewise.
            params: likewise.
            tag: likewise.
            status: likewise.
            parent: likewise.
            count: how many there must be; None = at least one, 0 = there must be none.

        Raises:
            AssertionError: says what was submitted, and what the nearest job lacks.
        """
        wanted = Wanted(kind, circle_id, topic, params, tag, status, parent)
        every = self._every_job()
        found = [job for job in every if not wanted.misses(job)]
        if (not found) if count is None else len(found) != count:
            raise AssertionError(failure(wanted, count, found, every))
        return found

    def close(self) -> None:
        """Close connections and databases."""
        if self._inline is not None:
            self._inline.close()
            self._inline = None
        super().close()

    def _every_job(self) -> list[Job]:
        store = JobStore(self.settings)  # one of its own: nothing of Redis is needed to look
        try:
            found = []
            for queue in store.queues():
                found += [job for job in store.get_many(queue, range(1, store.next_id(queue))) if job is not None]
            return found
        finally:
            store.close()
