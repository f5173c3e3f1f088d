"""Calls sent one after another and answered together, over both transports and every server."""

from __future__ import annotations

from typing import Any

import pytest

from herojobs.errors import RedisUnavailable
from herojobs.live import calls
from herojobs.live.calls import Submitted
from herojobs.names import Queue
from live.driver import Driver

Q = Queue("c", "t")
OTHER = Queue("c", "other")


def part(first: int, queue: Queue = Q, size: int = 300) -> Any:
    return calls.submit(queue, [(id, b"x" * 1000, 0, 0) for id in range(first, first + size)])


def waiting(driver: Driver[Any]) -> int:
    return int(driver.command("LLEN", "heroqueue:c:t"))


def test_all_are_done_in_order_and_answered_each(driver: Driver[Any]) -> None:
    async def submit() -> list[Any]:
        async with driver.redis.pipeline() as pipeline:
            await pipeline.send(part(1))
            await pipeline.send(part(1, OTHER))
            await pipeline.send(part(300))
            return list(await pipeline.results())

    first, second, third = driver.do(submit())
    assert first == second == Submitted([], [])
    assert third.present == [300]
    assert driver.command("LRANGE", "heroqueue:c:t", 298, 301) == [b"299", b"300", b"301", b"302"]
    assert driver.command("ECHO", "next") == b"next"


def test_many_and_large_ones_go_through(driver: Driver[Any]) -> None:
    async def submit() -> list[Any]:
        async with driver.redis.pipeline() as pipeline:
            for i in range(40):
                await pipeline.send(part(1 + i * 300))
            return list(await pipeline.results())

    assert driver.do(submit()) == [Submitted([], [])] * 40
    assert waiting(driver) == 12_000


def test_none_is_fine(driver: Driver[Any]) -> None:
    async def submit() -> list[Any]:
        async with driver.redis.pipeline() as pipeline:
            return list(await pipeline.results())

    assert driver.do(submit()) == []


def test_a_connection_that_breaks_on_the_way_costs_and_doubles_nothing(driver: Driver[Any]) -> None:
    async def submit() -> list[Any]:
        killer = type(driver.redis)(driver.redis.address)
        async with driver.redis.pipeline() as pipeline:
            await pipeline.send(part(1))
            await killer.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            for i in range(1, 5):
                await pipeline.send(part(1 + i * 300))
            results = await pipeline.results()
        await killer.close()
        return list(results)

    results = driver.do(submit())
    assert [each.existing for each in results] == [[]] * 5
    assert waiting(driver) == 1500


def test_what_redis_refuses_is_told(driver: Driver[Any]) -> None:
    driver.command("SET", "heroqueue:c:t", "no list")

    async def submit() -> None:
        async with driver.redis.pipeline() as pipeline:
            await pipeline.send(part(1, OTHER))
            await pipeline.send(part(1))
            await pipeline.results()

    with pytest.raises(RedisUnavailable, match="refused `submit` in c/t"):
        driver.do(submit())
    assert driver.command("ECHO", "next") == b"next"


def test_answers_nobody_waited_for_reach_nobody_else(driver: Driver[Any]) -> None:
    async def give_up() -> None:
        async with driver.redis.pipeline() as pipeline:
            await pipeline.send(part(1))
            raise KeyError

    with pytest.raises(KeyError):
        driver.do(give_up())
    assert driver.command("ECHO", "next") == b"next"
