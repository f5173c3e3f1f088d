"""A connection that threads use: opened by redis-py, which knows TLS and logins, then spoken to without it.

redis-py's way of sending a command and reading its reply costs several times what the socket and hiredis cost.
"""

from __future__ import annotations

import select
import ssl
import struct
import time
from collections.abc import Callable, Sequence
from socket import SO_RCVTIMEO, SO_SNDTIMEO, SOL_SOCKET
from typing import Any

from hiredis import Reader, pack_command
from redis._parsers.base import BaseParser
from redis.exceptions import BusyLoadingError, InvalidResponse, ResponseError
from redis.exceptions import ConnectionError as Broken
from redis.exceptions import TimeoutError as TimedOut

from herojobs.live.trouble import TIMEOUT

LOADING_PAUSE = 0.02
"""Seconds between two looks whether a server has loaded its data."""
READ_SIZE = 65_536
"""Bytes that one read takes at most."""
NOTHING = object()
"""What a reader gives when no reply is complete."""


def packed(commands: Sequence[Sequence[str | bytes | int]]) -> bytes:
    """Return commands as they are sent; redis-py's asynchronous connections do it in Python, six times slower."""
    pack: Callable[[tuple[Any, ...]], bytes] = pack_command  # its stub allows one argument only
    if len(commands) == 1:
        return pack(tuple(commands[0]))
    return b"".join([pack(tuple(command)) for command in commands])


def make_reader() -> Any:
    """Return what makes replies of bytes, and exceptions of redis-py's of error replies."""
    return Reader(protocolError=InvalidResponse, replyError=BaseParser.parse_error, notEnoughData=NOTHING)


def raise_trouble(replies: list[Any]) -> list[Any]:
    """Return replies, unless one says that the server isn't ready for any command."""
    for reply in replies:
        if isinstance(reply, Exception) and not isinstance(reply, ResponseError):
            raise reply
    return replies


class Line:
    """An open connection to a server that answers. For one thread at a time; another one may send meanwhile.

    Args:
        connection: redis-py's, not connected yet; it stays the owner of its socket.

    Raises:
        redis.exceptions.RedisError, OSError: it can't be opened, or the server doesn't answer.
    """

    __slots__ = ("_connection", "_poller", "_reader", "_socket")

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        try:
            connection.connect()
            self._socket = connection._sock  # no public way to it
            if not isinstance(self._socket, ssl.SSLSocket):
                # A limit that Python keeps costs a poll before each read and write; the kernel's costs nothing.
                seconds = float(connection.socket_timeout or TIMEOUT)
                limit = struct.pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))
                self._socket.settimeout(None)
                self._socket.setsockopt(SOL_SOCKET, SO_RCVTIMEO, limit)
                self._socket.setsockopt(SOL_SOCKET, SO_SNDTIMEO, limit)
            self._poller = select.poll()
            self._poller.register(self._socket, select.POLLIN)
            self._reader = make_reader()
            self._await_data()
        except BaseException:
            self.close()
            raise

    def is_quiet(self) -> bool:
        """Return whether there is nothing to read, not even that the server has closed the connection."""
        return not self._poller.poll(0)

    def send(self, data: bytes) -> None:
        """Send packed commands.

        Raises:
            redis.exceptions.ConnectionError, redis.exceptions.TimeoutError: it can't be used any more.
        """
        try:
            self._socket.sendall(data)
        except (BlockingIOError, TimeoutError):
            raise TimedOut("Timeout writing to socket") from None
        except OSError as e:
            raise Broken(f"Error while writing to socket: {e}") from e

    async def drain(self) -> None:
        """Do nothing: what was sent is on its way."""

    def receive(self, count: int) -> list[Any]:
        """Return the next `count` replies; an error reply stands as a value.

        Raises:
            as `send`.
        """
        gets = self._reader.gets
        replies: list[Any] = []
        for _ in range(count):
            while (reply := gets()) is NOTHING:
                self._read()
            replies.append(reply)
        return raise_trouble(replies)

    def next_push(self, timeout: float) -> Any:
        """Return what comes next, None if nothing did within `timeout` seconds.

        Raises:
            as `send`.
        """
        deadline = time.monotonic() + timeout
        while (reply := self._reader.gets()) is NOTHING:
            left = max(0.0, deadline - time.monotonic())
            if not self._poller.poll(left * 1000):
                return None
            self._read()
        return reply

    def close(self) -> None:
        """Close the connection; in a forked child only its own end of it."""
        self._connection.disconnect()

    def _read(self) -> None:
        try:
            data = self._socket.recv(READ_SIZE)
        except (BlockingIOError, TimeoutError, ssl.SSLWantReadError):
            raise TimedOut("Timeout reading from socket") from None
        except OSError as e:
            raise Broken(f"Error while reading from socket: {e}") from e
        if not data:
            raise Broken("Connection closed by server.")
        self._reader.feed(data)

    def _await_data(self) -> None:
        """Wait until the server has loaded its data: a restarted one accepts connections before."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                self.send(b"PING\r\n")
                (reply,) = self.receive(1)
            except BusyLoadingError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(LOADING_PAUSE)
            else:
                if isinstance(reply, Exception):
                    raise reply
                return
