"""A connection that an event loop uses: opened by redis-py, then spoken to without it, as `herojobs.live.line` does."""

from __future__ import annotations

import asyncio
import select
from collections import deque
from typing import Any

from redis.exceptions import BusyLoadingError
from redis.exceptions import ConnectionError as Broken
from redis.exceptions import TimeoutError as TimedOut

from herojobs.live.line import LOADING_PAUSE, NOTHING, make_reader, raise_trouble
from herojobs.live.trouble import TIMEOUT

MOST_UNREAD = 1_000
"""Replies that may lie here unread; until they are read, more stays with the server, which bounds it."""


class AsyncLine(asyncio.Protocol):
    """An open connection to a server that answers. For one task at a time; another one may send meanwhile."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._transport: asyncio.Transport = connection._writer.transport  # no public way to it
        self._reader = make_reader()
        self._replies: deque[Any] = deque()
        self._wanted = 0
        self._waiter: asyncio.Future[None] | None = None
        self._lost: Exception | None = None
        self._room: asyncio.Future[None] | None = None
        self._paused = False
        self._transport.set_protocol(self)
        self._poller = select.poll()
        self._poller.register(self._transport.get_extra_info("socket"), select.POLLIN)

    @classmethod
    async def open(cls, connection: Any) -> AsyncLine:
        """Return a line over redis-py's connection, which isn't connected yet.

        Raises:
            redis.exceptions.RedisError, OSError: it can't be opened, or the server doesn't answer.
        """
        await connection.connect()
        line = cls(connection)
        try:
            await line._await_data()
        except BaseException:
            line.close()
            raise
        return line

    def is_quiet(self) -> bool:
        """Return whether there is nothing to read, not even that the server has closed the connection."""
        # asyncio notices by itself only at its next round.
        return self._lost is None and not self._replies and not self._poller.poll(0)

    def send(self, data: bytes) -> None:
        """Send packed commands.

        Raises:
            redis.exceptions.ConnectionError: it can't be used any more.
        """
        if self._lost is not None:
            raise self._lost
        self._transport.write(data)

    async def drain(self) -> None:
        """Give the event loop time to send, and wait while more is unsent than should be."""
        await asyncio.sleep(0)
        if self._room is not None:
            await self._room

    async def receive(self, count: int, timeout: float | None = TIMEOUT) -> list[Any]:
        """Return the next `count` replies; an error reply stands as a value.

        Args:
            count: how many.
            timeout: seconds that they may take, None = any time. If they take longer the line can't be used any more.

        Raises:
            redis.exceptions.ConnectionError, redis.exceptions.TimeoutError: it can't be used any more.
        """
        if len(self._replies) < count:
            if self._lost is not None:
                raise self._lost
            if self._paused:
                self._paused = False
                self._transport.resume_reading()
            loop = asyncio.get_running_loop()
            self._wanted, self._waiter = count, loop.create_future()
            timer = None if timeout is None else loop.call_later(timeout, self._expire, self._waiter)
            try:
                await self._waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        take = self._replies.popleft
        return raise_trouble([take() for _ in range(count)])

    def close(self) -> None:
        """Close the connection at once."""
        self._lost = self._lost or Broken("Connection closed by us.")
        self._transport.abort()
        self._connection._close()

    # what the event loop calls

    def data_received(self, data: bytes) -> None:
        """Take in what has arrived."""
        gets = self._reader.gets
        try:
            self._reader.feed(data)
            while (reply := gets()) is not NOTHING:
                self._replies.append(reply)
        except Exception as e:  # no Redis protocol
            self.connection_lost(e)
            self._transport.abort()
            return
        if self._waiter is None:
            if len(self._replies) > MOST_UNREAD and not self._paused:
                self._paused = True
                self._transport.pause_reading()
        elif len(self._replies) >= self._wanted and not self._waiter.done():
            self._waiter.set_result(None)

    def pause_writing(self) -> None:
        """Note that much is unsent."""
        self._room = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Note that most of it is sent."""
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        """Note that the connection is no more."""
        if self._lost is None:
            self._lost = Broken("Connection closed by server." if error is None else f"Connection lost: {error}")
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(self._lost)
        self.resume_writing()

    def _expire(self, waiter: asyncio.Future[None]) -> None:
        if not waiter.done():
            waiter.set_exception(TimedOut("Timeout reading from socket"))

    async def _await_data(self) -> None:
        """Wait until the server has loaded its data: a restarted one accepts connections before."""
        deadline = asyncio.get_running_loop().time() + TIMEOUT
        while True:
            self.send(b"PING\r\n")
            try:
                (reply,) = await self.receive(1)
            except BusyLoadingError:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(LOADING_PAUSE)
            else:
                if isinstance(reply, Exception):
                    raise reply
                return
