"""One suite for both transports over every server found."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from herojobs.errors import RedisUnavailable, SettingsError
from herojobs.live import calls, embedded, transport
from herojobs.live.channels import ended_ids
from herojobs.live.events import decode_events
from herojobs.live.redis import AsyncRedis, BlockingRedis, Control, run_sync
from herojobs.names import Queue
from live.driver import Driver
from live.servers import RedisServer

Q = Queue.of("c", "t")


def entry(id: int, **more: Any) -> calls.Entry:
    return calls.Entry(id, b'{"jobid":%d}' % id, **more)


def test_a_script_that_the_server_does_not_know_is_loaded(driver: Driver[Any]) -> None:
    assert driver.run(calls.submit(Q, [entry(1)])) == calls.Submitted([], [])
    driver.command("SCRIPT", "FLUSH")
    answers = driver.do(driver.redis.run_many([calls.submit(Q, [entry(1)]), calls.counts(Q), calls.counts(Q)]))
    assert answers == [calls.Submitted([1], []), (1, 0, 0, 0, 0), (1, 0, 0, 0, 0)]
    assert driver.do(driver.redis.run_many([])) == []


def test_a_refused_call_is_one_clear_error_and_the_connection_goes_on(driver: Driver[Any]) -> None:
    driver.command("SET", "heroqueue:c:t", "text")
    with pytest.raises(RedisUnavailable, match=r"refused `submit` in c/t: .*WRONGTYPE"):
        driver.run(calls.submit(Q, [entry(1)]))
    assert driver.run(calls.claim(Q, 5, 1000, "t")).jobs == []
    assert driver.run(calls.counts(Q)).waiting == 0
    assert driver.do(driver.redis.waiting([Q])).lengths == [0]


def test_connect_is_told_when_nobody_listens(driver: Driver[Any]) -> None:
    for url, words in [
        ("unix:///nowhere/redis.sock", "isn't there: no such socket"),
        ("redis://user:secret@127.0.0.1:1/0", "refuses connections: no server is listening there"),
    ]:
        other = type(driver.redis)(url)
        with pytest.raises(RedisUnavailable, match=words) as raised:
            driver.do(other.connect())
        assert "secret" not in str(raised.value)


@pytest.mark.parametrize("url", ["", "localhost:6379", "http://x", "unix://", "redis://h:port"])
def test_an_address_that_is_none_is_told(url: str) -> None:
    with pytest.raises(SettingsError, match="redis://host:6379/0"):
        BlockingRedis(url)
    with pytest.raises(SettingsError, match="redis_url"):
        AsyncRedis(url)


def test_connections_closed_while_idle_are_replaced(driver: Driver[Any]) -> None:
    driver.do(driver.redis.connect())
    killer = BlockingRedis(f"unix://{driver.redis.address.removeprefix('unix://')}")
    run_sync(killer.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))
    run_sync(killer.close())
    assert driver.run(calls.claim(Q, 1, 1000, "t")).jobs == []


def test_find_queues(driver: Driver[Any], caplog: pytest.LogCaptureFixture) -> None:
    driver.run(calls.submit(Q, [entry(1)]))
    driver.run(calls.claim(Q, 1, 1000, "t"))
    driver.command("RPUSH", "heroqueue:foreign:one", "1")
    driver.command("RPUSH", "heroqueue:My Circle:x", "1")
    driver.command("RPUSH", "heroqueue:onlyone", "1")
    driver.command("SET", "heroqueue:text:x", "1")
    for _ in range(2):
        assert driver.do(driver.redis.find_queues()) == [Q, Queue("foreign", "one")]
    assert len(caplog.records) == 2


def test_a_long_look_at_all_keys_is_not_repeated_at_once(driver: Driver[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "LONG_SCAN", 0)
    monkeypatch.setattr(transport, "SCAN_PAUSE", 1_000_000)
    driver.command("CONFIG", "RESETSTAT")
    driver.command("RPUSH", "heroqueue:foreign:one", "1")
    assert driver.do(driver.redis.find_queues()) == [Queue("foreign", "one")]
    driver.command("RPUSH", "heroqueue:foreign:two", "1")
    driver.run(calls.submit(Q, [entry(1)]))
    assert driver.do(driver.redis.find_queues()) == [Q, Queue("foreign", "one")]
    assert b"cmdstat_scan:calls=1," in driver.command("INFO", "commandstats")


def test_ids_finds_all_of_them_in_pages(driver: Driver[Any]) -> None:
    for start in range(1, 5001, 500):
        entries = [entry(i, priority=i % 2, due_ms=2**42 * (i % 3 == 0)) for i in range(start, start + 500)]
        driver.run(calls.submit(Q, entries))
    driver.run(calls.claim(Q, 1200, 60_000, "t"))
    driver.command("RPUSH", "heroqueue:c:t", "a-uuid")
    assert driver.do(driver.redis.ids(Q)) == set(range(1, 5001))
    assert driver.run(calls.counts(Q)).total == 5001


def test_waiting_counts_and_notices_a_wipe_once(driver: Driver[Any]) -> None:
    other = type(driver.redis)(driver.redis.address)
    driver.run(calls.submit(Q, [entry(1), entry(2, priority=3), entry(3, due_ms=2**42)]))
    assert driver.do(driver.redis.waiting([Q, Queue("n", "n")])) == ([2, 0], False)
    assert driver.do(other.waiting([])) == ([], False)
    driver.command("FLUSHALL")
    assert driver.do(driver.redis.waiting([Q])) == ([0], True)
    assert driver.do(driver.redis.waiting([Q])) == ([0], False)
    assert driver.do(other.waiting([])).wiped, "each client notices for itself"
    driver.do(other.close())


def test_its_end_reaches_who_waits_for_a_job_and_nothing_else_does(driver: Driver[Any]) -> None:
    async def listen() -> list[str | None]:
        async with driver.redis.end_of(Q, 12) as end:
            await driver.redis.run(calls.submit(Q, [entry(1), entry(12)]))
            await driver.redis.run(calls.claim(Q, 9, 60_000, "t"))
            await driver.redis.run(calls.finish(Q, [(1, "t", b"{}", "done")], 9))
            heard = [await end.next(0.02)]
            await driver.redis.run(calls.finish(Q, [(12, "t", b"{}", "error")], 9))
            return [*heard, await end.next(5)]

    silence, heard = driver.do(listen())
    assert silence is None
    assert [each.status for each in decode_events(heard.encode())] == ["error"]


def test_log_lines_come_in_order(driver: Driver[Any]) -> None:
    async def listen() -> list[str | None]:
        async with driver.redis.log_lines(Q, 7) as lines:
            await driver.redis.run(calls.publish_log(Q, 7, "one\n"))
            await driver.redis.run(calls.publish_log(Q, 7, "zwei ü\n"))
            await driver.redis.run(calls.publish_log(Q, 70, "another's"))
            return [await lines.next(2), await lines.next(0), await lines.next(0)]

    assert driver.do(listen()) == ["one\n", "zwei ü\n", None]


def test_a_subscription_outlives_its_connection(driver: Driver[Any]) -> None:
    async def listen() -> str | None:
        async with driver.redis.log_lines(Q, 7) as lines:
            await driver.redis.command("CLIENT", "KILL", "TYPE", "pubsub")
            for _ in range(100):
                line: str | None = await lines.next(0.05)
                if line:
                    return line
                await driver.redis.run(calls.publish_log(Q, 7, "again"))
        return None

    assert driver.do(listen()) == "again"


def test_two_subscriptions_to_one_channel_both_hear(redis_url: str) -> None:
    async def listen() -> list[str | None]:
        redis = AsyncRedis(redis_url)
        async with redis.log_lines(Q, 7) as one:
            async with redis.log_lines(Q, 7) as two:
                await redis.run(calls.publish_log(Q, 7, "a"))
                heard = [await one.next(2), await two.next(2)]
            await redis.run(calls.publish_log(Q, 7, "b"))
            heard.append(await one.next(2))
        await redis.close()
        return heard

    assert asyncio.run(listen()) == ["a", "a", "b"]


async def test_wait_for_work_wakes_and_times_out(redis_url: str) -> None:
    redis = AsyncRedis(redis_url)
    assert await redis.wait_for_work([], 0.01) is None
    assert await redis.wait_for_work([Queue("a", "b"), Q], 0.01) is None
    waiter = asyncio.create_task(redis.wait_for_work([Queue("a", "b"), Q], 5))
    await redis.run(calls.submit(Q, [entry(1)]))
    assert await waiter == Q
    cancelled = asyncio.create_task(redis.wait_for_work([Q], 5))
    await asyncio.sleep(0.01)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    while b"blocked_clients:0" not in await redis.command("INFO", "clients"):  # until Redis has noticed it too
        await asyncio.sleep(0.001)
    await redis.run(calls.submit(Q, [entry(2)]))
    assert await redis.wait_for_work([Q], 5) == Q
    await redis.close()


async def test_controls_tell_of_cancels(redis_url: str) -> None:
    redis = AsyncRedis(redis_url)
    controls = redis.controls()
    first = asyncio.ensure_future(anext(controls))
    while not await redis.command("PUBSUB", "NUMPAT"):
        await asyncio.sleep(0.001)
    await redis.run(calls.submit(Q, [entry(1)]))
    assert await first == Control(Q, 0, "queue")  # a queue's first submission tells of it
    first = asyncio.ensure_future(anext(controls))
    await redis.run(calls.claim(Q, 1, 60_000, "t"))
    assert await redis.run(calls.cancel(Q, 1, b"{}", 60)) == "running"
    assert await first == Control(Q, 1, "cancel")
    await controls.aclose()
    await redis.close()


async def test_a_cancelled_exchange_leaves_no_reply_behind(redis_url: str) -> None:
    redis = AsyncRedis(redis_url)
    await redis.command("SET", "n", "0")
    for _ in range(20):
        task = asyncio.create_task(redis.command("INCR", "n"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await redis.command("ECHO", "x") == b"x"
    await redis.close()


def test_threads_share_a_transport(redis_url: str) -> None:
    redis = BlockingRedis(redis_url)
    wrong: list[object] = []

    def work(n: int) -> None:
        for i in range(200):
            text = f"{n}.{i}".encode()
            if run_sync(redis.command("ECHO", text)) != text:
                wrong.append(text)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    run_sync(redis.close())


def test_a_forked_child_opens_connections_of_its_own(redis_url: str) -> None:
    redis = BlockingRedis(redis_url)
    mine = run_sync(redis.command("CLIENT", "ID"))
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, b"%d" % run_sync(redis.command("CLIENT", "ID")))
        os._exit(0)
    os.waitpid(pid, 0)
    assert int(os.read(read, 100)) != mine
    assert run_sync(redis.command("CLIENT", "ID")) == mine
    os.close(read)
    os.close(write)
    run_sync(redis.close())


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    server = RedisServer(embedded.find_program(), "--requirepass", "secret", "--appendonly", "no")
    yield server
    server.close()


def test_login_and_death_of_the_server(own_server: RedisServer) -> None:
    with pytest.raises(RedisUnavailable, match="wants a password"):
        run_sync(BlockingRedis(own_server.url).connect())
    wrong = BlockingRedis(own_server.url.replace("unix://", "unix://:wrong@"))
    with pytest.raises(RedisUnavailable, match="refuses the login") as raised:
        run_sync(wrong.connect())
    assert ":wrong" not in str(raised.value)
    redis = BlockingRedis(own_server.url.replace("unix://", "unix://:secret@"))
    run_sync(redis.connect())
    run_sync(redis.waiting([Q]))
    own_server.kill()
    with pytest.raises(RedisUnavailable):
        run_sync(redis.connect())
    own_server.start()
    run_sync(redis.connect())
    assert run_sync(redis.waiting([Q])).wiped, "it came back empty"
    run_sync(redis.close())


@pytest.fixture
def loading_server(tmp_path: Path) -> Iterator[str]:
    """A server that says twice that it is loading its data, then answers."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    answers = iter([b"-LOADING Redis is loading the dataset in memory\r\n"] * 2)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    while connection.recv(1000):
                        connection.sendall(next(answers, b"+PONG\r\n"))

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"unix://{tmp_path}/s"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@pytest.mark.parametrize("kind", [BlockingRedis, AsyncRedis])
def test_a_server_that_loads_its_data_is_waited_for(loading_server: str, kind: Any) -> None:
    driver = Driver(kind(loading_server))
    driver.do(driver.redis.connect())
    driver.close()


