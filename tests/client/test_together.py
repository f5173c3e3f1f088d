"""Submissions of one event loop that don't wait for each other: one batch, and each is answered for itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from herojobs import AsyncHeroJobs
from herojobs.errors import InvalidJob, JobExists, SubmissionUnconfirmed
from herojobs.job import Job
from herojobs.live.redis import AsyncRedis

ECHO = "!!core.echo content:hi"


@pytest.fixture
async def hero(tmp_path: Path, redis_url: str) -> AsyncIterator[AsyncHeroJobs]:
    async with AsyncHeroJobs(home=tmp_path / "home", redis_url=redis_url) as found:
        await found.queues()
        yield found


def many(hero: AsyncHeroJobs, count: int, **given: Any) -> list[asyncio.Task[Job]]:
    return [asyncio.create_task(hero.submit(ECHO, topic="t", tags=[str(n)], **given)) for n in range(count)]


async def test_they_go_together(hero: AsyncHeroJobs, redis_url: str) -> None:
    redis = AsyncRedis(redis_url)
    await redis.command("CONFIG", "RESETSTAT")
    jobs = await asyncio.gather(*many(hero, 700))
    assert sorted(job.job_id for job in jobs) == list(range(1, 701))
    assert [job.tags for job in jobs] == [[str(n)] for n in range(700)]
    stats = await redis.command("INFO", "commandstats")
    assert int(stats.split(b"cmdstat_evalsha:calls=")[1].split(b",")[0]) <= 4, "the first, and groups of 500"
    assert await redis.command("LLEN", "heroqueue:default:t") == 700
    await redis.close()


async def test_what_is_wrong_with_one_is_told_to_its_caller_alone(hero: AsyncHeroJobs) -> None:
    tasks = many(hero, 4)
    tasks += [asyncio.create_task(hero.submit("", topic="t")), asyncio.create_task(hero.submit(ECHO, topic="/"))]
    tasks += [asyncio.create_task(hero.submit(ECHO, topic="t", after=["default/t/99"]))]  # seen with the group only
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(each, Job) for each in answers] == [True] * 4 + [False] * 3
    assert [each.field for each in answers[4:] if isinstance(each, InvalidJob)] == ["params", "topic", "after"]
    assert len(await hero.list(topic="t")) == 4


async def test_keys_are_kept(hero: AsyncHeroJobs) -> None:
    jobs = await asyncio.gather(*many(hero, 5), *many(hero, 3, unique_key="one"))
    assert len({job.job_id for job in jobs}) == 6
    with pytest.raises(JobExists):
        await asyncio.gather(hero.submit(ECHO, topic="t"), *many(hero, 1, unique_key="one", if_exists="raise"))


async def test_who_gives_up_before_it_leaves_submits_nothing(hero: AsyncHeroJobs) -> None:
    tasks = many(hero, 5)
    await asyncio.sleep(0)  # the first is on its way, the others wait
    tasks[2].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(each, asyncio.CancelledError) for each in answers] == [False, False, True, False, False]
    assert len(await hero.list(topic="t")) == 4


async def test_a_first_one_that_gives_up_leaves_the_others_going(hero: AsyncHeroJobs) -> None:
    tasks = many(hero, 5)
    await asyncio.sleep(0)
    tasks[0].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(each, Job) for each in answers] == [False, True, True, True, True]
    assert (await hero.submit(ECHO, topic="t")).job_id == 6


async def test_each_hears_of_its_own_when_redis_goes_away(hero: AsyncHeroJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    async def lost(*_: object) -> list[Job]:
        raise SubmissionUnconfirmed(["default/t/7", "default/t/8"], ConnectionError("gone"))

    together = hero._together
    assert together is not None
    monkeypatch.setattr(together._core, "submit_many", lost)
    answers = await asyncio.gather(*many(hero, 3), return_exceptions=True)
    assert isinstance(answers[0], Job)
    assert [len(each.refs) for each in answers[1:] if isinstance(each, SubmissionUnconfirmed)] == [1, 1]
