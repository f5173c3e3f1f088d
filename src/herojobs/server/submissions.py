"""Submissions that arrive together go together: one write to OurDB and one round trip to Redis for all of them."""

from __future__ import annotations

import asyncio

from herojobs.client.core import Core
from herojobs.errors import HeroJobsError, RedisUnavailable, SubmissionUnconfirmed
from herojobs.job import Job, validate
from herojobs.ourdb import OurDBError

MOST = 500
"""Jobs of one group; more would hold up who asks for something else."""


class Submissions:
    """Groups the jobs of callers who submit in the same round of the event loop, or while a group is on its way.

    Args:
        core: what submits.
        max_params: longest params, in bytes.
    """

    def __init__(self, core: Core, max_params: int) -> None:
        self._core = core
        self._max_params = max_params
        self._waiting: list[tuple[Job, asyncio.Future[Job]]] = []
        self._task: asyncio.Task[None] | None = None

    async def submit(self, job: Job) -> Job:
        """Submit a job; what is wrong with one is told to its caller alone.

        Raises:
            HeroJobsError: as `HeroJobs.submit`.
        """
        validate(job, max_params=self._max_params)
        future: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
        self._waiting.append((job, future))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        await asyncio.sleep(0)  # the callers of this round of the loop come first
        while self._waiting:
            group, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            try:
                submitted = await self._core.submit_many([job for job, _ in group])
            except RedisUnavailable as e:
                _fail(group, e)
            except (HeroJobsError, OurDBError, OSError) as e:
                if len(group) > 1 and not any(job.job_id for job, _ in group):
                    await self._one_by_one(group)  # nothing was written; one job or database is the trouble
                else:
                    _fail(group, e)
            except Exception as e:
                _fail(group, e)
            else:
                for (_, future), job in zip(group, submitted, strict=True):  # one that has its key, maybe
                    if not future.done():
                        future.set_result(job)
        self._task = None

    async def _one_by_one(self, group: list[tuple[Job, asyncio.Future[Job]]]) -> None:
        """Submit jobs alone, so that one which can't be stored fails by itself."""
        for job, future in group:
            try:
                submitted = await self._core.submit_many([job])
            except Exception as e:
                _fail([(job, future)], e)
            else:
                if not future.done():
                    future.set_result(submitted[0])


def _fail(group: list[tuple[Job, asyncio.Future[Job]]], error: Exception) -> None:
    for job, future in group:
        if not future.done():
            own = isinstance(error, SubmissionUnconfirmed)  # each caller hears of its own job
            future.set_exception(SubmissionUnconfirmed([str(job.ref)], error.__cause__ or error) if own else error)
