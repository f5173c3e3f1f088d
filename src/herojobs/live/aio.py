"""The transport for asyncio."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisError, ResponseError

from herojobs.live.blocking import IDLE, message_of
from herojobs.live.redis import TIMEOUT, Message, Redis, pack


class AsyncRedis(Redis):
    """A transport for one event loop. Each call under way has a connection of its own; idle ones are kept."""

    def __init__(self, url: str, *, cluster: bool = False, timeout: float = TIMEOUT) -> None:
        super().__init__(url, cluster=cluster, timeout=timeout)
        kinds = {"unix": UnixDomainSocketConnection, "rediss": SSLConnection}
        self._kind: Any = kinds.get(url.partition(":")[0], Connection)
        # One timeout for the whole exchange, below, costs less than one each for sending and reading.
        self._options["socket_timeout"] = None
        self._idle: list[tuple[Any, float]] = []

    async def _exchange(self, data: bytes, replies: int, limit: float) -> list[Any]:
        connection = None
        answer: list[Any] = []
        try:
            async with asyncio.timeout(limit):
                connection = await self._connection()
                await connection.send_packed_command(data, check_health=False)
                read = connection.read_response
                for _ in range(replies):
                    try:
                        answer.append(await read())
                    except ResponseError as e:
                        answer.append(e)
        except (RedisError, OSError) as e:  # the built-in TimeoutError is an OSError
            if connection is not None:
                await connection.disconnect(nowait=True)
            await self.close()  # what broke this one has most likely broken the others
            raise self.unreachable(e) from None
        except BaseException:  # cancelled: a reply is still to come, so the connection can't be used again
            if connection is not None:
                await connection.disconnect(nowait=True)
            raise
        self._idle.append((connection, time.monotonic()))
        return answer

    async def _connection(self) -> Any:
        if not self._idle:
            return self._kind(**self._options)
        connection, since = self._idle.pop()
        if time.monotonic() - since > IDLE:
            try:
                if await connection.can_read():
                    await connection.disconnect(nowait=True)
            except (RedisError, OSError):
                await connection.disconnect(nowait=True)
        return connection

    async def subscription(self) -> AsyncSubscription:
        """Return a new subscription, without channels yet."""
        connection = self._kind(**self._options)
        try:
            async with asyncio.timeout(self.timeout):
                await connection.connect()
        except (RedisError, OSError) as e:
            raise self.unreachable(e) from None
        return AsyncSubscription(self, connection)

    async def close(self) -> None:
        """Close all idle connections."""
        while self._idle:
            await self._idle.pop()[0].disconnect(nowait=True)


class AsyncSubscription:
    """See `herojobs.live.redis.Subscription`. Tasks may subscribe while another waits in `next`."""

    def __init__(self, redis: AsyncRedis, connection: Any) -> None:
        self._redis = redis
        self._connection = connection
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue()
        self._confirmations: list[asyncio.Future[None]] = []  # in the order asked, as Redis answers
        self._error: BaseException | None = None
        self._reader = asyncio.create_task(self._read(), name="redis subscription")

    async def _read(self) -> None:
        try:
            while True:
                message = message_of(await self._connection.read_response())
                if message is not None:
                    self._messages.put_nowait(message)
                elif self._confirmations:
                    self._confirmations.pop(0).set_result(None)
        except (RedisError, OSError) as e:
            self._error = e
            self._messages.put_nowait(None)
            for future in self._confirmations:
                future.set_exception(self._redis.unreachable(e))

    async def subscribe(self, *channels: str) -> None:
        """Listen to more channels."""
        await self._change("SUBSCRIBE", channels)

    async def psubscribe(self, *patterns: str) -> None:
        """Listen to all channels that match a pattern."""
        await self._change("PSUBSCRIBE", patterns)

    async def unsubscribe(self, *channels: str) -> None:
        """Stop listening to channels."""
        await self._change("UNSUBSCRIBE", channels)

    async def _change(self, command: str, names: tuple[str, ...]) -> None:
        if not names:
            return
        self._check()
        futures = [asyncio.get_running_loop().create_future() for _ in names]
        self._confirmations += futures
        try:
            async with asyncio.timeout(self._redis.timeout):
                await self._connection.send_packed_command(pack(command, *names), check_health=False)
                await asyncio.gather(*futures)
        except (RedisError, OSError) as e:
            raise self._redis.unreachable(e) from None

    def _check(self) -> None:
        if self._error is not None:
            raise self._redis.unreachable(self._error)

    async def next(self, timeout: float | None = None) -> Message | None:
        """Return the next message, or None after `timeout` seconds."""
        if self._messages.empty():
            self._check()
        try:
            async with asyncio.timeout(timeout):
                message = await self._messages.get()
        except TimeoutError:
            return None
        if message is None:
            self._check()
        return message

    async def close(self) -> None:
        """Close the connection."""
        self._reader.cancel()
        await self._connection.disconnect(nowait=True)
