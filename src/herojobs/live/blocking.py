"""The transport for programs without an event loop."""

from __future__ import annotations

import os
import time
from collections import deque
from typing import Any

from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisError, ResponseError

from herojobs.live.redis import TIMEOUT, Message, Redis, Word, pack

IDLE = 1.0
"""Seconds unused after which a connection is looked at before it is used: the server may have closed it."""


class BlockingRedis(Redis):
    """A transport that blocks; safe to share between threads, and to use in a forked child."""

    def __init__(self, url: str, *, cluster: bool = False, timeout: float = TIMEOUT) -> None:
        super().__init__(url, cluster=cluster, timeout=timeout)
        kinds = {"unix": UnixDomainSocketConnection, "rediss": SSLConnection}
        self._kind: Any = kinds.get(url.partition(":")[0], Connection)
        self._options.setdefault("socket_timeout", timeout)
        self._idle: list[tuple[Any, float]] = []
        self._pid = os.getpid()

    def _connection(self) -> Any:
        if self._pid != os.getpid():  # the parent's sockets must not be spoken on, nor shut down
            self._idle = []
            self._pid = os.getpid()
        try:
            connection, since = self._idle.pop()
        except IndexError:
            return self._kind(**self._options)
        if time.monotonic() - since > IDLE:
            try:
                if connection.can_read():
                    connection.disconnect()
            except (RedisError, OSError):
                connection.disconnect()
        return connection

    async def _exchange(self, data: bytes, replies: int, limit: float) -> list[Any]:
        connection = self._connection()
        answer: list[Any] = []
        try:
            connection.send_packed_command((data,), check_health=False)
            if limit != self.timeout:
                answer.append(_reply(connection, limit))
            else:
                read = connection.read_response
                for _ in range(replies):
                    try:
                        answer.append(read())
                    except ResponseError as e:
                        answer.append(e)
        except (RedisError, OSError) as e:
            connection.disconnect()
            self._idle.clear()  # what broke this one has most likely broken the others
            raise self.unreachable(e) from None
        except BaseException:
            connection.disconnect()
            raise
        self._idle.append((connection, time.monotonic()))
        return answer

    async def subscription(self) -> BlockingSubscription:
        """Return a new subscription, without channels yet."""
        return BlockingSubscription(self, self._kind(**self._options))

    async def close(self) -> None:
        """Close all idle connections."""
        while self._idle:
            self._idle.pop()[0].disconnect()


def _reply(connection: Any, limit: float) -> Any:
    try:
        return connection.read_response(timeout=limit)
    except ResponseError as e:
        return e


class BlockingSubscription:
    """See `herojobs.live.redis.Subscription`. For one thread at a time."""

    def __init__(self, redis: BlockingRedis, connection: Any) -> None:
        self._redis = redis
        self._connection = connection
        self._messages: deque[Message] = deque()

    async def subscribe(self, *channels: str) -> None:
        """Listen to more channels."""
        self._change("SUBSCRIBE", channels)

    async def psubscribe(self, *patterns: str) -> None:
        """Listen to all channels that match a pattern."""
        self._change("PSUBSCRIBE", patterns)

    async def unsubscribe(self, *channels: str) -> None:
        """Stop listening to channels."""
        self._change("UNSUBSCRIBE", channels)

    def _change(self, command: str, names: tuple[Word, ...]) -> None:
        if not names:
            return
        try:
            self._connection.send_packed_command((pack(command, *names),), check_health=False)
            confirmed = 0
            while confirmed < len(names):
                message = message_of(self._connection.read_response())
                if message is None:
                    confirmed += 1
                else:
                    self._messages.append(message)
        except (RedisError, OSError) as e:
            self._connection.disconnect()
            raise self._redis.unreachable(e) from None

    async def next(self, timeout: float | None = None) -> Message | None:
        """Return the next message, or None after `timeout` seconds."""
        if self._messages:
            return self._messages.popleft()
        end = None if timeout is None else time.monotonic() + timeout
        try:
            while True:
                left = 3600.0 if end is None else max(0.0, end - time.monotonic())
                if self._connection.can_read(left):
                    message = message_of(self._connection.read_response())
                    if message is not None:
                        return message
                elif end is not None:
                    return None
        except (RedisError, OSError) as e:
            self._connection.disconnect()
            raise self._redis.unreachable(e) from None

    async def close(self) -> None:
        """Close the connection."""
        self._connection.disconnect()


def message_of(reply: Any) -> Message | None:
    """Return the message in a reply on a listening connection, None if it is a confirmation."""
    if reply[0] == b"message":
        return Message(reply[1].decode(), reply[2])
    if reply[0] == b"pmessage":
        return Message(reply[2].decode(), reply[3])
    return None
