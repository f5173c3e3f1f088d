"""The two transports: `BlockingRedis` for threads, `AsyncRedis` for event loops.

Both keep their own stock of redis-py connections and speak to them directly: redis-py's clients would add tens of
microseconds to each call, and retries that repeat what may have been done.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

import msgspec
from redis.asyncio import connection as asynchronous
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import Connection
from redis.exceptions import BusyLoadingError, RedisError, ResponseError
from redis.exceptions import ConnectionError as Broken
from redis.retry import Retry

from herojobs.errors import EmbeddedRedisError
from herojobs.live.call import JobKey
from herojobs.live.channels import Subscription
from herojobs.live.line import LOADING_PAUSE, Line, packed
from herojobs.live.listener import Listener
from herojobs.live.subscription import Hub
from herojobs.live.transport import Command, Redis, Waiting, run_sync
from herojobs.live.trouble import TIMEOUT, refused, unreachable
from herojobs.names import Queue

__all__ = ["AsyncRedis", "BlockingRedis", "Control", "Redis", "Waiting", "run_sync"]

MOST_WAKE_LISTS = 1000
"""Lists that one BLPOP blocks on; each costs Redis a little whenever the wait begins and ends."""
_TROUBLE = (RedisError, OSError, EmbeddedRedisError)


class BlockingRedis(Redis):
    """A transport whose coroutines never suspend: drive them with `run_sync`. Safe for threads and after a fork."""

    def __init__(self, url: str, *, cluster: bool = False, revive: Callable[[], object] | None = None) -> None:
        super().__init__(url, cluster=cluster, revive=revive)
        self._kind: Any = self._options.pop("connection_class", Connection)
        self._options["retry"] = Retry(NoBackoff(), 0)
        self._free: list[Line] = []
        self._listener = Listener(self._open)
        self._pid = os.getpid()

    async def connect(self) -> None:
        """Make sure that the server can be reached; see `Redis.connect`."""
        self._free.append(self._take())

    async def exchange(self, commands: Sequence[Command], repeatable: bool = False) -> list[Any]:
        """Send commands in one round trip; see `Redis.exchange`."""
        try:
            line = self._take()
            try:
                return self._exchange(line, commands)
            except Broken:
                if not repeatable:
                    raise
                return self._exchange(self._take(), commands)
        except _TROUBLE as e:
            raise unreachable(self.address, e) from e

    def _exchange(self, line: Line, commands: Sequence[Command]) -> list[Any]:
        try:
            line.send(packed(commands))
            replies = line.receive(len(commands))
        except BaseException:
            line.close()
            raise
        self._free.append(line)
        return replies

    def _take(self) -> Line:
        """Return a connection that stands, checked without a round trip, or a new one.

        Raises:
            RedisUnavailable: the server can't be reached.
        """
        self._heed_fork()
        while self._free:
            with contextlib.suppress(IndexError):  # another thread took it
                line = self._free.pop()
                if line.is_quiet():
                    return line
                line.close()
        return self._open()

    def _heed_fork(self) -> None:
        """In a forked child leave the parent's connections alone."""
        if self._pid != os.getpid():
            self._free, self._listener, self._pid = [], Listener(self._open), os.getpid()

    def _open(self) -> Line:
        """Return a new connection, having the server started where that is ours to do."""
        try:
            return Line(self._kind(**self._options))
        except _TROUBLE as e:
            if self._revive is None:
                raise unreachable(self.address, e) from e
        try:
            self._revive()
            return Line(self._kind(**self._options))
        except _TROUBLE as e:
            raise unreachable(self.address, e) from e

    async def close(self) -> None:
        """Close all connections; the transport can be used again."""
        self._listener.close()
        while self._free:
            self._free.pop().close()

    def subscribed(self, channel: str, id: int | None = None) -> AbstractAsyncContextManager[Subscription]:
        """Subscribe to a channel; see `Redis.subscribed`."""
        self._heed_fork()
        return self._listener.subscribed(channel, id)


class Control(NamedTuple):
    """What a client told the WatchDogs: `cancel` a job; with id 0 that there is a new `queue`, or other `rules`."""

    queue: Queue
    id: JobKey
    what: str


class _ControlMessage(msgspec.Struct):
    id: int | str
    what: str


