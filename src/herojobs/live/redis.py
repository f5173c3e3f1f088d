"""The way to Redis: one protocol, carried out by `AsyncRedis` and `BlockingRedis`.

The methods of `BlockingRedis` are coroutines too, but never suspend, so one core written with `async def` serves both:
`run_sync(core(BlockingRedis(url)))` runs it to its end in the calling thread, without an event loop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Coroutine, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit

from hiredis import pack_command
from redis.connection import parse_url
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    NoScriptError,
    RedisError,
)
from redis.exceptions import TimeoutError as RedisTimeout

from herojobs.errors import RedisUnavailable
from herojobs.live.call import Call, script
from herojobs.live.keys import Keys

T = TypeVar("T")

TIMEOUT = 5.0
"""Seconds that connecting, sending and reading may take, each."""

Word = str | bytes | int | float


class Message(NamedTuple):
    """A message from a channel."""

    channel: str
    data: bytes


class Subscription(Protocol):
    """A connection that listens to channels."""

    async def subscribe(self, *channels: str) -> None:
        """Listen to more channels; once it returns nothing published there is missed."""

    async def psubscribe(self, *patterns: str) -> None:
        """Listen to all channels that match a glob pattern, like `heroevents:*`."""

    async def unsubscribe(self, *channels: str) -> None:
        """Stop listening to channels."""

    async def next(self, timeout: float | None = None) -> Message | None:
        """Return the next message, or None after `timeout` seconds (None: wait for ever).

        Raises:
            RedisUnavailable: the connection is lost; messages may have been missed, so subscribe anew and look at
                the state again.
        """

    async def close(self) -> None:
        """Close the connection."""


class Redis(ABC):
    """What both transports share: packing, error replies, scripts that the server doesn't know yet.

    Args:
        url: `redis://[[user]:password@]host[:port][/db]`, `rediss://` (TLS) or `unix://[user:password@]/path[?db=n]`.
        cluster: write key names with braces, see `Keys`.
        timeout: seconds for connecting, sending and reading, each.

    Raises:
        RedisUnavailable: the url is none of these.
    """

    def __init__(self, url: str, *, cluster: bool = False, timeout: float = TIMEOUT) -> None:
        self.keys = Keys(cluster)
        self.address = address_of(url)
        self.timeout = timeout
        try:
            options: dict[str, Any] = dict(parse_url(url))  # type: ignore[no-untyped-call]  # untyped in redis-py
            if url.startswith("unix://") and not options.get("path"):
                raise ValueError("it has no path")
        except ValueError as e:
            raise RedisUnavailable(
                f"{self.address!r} is no Redis address ({e}); write redis://host:6379/0, rediss://... or unix:///path"
            ) from None
        options.pop("connection_class", None)
        options.setdefault("socket_connect_timeout", timeout)
        # RESP2 without CLIENT SETINFO: one round trip less for each new connection.
        self._options: dict[str, Any] = {**options, "protocol": 2, "driver_info": None}
        if not url.startswith("unix://"):
            self._options["socket_keepalive"] = True

    @abstractmethod
    async def _exchange(self, data: bytes, replies: int, limit: float) -> list[Any]:
        """Send bytes and return that many replies, error replies as exceptions among them."""

    @abstractmethod
    async def subscription(self) -> Subscription:
        """Return a new subscription, without channels yet."""

    @abstractmethod
    async def close(self) -> None:
        """Close all idle connections. The transport opens new ones when it is used again."""

    async def run(self, call: Call[T]) -> T:
        """Run a script and return what it answers.

        Raises:
            RedisUnavailable: see `herojobs.errors`; after a timeout or a lost connection it is unknown whether the
                call was carried out, so only calls that may be repeated should be.
        """
        reply = (await self._exchange(self._pack(call), 1, self.timeout))[0]
        if isinstance(reply, Exception):
            if not isinstance(reply, NoScriptError):
                raise self.refused(call.script, reply)
            (reply,) = await self._load_and_repeat([call])
        return call.parse(reply)

    async def run_many(self, calls: Sequence[Call[T]]) -> list[T]:
        """Run scripts in one round trip, each for itself: no transaction.

        Should one be refused, the others are carried out all the same, and its error is raised. On a server that
        doesn't know some of the scripts yet, those run after the others.
        """
        if not calls:
            return []
        replies = await self._exchange(b"".join(map(self._pack, calls)), len(calls), self.timeout)
        unknown = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            for i, reply in zip(unknown, await self._load_and_repeat([calls[i] for i in unknown]), strict=True):
                replies[i] = reply
        for call, reply in zip(calls, replies, strict=True):
            if isinstance(reply, Exception):
                raise self.refused(call.script, reply)
        return [call.parse(reply) for call, reply in zip(calls, replies, strict=True)]

    async def command(self, *words: Word) -> Any:
        """Run a plain Redis command and return the raw reply."""
        return (await self.commands([words]))[0]

    async def commands(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        """Run plain Redis commands in one round trip and return the raw replies."""
        if not commands:
            return []
        data = b"".join(pack(*words) for words in commands)
        replies = await self._exchange(data, len(commands), self.timeout)
        for words, reply in zip(commands, replies, strict=True):
            if isinstance(reply, Exception):
                raise self.refused(str(words[0]), reply)
        return replies

    async def block(self, *words: Word, timeout: float) -> Any:
        """Run a command that blocks in the server for up to `timeout` seconds, like BLPOP."""
        reply = (await self._exchange(pack(*words), 1, timeout + self.timeout))[0]
        if isinstance(reply, Exception):
            raise self.refused(str(words[0]), reply)
        return reply

    def _pack(self, call: Call[Any]) -> bytes:
        return pack(b"EVALSHA", script(call.script).sha, 1, self.keys.queue(call.queue), *call.args)

    async def _load_and_repeat(self, calls: list[Call[Any]]) -> list[Any]:
        names = list(dict.fromkeys(call.script for call in calls))
        loads = [pack(b"SCRIPT", b"LOAD", script(name).text) for name in names]
        data = b"".join([*loads, *map(self._pack, calls)])
        replies = await self._exchange(data, len(names) + len(calls), self.timeout)
        for name, reply in zip([*names, *(call.script for call in calls)], replies, strict=True):
            if isinstance(reply, Exception):
                raise self.refused(name, reply)
        return replies[len(names) :]

    def refused(self, what: str, error: Exception) -> RedisUnavailable:
        """Return the error for an error reply of the server."""
        text = str(error)
        if "READONLY" in text or "read only replica" in text:
            problem = "is a read-only replica; use the primary's address"
        elif "maxmemory" in text or text.startswith("OOM"):
            problem = "has reached its maxmemory; nothing was written; raise it or free memory"
        elif "MISCONF" in text:
            problem = f"can't save to its disk, so it refuses writes ({text})"
        elif "NOAUTH" in text:
            problem = "wants a password; put it into the address, redis://:password@host"
        elif "NOPERM" in text:
            problem = f"doesn't permit {what} to this user ({text})"
        else:
            problem = f"refused {what}: {text}"
        return RedisUnavailable(f"Redis at {self.address} {problem}")

    def unreachable(self, error: BaseException) -> RedisUnavailable:
        """Return the error for a connection that failed."""
        text = str(error).strip().rstrip(".")
        if isinstance(error, BusyLoadingError):
            problem = "is still loading its data; try again shortly"
        elif isinstance(error, (AuthenticationError, AuthorizationError)):
            problem = f"refuses the login ({text}); check user and password in its address"
        elif isinstance(error, (RedisTimeout, TimeoutError)):
            problem = f"didn't answer within {self.timeout:g} s"
        elif "refused" in text:
            problem = "refuses connections: no server is listening there"
        elif "No such file" in text or "Error 2 " in text:
            problem = "isn't there: no such socket"
        elif "ermission denied" in text:
            problem = "may not be connected to: permission denied"
        elif isinstance(error, RedisError) and "closed" in text.lower():
            problem = "closed the connection"
        else:
            problem = f"can't be reached ({text or type(error).__name__})"
        return RedisUnavailable(f"Redis at {self.address} {problem}")


def pack(*words: Word) -> bytes:
    """Return a command as it goes over the wire."""
    data: bytes = pack_command(words)  # type: ignore[arg-type]  # its stub says a tuple of one
    return data


def address_of(url: str) -> str:
    """Return an address without its user and password, for messages."""
    parts = urlsplit(url)
    if not parts.scheme:
        return url.rpartition("@")[2]
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def run_sync(coro: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, like all that only await a `BlockingRedis`, and return its result."""
    try:
        coro.send(None)
    except StopIteration as e:
        result: T = e.value
        return result
    coro.close()
    raise RuntimeError(f"{coro!r} suspended: it awaits something that needs an event loop")
