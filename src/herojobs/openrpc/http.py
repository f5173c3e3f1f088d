"""Calls over HTTP, also through a Unix socket: one POST for a message."""

from __future__ import annotations

import asyncio
import email.utils
import ipaddress
import ssl
import time
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx2

from herojobs.jsonrpc.codes import Code
from herojobs.jsonrpc.messages import shown_bytes
from herojobs.openrpc.faults import Fault, bad_answer, refused, timed_out, unreachable
from herojobs.openrpc.transport import CONNECT_TIMEOUT, Reply, read, too_long, why
from herojobs.service_settings import Service

KEEP_ALIVE = 3.0
"""Seconds that an idle connection is kept. Servers close theirs after five as a rule, and a call that is sent into a
connection which is being closed is lost without anybody's fault."""

_BUSY = (429, 502, 503, 504)
"""Statuses of services that may do better in a moment."""

T = TypeVar("T")


class HttpTransport:
    """Connections to one service, each kept for the next call.

    Each is a pool of one: httpcore looks at all connections of a pool at every call, which costs more than the call
    where fifty are open. The newest idle one is taken first, so that those of a burst run out afterwards.

    Args:
        service: the service.
        headers: its headers, with their values.
        address: address to connect to instead of resolving the host.
    """

    def __init__(self, service: Service, headers: Mapping[str, str], address: str = "") -> None:
        self._service = service
        self._extensions: dict[str, Any] = {}
        url, self._socket = _split_unix(service.url)
        own = {"content-type": "application/json", "accept": "application/json", "accept-encoding": "gzip, deflate"}
        if address:
            parts = urlsplit(url)
            host = f"[{address}]" if ipaddress.ip_address(address).version == 6 else address
            url = parts._replace(netloc=host + (f":{parts.port}" if parts.port else "")).geturl()
            self._extensions["sni_hostname"] = parts.hostname
            own["host"] = parts.netloc
        self._url = httpx2.URL(url)
        self._headers = {**own, **headers}
        # reading the certificates of all authorities takes a while
        self._tls: ssl.SSLContext | bool = httpx2.create_ssl_context() if self._url.scheme == "https" else False
        self._idle: deque[tuple[float, httpx2.AsyncHTTPTransport]] = deque()
        self._closing: set[asyncio.Task[None]] = set()

    async def send(self, body: bytes, ids: Collection[str], headers: Mapping[str, str], seconds: float) -> Reply:
        """Send a message and return the answer; see `Transport`."""
        return await self._exchange("POST", body, headers, seconds, lambda response: self._read(response, ids))

    async def get(self, seconds: float) -> bytes:
        """Return what is at the service's URL, for a document that is a file on a server.

        Raises:
            Fault: it can't be had.
        """

        async def read_document(response: httpx2.Response) -> bytes:
            if response.status_code != 200:
                raise bad_answer(_status(response))
            return await self._body(response)

        return await self._exchange("GET", b"", {}, seconds, read_document)

    async def close(self) -> None:
        """Close the connections."""
        while self._idle:
            await self._idle.pop()[1].aclose()

    async def _exchange(
        self,
        verb: str,
        body: bytes,
        headers: Mapping[str, str],
        seconds: float,
        use: Callable[[httpx2.Response], Awaitable[T]],
    ) -> T:
        """Send a request and return what `use` makes of the response."""
        sent = False

        async def trace(event: str, _: Mapping[str, Any]) -> None:
            nonlocal sent
            sent = sent or event.endswith("send_request_headers.started")

        patience = min(seconds, CONNECT_TIMEOUT)
        connection = self._connection()
        try:
            async with asyncio.timeout(seconds):
                request = httpx2.Request(
                    verb,
                    self._url,
                    headers={**self._headers, **headers},
                    content=body,
                    extensions={**self._extensions, "timeout": {"connect": patience}, "trace": trace},
                )
                response = await connection.handle_async_request(request)
                try:
                    return await use(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise timed_out(seconds, "" if sent else "no connection", sent=sent) from None
        except httpx2.TimeoutException:
            raise unreachable(f"no connection within {patience:g} s", sent=sent) from None
        except httpx2.HTTPError as e:
            raise unreachable(why(e, self._service), sent=sent, again=not _untrusted(e)) from None
        except (ValueError, httpx2.InvalidURL) as e:  # a header that can't be sent
            raise unreachable(str(e), again=False) from None
        finally:
            self._idle.append((time.monotonic(), connection))

    def _connection(self) -> httpx2.AsyncHTTPTransport:
        """Return an idle connection, or a new one, and close those that nobody has needed for a while."""
        old = time.monotonic() - KEEP_ALIVE
        while self._idle and self._idle[0][0] < old:
            task = asyncio.ensure_future(self._idle.popleft()[1].aclose())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        if self._idle:
            return self._idle.pop()[1]
        limits = httpx2.Limits(max_connections=1, keepalive_expiry=KEEP_ALIVE)
        return httpx2.AsyncHTTPTransport(uds=self._socket, verify=self._tls, limits=limits)

    async def _read(self, response: httpx2.Response, ids: Collection[str]) -> Reply:
        status = response.status_code
        if 300 <= status < 400:
            raise refused(f"a redirect to {response.headers.get('location', '')[:200]!r}, and none is followed")
        if response.is_success and not ids:
            return Reply([], 0, str(status))
        data = await self._body(response)
        if not response.is_success:
            fault = Fault(
                Code.BAD_ANSWER,
                f"Bad answer: {_status(response)}{_hint(status)}",
                {"status": status} | ({"got": shown_bytes(data)} if data else {}),
                again=status in _BUSY,
                retry_after=_retry_after(response.headers.get("retry-after", "")),
                status=str(status),
            )
            if not ids:
                raise fault
            try:
                return Reply(read(data, ids), len(data), str(status))  # some servers give errors a status, too
            except Fault:
                raise fault from None
        try:
            return Reply(read(data, ids), len(data), str(status))
        except Fault as e:
            e.status = str(status)
            raise

    async def _body(self, response: httpx2.Response) -> bytes:
        """Read the body, never more than the limit, which counts after decompression."""
        limit = self._service.max_response
        length = response.headers.get("content-length", "")
        if length.isdigit() and int(length) > limit:
            raise too_long(self._service)
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip", "x-gzip", "deflate"):
            raise bad_answer(f"its encoding {encoding!r} wasn't asked for")
        # gzip and zlib tell each other apart by their first bytes
        unpack = None if encoding == "identity" else zlib.decompressobj(zlib.MAX_WBITS | 32)
        parts: list[bytes] = []
        size = 0
        async for chunk in response.aiter_raw():
            if unpack is not None:
                try:
                    chunk = unpack.decompress(chunk, limit + 1 - size)
                except zlib.error as e:
                    raise bad_answer(f"it can't be decompressed: {e}") from None
            size += len(chunk)
            if size > limit:
                raise too_long(self._service)
            parts.append(chunk)
        return b"".join(parts)


def _split_unix(url: str) -> tuple[str, str | None]:
    """Return the URL to ask for and the socket to ask at: `unix:/run/a.sock:/rpc` has both in one."""
    if not url.startswith("unix:"):
        return url, None
    socket, _, path = url.removeprefix("unix:").partition(":")
    return f"http://localhost{path or '/'}", socket


def _status(response: httpx2.Response) -> str:
    return f"HTTP status {response.status_code} {response.reason_phrase}".strip()


def _hint(status: int) -> str:
    if status in (401, 403):
        return "; look at the headers of the service"
    return "; look at the path in its url" if status in (404, 405) else ""


def _retry_after(text: str) -> float | None:
    """Return the seconds that a Retry-After header asks for (RFC 9110, 10.2.3), None if it can't be read."""
    if text.isdigit():
        return float(min(int(text), 1 << 30)) if len(text) < 10 else None
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _untrusted(error: BaseException | None) -> bool:
    """Return whether a certificate was refused, which another attempt won't change."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
