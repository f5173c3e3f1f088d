"""Submissions of one event loop that come while another is on its way go together, in one batch.

One write to OurDB and one round trip to Redis for all of them; one that comes alone leaves at once.
"""

from __future__ import annotations

import asyncio

from herojobs.client.core import Core
from herojobs.errors import HeroJobsError, RedisUnavailable, SubmissionUnconfirmed
from herojobs.job import Job, validate
from herojobs.ourdb import OurDBError

MOST = 500
"""Jobs of one group; more would hold up who asks for something else."""

Waiting = tuple[Job, "asyncio.Future[Job]"]


class Together:
    """Submits the jobs of callers that don't wait for each other.

    Args:
        core: what submits.
        max_params: longest params, in bytes.
        session_key: for jobs that have none of their own.
    """

    def __init__(self, core: Core, max_params: int, session_key: str = "") -> None:
        self._core = core
        self._max_params = max_params
        self._session_key = session_key
        self._waiting: list[Waiting] = []
        self._under_way = False
        self._task: asyncio.Task[None] | None = None

    async def submit(self, job: Job) -> Job:
        """Submit a job; what is wrong with one is told to its caller alone.

        Raises:
            HeroJobsError: as `HeroJobs.submit`.
        """
        if self._under_way:
            validate(job, max_params=self._max_params)
            future: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
            self._waiting.append((job, future))
            return await future
        self._under_way = True
        try:
            return await self._core.submit(job, self._session_key)
        finally:
            if self._waiting:
                self._task = asyncio.create_task(self._run())
            else:
                self._under_way = False

    async def _run(self) -> None:
        """Submit what waits, until nothing does."""
        try:
            while self._waiting:
                group = [each for each in self._waiting[:MOST] if not each[1].done()]  # done: its caller gave up
                del self._waiting[:MOST]
                if group:
                    await self._submit(group)
        finally:
            self._under_way = False
            left, self._waiting = self._waiting, []
            for _, future in left:  # the loop ends
                future.cancel()

    async def _submit(self, group: list[Waiting]) -> None:
        try:
            submitted = await self._core.submit_many([job for job, _ in group], self._session_key)
        except RedisUnavailable as e:
            _fail(group, e)
        except (HeroJobsError, OurDBError, OSError) as e:
            if len(group) > 1 and not any(job.job_id for job, _ in group):
                for each in group:  # nothing was written; one job or database is the trouble
                    await self._submit([each])
            else:
                _fail(group, e)
        except BaseException as e:
            _fail(group, e)
            if not isinstance(e, Exception):
                raise
        else:
            for (_, future), job in zip(group, submitted, strict=True):  # one that has its key, maybe
                if not future.done():
                    future.set_result(job)


def _fail(group: list[Waiting], error: BaseException) -> None:
    for job, future in group:
        if future.done():
            continue
        if isinstance(error, SubmissionUnconfirmed):  # each caller hears of its own job
            future.set_exception(SubmissionUnconfirmed([str(job.ref)], error.__cause__ or error))
        elif isinstance(error, Exception):
            future.set_exception(error)
        else:
            future.cancel()
