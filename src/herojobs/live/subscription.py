"""Subscriptions to channels of Redis: one connection each for threads, one for all in an event loop.

A subscription never fails for want of Redis: it then hears nothing, and subscribes again when it can. Whoever waits
looks at the job itself every now and then, since events sent meanwhile are gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as TimedOut

from herojobs.errors import RedisUnavailable
from herojobs.live.events import is_about

log = logging.getLogger("herojobs.live")

MOST_KEPT = 10_000
"""Messages that a subscription holds for a slow reader; the oldest go first."""
PAUSE = 0.5
"""Seconds between two tries to subscribe again."""
SHORTEST = 0.002
"""Seconds that a read takes at least, so that one with no timeout finds what has arrived already."""
TIMEOUT = 5.0
"""Seconds that Redis may take to confirm a subscription."""
_TROUBLE = (RedisError, RedisUnavailable, OSError)


class BlockingSubscription:
    """A channel on a connection of its own; its coroutines never suspend.

    Args:
        take: gives a connection.
        channel: what to subscribe to.
    """

    def __init__(self, take: Callable[[], Any], channel: str) -> None:
        self._take = take
        self._channel = channel
        self._connection: Any = None

    async def __aenter__(self) -> Self:
        self._subscribe()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            self._connection.disconnect()

    async def next_about(self, id: int, timeout: float) -> None:
        """Return when an event about a job arrives, or after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            message = self._read(left)
            if message is not None and is_about(message, id):
                return

    async def next(self, timeout: float) -> str | None:
        """Return the next message, None if none came within `timeout` seconds."""
        message = self._read(timeout)
        return None if message is None else message.decode("utf-8", "replace")

    def _subscribe(self) -> None:
        connection = self._take()
        try:
            connection.send_command("SUBSCRIBE", self._channel)
            connection.read_response()
        except BaseException:
            connection.disconnect()
            raise
        self._connection = connection

    def _read(self, timeout: float) -> bytes | None:
        deadline = time.monotonic() + max(timeout, SHORTEST)
        while (left := deadline - time.monotonic()) > 0:
            try:
                if self._connection is None:
                    self._subscribe()
                    continue
                message = self._connection.read_response(timeout=left, disconnect_on_error=False)
            except TimedOut:
                return None
            except _TROUBLE as e:
                log.debug("%s: %s", self._channel, e)
                if self._connection is not None:
                    self._connection.disconnect()
                    self._connection = None
                else:
                    time.sleep(max(0.0, min(PAUSE, deadline - time.monotonic())))
                continue
            if message[0] == b"message":
                data: bytes = message[2]
                return data
        return None


class AsyncSubscription:
    """A channel of a `Hub`."""

    def __init__(self) -> None:
        self._messages: deque[bytes] = deque(maxlen=MOST_KEPT)
        self._arrived = asyncio.Event()

    def put(self, message: bytes) -> None:
        """Hand over a message."""
        self._messages.append(message)
        self._arrived.set()

    async def next_about(self, id: int, timeout: float) -> None:
        """Return when an event about a job arrives, or after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            message = await self._read(left)
            if message is not None and is_about(message, id):
                return

    async def next(self, timeout: float) -> str | None:
        """Return the next message, None if none came within `timeout` seconds."""
        message = await self._read(timeout)
        return None if message is None else message.decode("utf-8", "replace")

    async def _read(self, timeout: float) -> bytes | None:
        if not self._messages:
            self._arrived.clear()
            try:
                async with asyncio.timeout(max(timeout, SHORTEST)):
                    await self._arrived.wait()
            except TimeoutError:
                return None
        return self._messages.popleft()


class Hub:
    """All subscriptions of an event loop, over one connection.

    Args:
        new: opens a connection.
    """

    def __init__(self, new: Callable[[], Awaitable[Any]]) -> None:
        self._new = new
        self._channels: dict[bytes, set[AsyncSubscription]] = {}
        self._confirmed: dict[bytes, asyncio.Event] = {}
        self._connection: Any = None
        self._task: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def subscribed(self, channel_name: str) -> AsyncGenerator[AsyncSubscription]:
        """Subscribe to a channel; on entry Redis has confirmed it.

        Raises:
            RedisUnavailable: Redis can't be reached.
        """
        channel = channel_name.encode()
        subscription = AsyncSubscription()
        subscribers = self._channels.setdefault(channel, set())
        subscribers.add(subscription)
        try:
            await self._connect()
            confirmed = self._confirmed.get(channel)
            if confirmed is None:
                confirmed = self._confirmed[channel] = asyncio.Event()
                await self._send("SUBSCRIBE", channel)
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._read())
            try:
                async with asyncio.timeout(TIMEOUT):
                    await confirmed.wait()
            except TimeoutError:
                raise RedisUnavailable(f"Redis doesn't confirm the subscription to {channel_name}") from None
            yield subscription
        finally:
            subscribers.discard(subscription)
            if not subscribers and self._channels.get(channel) is subscribers:
                del self._channels[channel]
                if self._confirmed.pop(channel, None) is not None:
                    await self._send("UNSUBSCRIBE", channel)

    async def close(self) -> None:
        """Close the connection and end what reads from it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._drop()

    async def _connect(self) -> None:
        """Open the connection if there is none, with all subscriptions there are."""
        async with self._opening:
            if self._connection is None:
                connection = await self._new()
                if self._confirmed:
                    await connection.send_command("SUBSCRIBE", *self._confirmed)
                self._connection = connection

    async def _send(self, *command: str | bytes) -> None:
        if self._connection is not None:
            with contextlib.suppress(RedisError, OSError):  # the reader notices, and subscribes again
                await self._connection.send_command(*command)

    async def _read(self) -> None:
        """Hand messages to their subscribers; when the connection breaks, open another and subscribe again."""
        while True:
            try:
                await self._connect()
                while True:
                    kind, channel, data = await self._connection.read_response(timeout=math.inf)
                    if kind == b"message":
                        for subscription in self._channels.get(channel, ()):
                            subscription.put(data)
                    elif kind == b"subscribe" and channel in self._confirmed:
                        self._confirmed[channel].set()
            except _TROUBLE as e:
                log.debug("subscriptions: %s", e)
                await self._drop()
                await asyncio.sleep(PAUSE)

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)