class AsyncRedis(Redis):
    """A transport for one event loop."""

    def __init__(self, url: str, *, cluster: bool = False, revive: Callable[[], object] | None = None) -> None:
        super().__init__(url, cluster=cluster, revive=revive)
        kind = self._options.pop("connection_class", Connection)
        self._kind: Any = getattr(asynchronous, kind.__name__)
        self._options["retry"] = AsyncRetry(NoBackoff(), 0)
        self._free: list[Any] = []
        self._waiter: Any = None
        self._hub = Hub(self._new)

    async def connect(self) -> None:
        """Make sure that the server can be reached; see `Redis.connect`."""
        self._free.append(await self._take())

    async def exchange(self, commands: Sequence[Command], repeatable: bool = False) -> list[Any]:
        """Send commands in one round trip; see `Redis.exchange`."""
        try:
            connection = await self._take()
            try:
                return await self._exchange(connection, commands)
            except Broken:
                if not repeatable:
                    raise
                return await self._exchange(await self._take(), commands)
        except _TROUBLE as e:
            raise unreachable(self.address, e) from e

    async def _exchange(self, connection: Any, commands: Sequence[Command]) -> list[Any]:
        try:
            await connection.send_packed_command([packed(commands)], check_health=False)
            replies = []
            for _ in commands:
                try:
                    replies.append(await connection.read_response())
                except ResponseError as e:
                    replies.append(e)
        except BaseException:  # cancelled too: a reply that is still to come would be taken for the next one
            await connection.disconnect(nowait=True)
            raise
        self._free.append(connection)
        return replies

    async def _take(self) -> Any:
        """Return a connection that stands, or a new one; see `BlockingRedis._take`."""
        while self._free:
            connection = self._free.pop()
            with contextlib.suppress(*_TROUBLE):
                if not (await connection.can_read() or _is_readable(connection)):
                    return connection
            await connection.disconnect(nowait=True)
        return await self._new()

    async def _new(self) -> Any:
        try:
            return await self._connected()
        except _TROUBLE as e:
            if self._revive is None:
                raise unreachable(self.address, e) from e
        try:
            await asyncio.to_thread(self._revive)
            return await self._connected()
        except _TROUBLE as e:
            raise unreachable(self.address, e) from e

    async def _connected(self) -> Any:
        connection = self._kind(**self._options)
        try:
            await connection.connect()
            deadline = time.monotonic() + TIMEOUT
            while True:
                try:
                    await connection.send_command("PING")
                    await connection.read_response()
                    break
                except BusyLoadingError:
                    if time.monotonic() > deadline:
                        raise
                    await asyncio.sleep(LOADING_PAUSE)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    async def close(self) -> None:
        """Close all connections; the transport can be used again."""
        await self._hub.close()
        if self._waiter is not None:
            self._free.append(self._waiter)
            self._waiter = None
        while self._free:
            await self._free.pop().disconnect()

    def subscribed(self, channel: str, id: int | None = None) -> AbstractAsyncContextManager[Subscription]:
        """Subscribe to a channel; see `Redis.subscribed`."""
        return self._hub.subscribed(channel, id)

    async def wait_for_work(self, queues: Sequence[Queue], timeout: float) -> Queue | None:
        """Wait until a submission to one of the queues wakes us; return that queue, None if none did.

        Args:
            queues: the first thousand of them count.
            timeout: seconds to wait at most.

        Raises:
            RedisUnavailable: Redis can't be reached.
        """
        if not queues:
            await asyncio.sleep(timeout)
            return None
        waiter, self._waiter = self._waiter, None
        try:
            if waiter is None or await waiter.can_read() or _is_readable(waiter):
                waiter = await self._new()
        except _TROUBLE:
            waiter = await self._new()
        keys = [self.keys.of("herowake", queue) for queue in queues[:MOST_WAKE_LISTS]]
        try:
            await waiter.send_command("BLPOP", *keys, f"{max(timeout, 0.001):.3f}")
            reply = await waiter.read_response(timeout=timeout + TIMEOUT)
        except BaseException as e:
            await waiter.disconnect(nowait=True)
            if isinstance(e, ResponseError):
                raise refused(self.address, "BLPOP", e) from e
            if isinstance(e, _TROUBLE):
                raise unreachable(self.address, e) from e
            raise
        self._waiter = waiter
        return self.keys.parse(reply[0].decode()) if reply else None

    async def controls(self) -> AsyncIterator[Control]:
        """Yield what clients tell the WatchDogs from now on.

        Raises:
            RedisUnavailable: the connection broke; what was told meanwhile is in the jobs' `cx` fields.
        """
        async for queue, data in self._published("herocontrol:"):
            try:
                told = msgspec.json.decode(data, type=_ControlMessage)
            except msgspec.DecodeError:
                continue
            yield Control(queue, told.id if isinstance(told.id, int) else told.id.encode(), told.what)

    async def all_events(self, on_listening: Callable[[], None] = lambda: None) -> AsyncIterator[tuple[Queue, bytes]]:
        """Yield the messages with events (`herojobs.live.events`) of every queue from now on.

        Args:
            on_listening: called once Redis has confirmed.

        Raises:
            RedisUnavailable: the connection broke; what happened meanwhile isn't told.
        """
        async for message in self._published("heroevents:", on_listening):
            yield message

    async def _published(
        self, prefix: str, on_listening: Callable[[], None] = lambda: None
    ) -> AsyncIterator[tuple[Queue, bytes]]:
        """Yield what is published for any queue on the channels of one kind."""
        connection = await self._new()
        try:
            await connection.send_command("PSUBSCRIBE", f"{prefix}*")
            while True:
                message = await connection.read_response(timeout=float("inf"))
                if message[0] == b"psubscribe":
                    on_listening()
                if message[0] != b"pmessage":
                    continue
                queue = self.keys.parse(message[2].decode("utf-8", "replace"))
                if queue is not None:
                    yield queue, message[3]
        except ResponseError as e:
            raise refused(self.address, "PSUBSCRIBE", e) from e
        except _TROUBLE as e:
            raise unreachable(self.address, e) from e
        finally:
            await connection.disconnect(nowait=True)


def _is_readable(connection: Any) -> bool:
    """Return whether an idle connection's socket has something to read, thus was closed by the server.

    asyncio notices by itself only at its next round.
    """
    poller = select.poll()
    poller.register(connection._writer.get_extra_info("socket"), select.POLLIN)  # no public way to the socket
    return bool(poller.poll(0))
