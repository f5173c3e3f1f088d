"""The subscriptions of an event loop, over one connection."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable

from redis.exceptions import RedisError

from herojobs.errors import RedisUnavailable
from herojobs.live.async_line import AsyncLine
from herojobs.live.channels import LINGER, PAUSE, SHORTEST, TIMEOUT, Channel, keep
from herojobs.live.line import packed

log = logging.getLogger("herojobs.live")

_TROUBLE = (RedisError, RedisUnavailable, OSError)


class AsyncSubscription:
    """A channel of a `Hub`, or the end of a job in it; see `herojobs.live.channels.Subscription`."""

    __slots__ = ("_waiter", "messages")

    def __init__(self) -> None:
        self.messages = keep()
        self._waiter: asyncio.Future[None] | None = None

    def put(self, message: bytes) -> None:
        """Hand over a message."""
        self.messages.append(message)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def next(self, timeout: float) -> str | None:
        """Return the next message; see `Subscription.next`."""
        if not self.messages:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(max(timeout, SHORTEST)):
                    await self._waiter
            except TimeoutError:
                return None
            finally:
                self._waiter = None
        return self.messages.popleft().decode("utf-8", "replace")


class Hub:
    """All subscriptions of an event loop.

    Args:
        new: opens a connection.
    """

    def __init__(self, new: Callable[[], Awaitable[AsyncLine]]) -> None:
        self._new = new
        self._channels: dict[bytes, Channel] = {}
        self._confirmed: dict[bytes, asyncio.Event] = {}
        self._line: AsyncLine | None = None
        self._task: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()
        self._tidying: dict[bytes, asyncio.TimerHandle] = {}

    @contextlib.asynccontextmanager
    async def subscribed(self, name: str, id: int | None) -> AsyncGenerator[AsyncSubscription]:
        """Subscribe to a channel, or to the end of a job in it; on entry Redis has confirmed it.

        Raises:
            RedisUnavailable: Redis can't be reached.
        """
        key = name.encode()
        subscription = AsyncSubscription()
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = Channel()
        channel.add(subscription, id)
        try:
            if not channel.confirmed:
                await self._subscribe(key, name)
                if id is not None:
                    subscription.messages.clear()  # who waits for a job looks at it now anyway
            yield subscription
        finally:
            loop = asyncio.get_running_loop()
            channel.remove(subscription, id, loop.time())
            if not channel.is_used and key not in self._tidying:
                self._tidying[key] = loop.call_later(LINGER, self._tidy, key, channel)

    async def close(self) -> None:
        """Close the connection and end what reads from it; it can be used again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        for timer in self._tidying.values():
            timer.cancel()
        self._tidying.clear()
        self._channels.clear()
        self._confirmed.clear()
        self._drop()

    async def _subscribe(self, key: bytes, name: str) -> None:
        await self._connect()
        confirmed = self._confirmed.get(key)
        if confirmed is None:
            confirmed = self._confirmed[key] = asyncio.Event()
            self._send("SUBSCRIBE", key)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._read())
        try:
            async with asyncio.timeout(TIMEOUT):
                await confirmed.wait()
        except TimeoutError:
            raise RedisUnavailable(f"Redis doesn't confirm the subscription to {name}") from None

    async def _connect(self) -> AsyncLine:
        """Open the connection if there is none, with all subscriptions there are."""
        async with self._opening:
            if self._line is None:
                line = await self._new()
                if self._confirmed:
                    line.send(packed([("SUBSCRIBE", *self._confirmed)]))
                self._line = line
            return self._line

    def _send(self, command: str, key: bytes) -> None:
        if self._line is not None:
            with contextlib.suppress(RedisError, OSError):  # the reader notices, and subscribes again
                self._line.send(packed([(command, key)]))

    def _tidy(self, key: bytes, channel: Channel) -> None:
        """Unsubscribe a channel that nobody has listened to for a while."""
        del self._tidying[key]
        if channel.is_used:
            return
        loop = asyncio.get_running_loop()
        left = channel.left + LINGER - loop.time()
        if left > 0:
            self._tidying[key] = loop.call_later(left, self._tidy, key, channel)
            return
        del self._channels[key]
        if self._confirmed.pop(key, None) is not None:
            self._send("UNSUBSCRIBE", key)

    async def _read(self) -> None:
        """Hand messages to their subscribers; when the connection breaks, open another and subscribe again."""
        while True:
            try:
                line = await self._connect()
                while True:
                    kind, key, data = (await line.receive(1, None))[0]
                    channel = self._channels.get(key)
                    if channel is not None and kind == b"message":
                        channel.hand_out(data)
                    elif channel is not None and kind == b"subscribe" and key in self._confirmed:
                        channel.confirm()
                        self._confirmed[key].set()
            except _TROUBLE as e:
                log.debug("subscriptions: %s", e)
                self._drop()
                await asyncio.sleep(PAUSE)

    def _drop(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()
