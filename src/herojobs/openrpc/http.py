"""Calls over HTTP, also through a Unix socket: one POST for a message."""

from __future__ import annotations

import asyncio
import email.utils
import ipaddress
import logging
import ssl
import time
import zlib
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2

from herojobs.jsonrpc.codes import Code
from herojobs.openrpc.faults import Fault, bad_answer, refused, timed_out, unreachable
from herojobs.openrpc.transport import CONNECT_TIMEOUT, Reply, read, too_long, why
from herojobs.settings import Service

KEEP_ALIVE = 3.0
"""Seconds that an idle connection is kept. Servers close theirs after five as a rule, and a call that is sent into a
connection which is being closed is lost without anybody's fault."""

_BUSY = (429, 502, 503, 504)
"""Statuses of services that may do better in a moment."""

logging.getLogger("httpx2").setLevel(logging.WARNING)  # it would tell each request; the job's log has it already


class HttpTransport:
    """One client with its pool of connections.

    Args:
        service: the service.
        headers: its headers, with their values.
        address: address to connect to instead of resolving the host.
    """

    def __init__(self, service: Service, headers: Mapping[str, str], address: str = "") -> None:
        self._service = service
        self._extensions: dict[str, Any] = {}
        self._url, socket = _split_unix(service.url)
        own = {"content-type": "application/json", "accept": "application/json", "accept-encoding": "gzip, deflate"}
        if address:
            parts = urlsplit(self._url)
            host = f"[{address}]" if ipaddress.ip_address(address).version == 6 else address
            self._url = parts._replace(netloc=host + (f":{parts.port}" if parts.port else "")).geturl()
            self._extensions["sni_hostname"] = parts.hostname
            own["host"] = parts.netloc
        self._client = httpx2.AsyncClient(
            transport=httpx2.AsyncHTTPTransport(
                uds=socket,
                verify=self._url.startswith("https:"),  # reading the certificates of all authorities takes a while
                limits=httpx2.Limits(max_connections=service.concurrency, keepalive_expiry=KEEP_ALIVE),
            ),
            headers={**own, **headers},
            trust_env=False,  # no proxy that the environment names
            follow_redirects=False,
        )

    async def send(self, body: bytes, ids: Collection[str], headers: Mapping[str, str], seconds: float) -> Reply:
        """Send a message and return the answer; see `Transport`."""
        sent = False

        async def trace(event: str, _: Mapping[str, Any]) -> None:
            nonlocal sent
            sent = sent or event.endswith("send_request_headers.started")

        timeout = httpx2.Timeout(None, connect=min(seconds, CONNECT_TIMEOUT))
        try:
            async with (
                asyncio.timeout(seconds),
                self._client.stream(
                    "POST",
                    self._url,
                    content=body,
                    headers=dict(headers),
                    timeout=timeout,
                    extensions={**self._extensions, "trace": trace},
                ) as response,
            ):
                return await self._read(response, ids)
        except TimeoutError:
            raise timed_out(seconds, "" if sent else "no connection", sent=sent) from None
        except httpx2.TimeoutException:
            raise unreachable(f"no connection within {timeout.connect:g} s", sent=sent) from None
        except httpx2.HTTPError as e:
            raise unreachable(why(e, self._service), sent=sent, again=not _untrusted(e)) from None
        except (ValueError, httpx2.InvalidURL) as e:  # a header that can't be sent
            raise unreachable(str(e), again=False) from None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def get(self, seconds: float) -> bytes:
        """Return what is at the service's URL, for a document that is a file on a server.

        Raises:
            Fault: it can't be had.
        """
        try:
            async with asyncio.timeout(seconds), self._client.stream("GET", self._url) as response:
                if response.status_code != 200:
                    raise bad_answer(_status(response))
                return await self._body(response)
        except TimeoutError:
            raise timed_out(seconds) from None
        except httpx2.HTTPError as e:
            raise unreachable(why(e, self._service)) from None

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
                {"status": status},
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
