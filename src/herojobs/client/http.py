"""HTTP to a server, for remote clients: one transport for threads, one for event loops.

A transport only posts messages, streams texts, and pauses; like those to Redis, the blocking one's coroutines never
suspend, so that `herojobs.live.redis.run_sync` drives them.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import httpx2

from herojobs.errors import ServerUnreachable, SettingsError

CONNECT = 5.0
"""Seconds that connecting may take."""
KEEP = 3.0
"""Seconds that an idle connection is kept: less than the server does, or a call could meet its end."""
MOST_CONNECTIONS = 100
_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)


class Address(NamedTuple):
    """Where a server is: its base URL, and the path of its Unix socket if it has one."""

    base: str
    socket: str | None

    @property
    def shown(self) -> str:
        """The address as people know it."""
        return f"http+unix://{self.socket}" if self.socket else self.base

    @property
    def is_here(self) -> bool:
        """Whether it is this machine: no proxy leads there."""
        host = urlsplit(self.base).hostname or ""
        if self.socket or host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False


def address_of(url: str) -> Address:
    """Return the address that a URL names.

    Raises:
        SettingsError: it names none.
    """
    right = "write https://host:port, http://host:port, or http+unix:///path for a Unix socket"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as e:
        raise SettingsError(f"url: no address of a server ({e}); {right}") from None
    if parts.username or parts.password:
        raise SettingsError("url: an address holds no user or password; give the key as session_key")
    if parts.scheme == "http+unix" and parts.path and not parts.netloc:
        return Address("http://localhost", unquote(parts.path))
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise SettingsError(f"url {url!r}: no address of a server; {right}")
    return Address(url.rstrip("/"), None)


class Reply(NamedTuple):
    """What a server replied: the HTTP status, whether the body is JSON, and the body."""

    status: int
    is_json: bool
    body: bytes


class Http(ABC):
    """HTTP to one server.

    Args:
        address: where it is.
        key: the session key, empty for none.
    """

    def __init__(self, address: Address, key: str) -> None:
        self.address = address
        self._options: dict[str, Any] = {
            "base_url": address.base,
            "headers": {"content-type": "application/json", **({"authorization": f"Bearer {key}"} if key else {})},
            "limits": httpx2.Limits(
                max_connections=MOST_CONNECTIONS, max_keepalive_connections=MOST_CONNECTIONS, keepalive_expiry=KEEP
            ),
            "trust_env": not address.is_here,
        }

    @abstractmethod
    async def post(self, body: bytes, timeout: float) -> Reply:
        """Post a message to /rpc and return what came back.

        Args:
            body: the message.
            timeout: seconds that the answer may take.

        Raises:
            ServerUnreachable: none came.
        """

    @abstractmethod
    def stream(self, path: str) -> AsyncGenerator[str | Reply]:
        """Get a text as it comes; first of all comes a `Reply` without a body.

        Raises:
            ServerUnreachable: the connection can't be made, or broke.
        """

    @abstractmethod
    async def pause(self, seconds: float) -> None:
        """Let some time pass."""

    @abstractmethod
    async def close(self) -> None:
        """Close all connections."""

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Tell httpx's errors as ours; never more of a request than the address."""
        try:
            yield
        except httpx2.TimeoutException as e:
            sent = not isinstance(e, _NEVER_SENT)
            raise ServerUnreachable(f"the server at {self.address.shown} doesn't answer in time", sent) from None
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as e:
            why = " ".join(str(e).split()) or type(e).__name__
            sent = not isinstance(e, _NEVER_SENT)
            what = "broke the connection" if sent else "can't be reached"
            raise ServerUnreachable(f"the server at {self.address.shown} {what} ({why})", sent) from None


class BlockingHttp(Http):
    """For threads; also after a fork."""

    _client: httpx2.Client | None = None
    _pid = 0

    async def post(self, body: bytes, timeout: float) -> Reply:
        """See `Http.post`."""
        with self._told():
            return _reply(self._opened().post("/rpc", content=body, timeout=_timeout(timeout)))

    async def stream(self, path: str) -> AsyncGenerator[str | Reply]:
        """See `Http.stream`."""
        with self._told(), self._opened().stream("GET", path, timeout=_timeout(None)) as response:
            yield Reply(response.status_code, False, b"")
            for text in response.iter_text():
                yield text

    async def pause(self, seconds: float) -> None:
        """See `Http.pause`."""
        time.sleep(seconds)  # noqa: ASYNC251 - these coroutines never suspend

    async def close(self) -> None:
        """See `Http.close`."""
        client, self._client = self._client, None
        if client is not None and self._pid == os.getpid():
            client.close()

    def _opened(self) -> httpx2.Client:
        if self._client is None or self._pid != os.getpid():
            socket = self.address.socket
            transport = httpx2.HTTPTransport(uds=socket, limits=self._options["limits"]) if socket else None
            self._client, self._pid = httpx2.Client(transport=transport, **self._options), os.getpid()
        return self._client


class AsyncHttp(Http):
    """For one event loop."""

    _client: httpx2.AsyncClient | None = None

    async def post(self, body: bytes, timeout: float) -> Reply:
        """See `Http.post`."""
        with self._told():
            return _reply(await self._opened().post("/rpc", content=body, timeout=_timeout(timeout)))

    async def stream(self, path: str) -> AsyncGenerator[str | Reply]:
        """See `Http.stream`."""
        with self._told():
            async with self._opened().stream("GET", path, timeout=_timeout(None)) as response:
                yield Reply(response.status_code, False, b"")
                async for text in response.aiter_text():
                    yield text

    async def pause(self, seconds: float) -> None:
        """See `Http.pause`."""
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        """See `Http.close`."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _opened(self) -> httpx2.AsyncClient:
        if self._client is None:
            socket = self.address.socket
            transport = httpx2.AsyncHTTPTransport(uds=socket, limits=self._options["limits"]) if socket else None
            self._client = httpx2.AsyncClient(transport=transport, **self._options)
        return self._client


def _reply(response: httpx2.Response) -> Reply:
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return Reply(response.status_code, kind == "application/json", response.content)


def _timeout(seconds: float | None) -> httpx2.Timeout:
    return httpx2.Timeout(seconds, connect=CONNECT, pool=seconds or CONNECT)