def test_cluster_names_carry_braces_and_queues_are_found(redis_url: str) -> None:
    redis = BlockingRedis(redis_url, cluster=True)
    run_sync(redis.run(calls.submit(Q, [entry(1)])))
    assert run_sync(redis.command("KEYS", "heroqueue*")) == [b"heroqueue:{c:t}"]
    run_sync(redis.run(calls.claim(Q, 1, 1000, "t")))
    assert run_sync(redis.find_queues()) == [Q]
    run_sync(redis.close())


def test_run_sync_refuses_what_needs_a_loop(redis_url: str) -> None:
    with pytest.raises(RuntimeError, match="event loop"):
        run_sync(asyncio.sleep(1))


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_who_reads_slowly_gets_all_in_order(redis_url: str, run: Any) -> None:
    async def listen() -> None:
        redis, other = AsyncRedis(redis_url), AsyncRedis(redis_url)
        messages = redis.all_events()
        first = asyncio.ensure_future(anext(messages))
        while not await other.command("PUBSUB", "NUMPAT"):
            await asyncio.sleep(0.001)
        for start in range(0, 20_000, 1000):
            await other.exchange([("PUBLISH", "heroevents:c:t", start + i) for i in range(1000)])
            await asyncio.sleep(0)  # what has come is taken in, and read by nobody
        assert await first == (Q, b"0")
        assert [int((await anext(messages))[1]) for _ in range(19_999)] == list(range(1, 20_000))
        await messages.aclose()
        await redis.close()
        await other.close()

    run(listen())


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_any_bytes_on_the_events_channel_are_survived(message: bytes) -> None:
    decode_events(message)
    ended_ids(message)
