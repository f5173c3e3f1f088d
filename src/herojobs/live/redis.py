"""The two transports: `BlockingRedis` for threads, `AsyncRedis` for event loops.

Both keep their own stock of redis-py connections and speak to them directly: redis-py's clients would add tens of
microseconds to each call, and retries that repeat what may have been done.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

import msgspec
from redis.asyncio import connection as asynchronous
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import Connection
from redis.exceptions import ResponseError
from redis.retry import Retry

from herojobs.live.async_line import AsyncLine
from herojobs.live.call import JobKey
from herojobs.live.channels import Subscription
from herojobs.live.line import Line, packed
from herojobs.live.listener import Listener
from herojobs.live.subscription import Hub
from herojobs.live.transport import Redis, Waiting, run_sync
from herojobs.live.trouble import TIMEOUT, TROUBLE, refused, unreachable
from herojobs.names import Queue

__all__ = ["AsyncRedis", "BlockingRedis", "Control", "Redis", "Waiting", "run_sync"]

MOST_WAKE_LISTS = 1000
"""Lists that one BLPOP blocks on; each costs Redis a little whenever the wait begins and ends."""


class BlockingRedis(Redis):
    """A transport whose coroutines never suspend: drive them with `run_sync`. Safe for threads and after a fork."""

    def __init__(self, url: str, *, cluster: bool = False, revive: Callable[[], object] | None = None) -> None:
        super().__init__(url, cluster=cluster, revive=revive)
        self._kind: Any = self._options.pop("connection_class", Connection)
        self._options["retry"] = Retry(NoBackoff(), 0)
        self._listener = Listener(self._new)
        self._pid = os.getpid()

    async def close(self) -> None:
        """Close all connections; the transport can be used again."""
        self._listener.close()
        while self._free:
            self._free.pop().close()

    def subscribed(self, channel: str, id: int | None = None) -> AbstractAsyncContextManager[Subscription]:
        """Subscribe to a channel; see `Redis.subscribed`."""
        self._heed_fork()
        return self._listener.subscribed(channel, id)

    async def take(self) -> Any:
        """Return a connection that stands; see `Redis.take`."""
        self._heed_fork()
        return await super().take()

    async def receive(self, line: Line, count: int) -> list[Any]:
        """Return the next replies of a connection."""
        return line.receive(count)

    async def _open(self) -> Line:
        return self._new()

    def _new(self) -> Line:
        try:
            return Line(self._kind(**self._options))
        except TROUBLE as e:
            if self._revive is None:
                raise unreachable(self.address, e) from e
        try:
            self._revive()
            return Line(self._kind(**self._options))
        except TROUBLE as e:
            raise unreachable(self.address, e) from e

    def _heed_fork(self) -> None:
        """In a forked child leave the parent's connections alone."""
        if self._pid != os.getpid():
            self._free, self._listener, self._pid = [], Listener(self._new), os.getpid()


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
        self._waiter: AsyncLine | None = None
        self._hub = Hub(self._open)

    async def close(self) -> None:
        """Close all connections; the transport can be used again."""
        await self._hub.close()
        if self._waiter is not None:
            self._free.append(self._waiter)
            self._waiter = None
        while self._free:
            self._free.pop().close()
        await asyncio.sleep(0)  # the loop closes the sockets

    async def receive(self, line: AsyncLine, count: int) -> list[Any]:
        """Return the next replies of a connection."""
        return await line.receive(count)

    async def _open(self) -> AsyncLine:
        try:
            return await AsyncLine.open(self._kind(**self._options))
        except TROUBLE as e:
            if self._revive is None:
                raise unreachable(self.address, e) from e
        try:
            await asyncio.to_thread(self._revive)
            return await AsyncLine.open(self._kind(**self._options))
        except TROUBLE as e:
            raise unreachable(self.address, e) from e

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
        if waiter is not None and not waiter.is_quiet():
            waiter.close()
            waiter = None
        if waiter is None:
            waiter = await self._open()
        keys = [self.keys.of("herowake", queue) for queue in queues[:MOST_WAKE_LISTS]]
        try:
            waiter.send(packed([("BLPOP", *keys, f"{max(timeout, 0.001):.3f}")]))
            (reply,) = await waiter.receive(1, timeout + TIMEOUT)
        except BaseException as e:
            waiter.close()
            if isinstance(e, TROUBLE):
                raise unreachable(self.address, e) from e
            raise
        self._waiter = waiter
        if isinstance(reply, ResponseError):
            raise refused(self.address, "BLPOP", reply)
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
        line = await self._open()
        try:
            line.send(packed([("PSUBSCRIBE", f"{prefix}*")]))
            while True:
                (message,) = await line.receive(1, None)
                if isinstance(message, ResponseError):
                    raise refused(self.address, "PSUBSCRIBE", message)
                if message[0] == b"psubscribe":
                    on_listening()
                if message[0] != b"pmessage":
                    continue
                queue = self.keys.parse(message[2].decode("utf-8", "replace"))
                if queue is not None:
                    yield queue, message[3]
        except TROUBLE as e:
            raise unreachable(self.address, e) from e
        finally:
            line.close()
