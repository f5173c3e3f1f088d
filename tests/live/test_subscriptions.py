"""Subscriptions: one connection for all who wait, kept while somebody may wait again soon."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from herojobs.errors import RedisUnavailable
from herojobs.live import calls, channels, embedded, listener, subscription
from herojobs.live.redis import AsyncRedis, BlockingRedis, run_sync
from herojobs.names import Queue
from live.driver import Driver
from live.servers import RedisServer

Q = Queue("c", "t")


@pytest.fixture(params=[BlockingRedis, AsyncRedis])
def driver(request: pytest.FixtureRequest, redis_url: str) -> Iterator[Driver[Any]]:
    found = Driver(request.param(redis_url))
    yield found
    found.close()


@pytest.fixture
def other(redis_url: str) -> Iterator[BlockingRedis]:
    """Another client's transport, to look from and to publish with."""
    found = BlockingRedis(redis_url)
    yield found
    run_sync(found.close())


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    server = RedisServer(embedded.find_program(), "--appendonly", "no")
    yield server
    server.close()


def listeners(redis: BlockingRedis, queue: Queue = Q) -> int:
    return int(run_sync(redis.command("PUBSUB", "NUMSUB", f"heroevents:{queue.key}"))[1])


def tell_end(redis: BlockingRedis, *ids: int) -> None:
    lines = "\n".join(f'{{"id":{id},"event":"done","at":1,"status":"done"}}' for id in ids)
    run_sync(redis.command("PUBLISH", f"heroevents:{Q.key}", lines))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


async def subscribe(redis: Any, id: int = 1, queue: Queue = Q) -> None:
    async with redis.end_of(queue, id):
        pass


def test_only_ends_are_told_and_by_exact_id() -> None:
    message = b"\n".join(
        b'{"id":%d,"event":"%s","at":1}' % pair
        for pair in (
            (1, b"submitted"),
            (2, b"done"),
            (3, b"progress"),
            (22, b"error"),
            (4, b"removed"),
            (5, b"deleted"),
        )
    )
    assert channels.ended_ids(message) == [b"2", b"22", b"4", b"5"]


def test_the_subscription_is_kept_and_used_again(driver: Driver[Any], other: BlockingRedis) -> None:
    driver.do(subscribe(driver.redis))
    subscribed = subscribe_calls(other)
    for id in range(20):
        driver.do(subscribe(driver.redis, id))
    assert listeners(other) == 1
    assert subscribe_calls(other) == subscribed


def subscribe_calls(redis: BlockingRedis) -> int:
    return int(run_sync(redis.command("INFO", "commandstats")).split(b"cmdstat_subscribe:calls=")[1].split(b",")[0])


def test_nothing_stays_subscribed_to_when_nobody_waits_any_more(
    driver: Driver[Any], other: BlockingRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (listener, subscription):
        monkeypatch.setattr(module, "LINGER", 0.05)
    held = Queue("c", "held")

    async def wait() -> None:
        async with driver.redis.end_of(held, 1) as end:
            await subscribe(driver.redis)
            while listeners(other):
                await end.next(0.01)
        async with asyncio.timeout(60) if isinstance(driver.redis, AsyncRedis) else nullcontext():
            while listeners(other, held):
                await asyncio.sleep(0.01) if isinstance(driver.redis, AsyncRedis) else time.sleep(0.01)

    driver.do(wait())
    assert listeners(other, held) == listeners(other) == 0
    driver.do(subscribe(driver.redis))
    assert listeners(other) == 1


def test_a_closed_transport_can_be_used_again(driver: Driver[Any], other: BlockingRedis) -> None:
    for _ in range(2):
        driver.do(subscribe(driver.redis))
        assert listeners(other) == 1
        driver.do(driver.redis.close())
        until(lambda: not listeners(other))


def test_a_server_that_comes_back_has_who_waits_look(own_server: RedisServer) -> None:
    redis = BlockingRedis(own_server.url)

    async def wait() -> str | None:
        async with redis.end_of(Q, 1) as end:
            own_server.kill()
            own_server.start()
            return await end.next(20)

    assert run_sync(wait()) == "", "the end may have been told meanwhile"
    own_server.kill()
    run_sync(redis.close())
    with pytest.raises(RedisUnavailable):
        run_sync(subscribe(redis))


def test_many_threads_wait_over_one_connection(redis_url: str, other: BlockingRedis) -> None:
    redis = BlockingRedis(redis_url)
    waiting = threading.Barrier(25)
    heard: list[int] = []

    async def wait(id: int) -> None:
        async with redis.end_of(Q, id) as end:
            waiting.wait(60)
            if await end.next(20) is not None:
                heard.append(id)

    threads = [threading.Thread(target=run_sync, args=(wait(id),)) for id in range(1, 25)]
    for thread in threads:
        thread.start()
    waiting.wait(60)
    assert listeners(other) == 1
    for id in (24, 1, 2):  # the one that reads for all goes sooner or later, and another one goes on
        tell_end(other, id)
    tell_end(other, *range(3, 24))
    for thread in threads:
        thread.join(60)
    assert sorted(heard) == list(range(1, 25))
    run_sync(redis.close())


def test_a_thread_that_gives_up_leaves_the_reading_to_another_one(redis_url: str, other: BlockingRedis) -> None:
    redis = BlockingRedis(redis_url)
    heard: list[str | None] = []
    begun = threading.Barrier(3)

    async def wait(id: int, timeout: float) -> None:
        async with redis.end_of(Q, id) as end:
            begun.wait(60)
            heard.append(await end.next(timeout))

    threads = [threading.Thread(target=run_sync, args=(wait(id, timeout),)) for id, timeout in ((1, 0.05), (2, 20))]
    for thread in threads:
        thread.start()
    begun.wait(60)
    until(lambda: heard == [None])
    tell_end(other, 2)
    for thread in threads:
        thread.join(60)
    assert heard[1]
    run_sync(redis.close())


def test_a_forked_child_subscribes_over_a_connection_of_its_own(redis_url: str, other: BlockingRedis) -> None:
    redis = BlockingRedis(redis_url)
    run_sync(subscribe(redis))
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:

        async def wait() -> None:
            async with redis.end_of(Q, 1) as end:
                os.write(write, b"ready")
                os.write(write, str(await end.next(20)).encode())

        run_sync(wait())
        os._exit(0)
    assert os.read(read, 100) == b"ready"
    assert listeners(other) == 2
    tell_end(other, 1)
    os.waitpid(pid, 0)
    assert b"done" in os.read(read, 1000)

    async def wait_here() -> str | None:
        async with redis.end_of(Q, 2) as end:
            tell_end(other, 2)
            return await end.next(20)

    assert run_sync(wait_here())
    os.close(read)
    os.close(write)
    run_sync(redis.close())


async def test_many_coroutines_wait_over_one_connection(redis_url: str, other: BlockingRedis) -> None:
    redis = AsyncRedis(redis_url)

    async def wait(id: int) -> str | None:
        async with redis.end_of(Q, id) as end:
            return await end.next(20)

    tasks = [asyncio.create_task(wait(id)) for id in range(1, 50)]
    while not await redis.command("PUBSUB", "CHANNELS", "heroevents:*"):
        await asyncio.sleep(0.001)
    await redis.run(calls.submit(Q, [(id, b"{}", 0, 0) for id in range(1, 50)]))
    await asyncio.to_thread(tell_end, other, *range(1, 50))
    assert all(await asyncio.gather(*tasks))
    await redis.close()
