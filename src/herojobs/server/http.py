"""HTTP: POST /rpc, the OpenRPC document, job logs, health and metrics, as one ASGI application.

Browsers are kept from calling us on behalf of pages of other sites: their calls must be JSON by type, which no
page can send elsewhere without asking first, the `Origin` must be ours, and without a session key the `Host` must name
this machine, so that no name which an attacker points at it will do.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from herojobs.errors import HeroJobsError, RpcError
from herojobs.jsonrpc import Dispatcher, encode_error
from herojobs.jsonrpc.codes import Code
from herojobs.names import Ref
from herojobs.ourdb import OurDBError
from herojobs.server import access, document, health, noting
from herojobs.server.backend import Backend
from herojobs.server.caller import Caller
from herojobs.server.connections import Gate, url_of, who_of
from herojobs.server.errors import translate
from herojobs.server.limits import Hold, no_room
from herojobs.server.login import Login
from herojobs.server.methods import METHODS
from herojobs.server.metrics import Metrics
from herojobs.server.websocket import WebSockets

JSON = b"application/json"
MOST_OF_STRANGERS = 65_536
"""Bytes of a body that are read of who shows no valid key."""
LARGE = 65_536
"""Bytes of an answer that a slow reader holds up: less is the connection's own buffer's."""
BODY_TIMEOUT = 60.0
"""Seconds in which a request's body must have come."""
_STATUSES = {
    Code.UNAUTHORIZED: 401, Code.FORBIDDEN: 403, Code.JOB_NOT_FOUND: 404, Code.LIMIT_EXCEEDED: 429,
    Code.UNAVAILABLE: 503,
}  # fmt: skip
"""HTTP statuses of errors, for what is read by GET; 400 for all others."""


def make_app(backend: Backend, *, behind_proxy: bool = False) -> ASGIApp:
    """Return the application; to be called on the event loop that will serve it.

    Args:
        backend: what it works on, open; it closes what the application opens.
        behind_proxy: whether who calls is told by a proxy's headers: then nobody counts as local.
    """
    dispatcher: Dispatcher[Caller] = Dispatcher(METHODS, check=access.check, translate=translate, noted=noting.note)
    gate = Gate(backend, behind_proxy=behind_proxy)
    metrics = Metrics(backend)
    metrics.start()
    backend.at_close(metrics.stop)
    sockets = WebSockets(dispatcher, gate)
    pages = _Pages(backend, gate, metrics)
    login = Login(backend)

    rpc = _Rpc(dispatcher, gate)
    pages_app = Starlette(
        routes=[
            WebSocketRoute("/rpc", sockets),
            Route("/login", login.login),
            Route("/logout", login.logout, methods=["POST"]),
            Route("/openrpc.json", pages.document),
            Route("/jobs/{circle}/{topic}/{id}/log", pages.log),
            Route("/healthz", pages.healthz),
            Route("/readyz", pages.readyz),
            Route("/metrics", pages.metrics),
        ],
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/rpc":
            await rpc(scope, receive, send)  # calls go past the framework, which would take as long as they do
        else:
            await pages_app(scope, receive, send)

    return app


class _Rpc:
    """POST /rpc, without a framework's work for each request."""

    def __init__(self, dispatcher: Dispatcher[Caller], gate: Gate) -> None:
        self._dispatcher = dispatcher
        self._gate = gate
        self._most = gate.settings.server_max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await _send(send, 405, b"call POST /rpc with JSON-RPC 2.0\n", b"text/plain", ((b"allow", b"POST"),))
            return
        # of several headers of one name the first counts, as with the framework's
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}
        refused = self._gate.refuses(scope, headers)
        if refused is None and _is_browser(headers) and not _says_json(headers):
            refused = RpcError(Code.INVALID_REQUEST, "Invalid Request: Content-Type must be application/json")
        if refused is not None:
            await _send(send, 415 if refused.code == Code.INVALID_REQUEST else 403, encode_error(None, refused))
            return
        with Hold(self._gate.memory) as hold:
            await self._answer(scope, headers, receive, send, hold)

    async def _answer(self, scope: Scope, headers: Mapping[str, str], receive: Receive, send: Send, hold: Hold) -> None:
        most, has_room = self._most_of(scope, headers, hold)
        if not has_room:
            await _send(send, 429, encode_error(None, no_room()), more=((b"connection", b"close"),))
            return
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                body = await self._body(headers, receive, most)
        except TimeoutError:
            await _send(send, 408, b"the request didn't come in time\n", b"text/plain", ((b"connection", b"close"),))
            return
        if body is None:
            error = RpcError(Code.TOO_LARGE, "Too large", {"expected": f"at most {most:,} bytes"})
            await _send(send, 413, encode_error(None, error), more=((b"connection", b"close"),))
            return
        try:
            caller = self._gate.caller(scope, headers)
            caller.gone = lambda: _is_gone(receive)
        except RpcError as e:
            await _send(send, 503, encode_error(None, e))
            return
        answer = await self._dispatcher.answer(
            body,
            caller,
            lambda number: self._gate.admit(caller, scope, number),
            lambda size: hold.take(who_of(caller, scope), size),
            no_room,
        )
        if answer is None:
            await _send(send, 204, b"")
        else:
            await _send(send, 200, answer)

    def _most_of(self, scope: Scope, headers: Mapping[str, str], hold: Hold) -> tuple[int, bool]:
        """Return the largest body that is read, and whether there is room for it.

        Of who shows no valid key not much is read, as many strangers may come.
        """
        length = _length(headers)
        if self._most <= MOST_OF_STRANGERS or 0 <= length <= MOST_OF_STRANGERS:
            return self._most, True
        try:
            caller = self._gate.caller(scope, headers)
        except RpcError:  # it can't be told now, which is told once the body was read
            return MOST_OF_STRANGERS, True
        if caller.session is None:
            return MOST_OF_STRANGERS, True
        size = length if length >= 0 else self._most
        return self._most, size > self._most or hold.take(who_of(caller, scope), size)

    async def _body(self, headers: Mapping[str, str], receive: Receive, most: int) -> bytes | None:
        """Return the body, None if it is too large; counted while it is read, whatever its length is said to be."""
        if _length(headers) > most:
            return None
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            body: bytes = message.get("body", b"")
            return body if len(body) <= most else None
        parts, size = [message.get("body", b"")], len(message.get("body", b""))
        while message.get("more_body"):
            message = await receive()
            if message["type"] == "http.disconnect":
                return b""
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > most:
                return None
        return b"".join(parts)


class _Pages:
    """What is read by GET."""

    def __init__(self, backend: Backend, gate: Gate, metrics: Metrics) -> None:
        self._backend = backend
        self._gate = gate
        self._metrics = metrics

    async def document(self, request: Request) -> Response:
        return Response(bytes(document.encoded(url_of(request.scope, request.headers))), media_type="application/json")

    async def healthz(self, request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(self, request: Request) -> Response:
        found = await health.check(self._backend)
        return Response(msgspec.json.encode(found) + b"\n", 200 if found.ok else 503, media_type="application/json")

    async def metrics(self, request: Request) -> Response:
        """Send the figures to who may see all circles, or 401 or 403."""
        try:
            caller = self._caller(request)
            access.check(METHODS.find("queue.list"), caller, {})
            if caller.circles is not None:
                raise RpcError(Code.FORBIDDEN, "Forbidden: metrics are of all circles; this session has some of them")
        except HeroJobsError as e:
            return _refusal(e)
        text, kind = await self._metrics.render()
        return Response(text, media_type=kind)

    async def log(self, request: Request) -> Response:
        """Send a job's output as text until the job is over."""
        try:
            caller = self._caller(request)
            arguments = {"ref": "/".join(request.path_params[name] for name in ("circle", "topic", "id"))}
            access.check(METHODS.find("job.log"), caller, arguments)
            ref = Ref.parse(str(arguments["ref"]))
            await self._backend.core.get(ref)
        except (HeroJobsError, OurDBError, OSError) as e:
            return _refusal(e)
        return StreamingResponse(self._follow(ref, caller), media_type="text/plain; charset=utf-8")

    def _caller(self, request: Request) -> Caller:
        """Return who asks, once that is counted."""
        refused = self._gate.refuses(request.scope, request.headers)
        if refused is not None:
            raise refused
        caller = self._gate.caller(request.scope, request.headers)
        self._gate.admit(caller, request.scope, 1)
        return caller

    async def _follow(self, ref: Ref, caller: Caller) -> AsyncGenerator[str]:
        async with contextlib.aclosing(self._backend.core.follow(ref)) as texts:
            while True:
                following = asyncio.ensure_future(anext(texts, None))
                try:
                    text = await self._backend.unless_stopping(following, caller.is_over)
                    caller.check_again()
                except HeroJobsError as e:
                    if not self._backend.stopping.is_set():
                        yield f"\n[{e}]\n"
                    return
                finally:
                    await asyncio.gather(following, return_exceptions=True)
                if text is None:
                    return
                yield text


def _refusal(error: Exception) -> Response:
    told = error if isinstance(error, RpcError) else translate(error)
    assert told is not None
    return PlainTextResponse(f"{told.message}\n", _STATUSES.get(Code(told.code), 400))


async def _is_gone(receive: Receive) -> bool:
    """Return whether who sent a request, which was read whole, has closed the connection."""
    message = asyncio.ensure_future(receive())
    await asyncio.sleep(0)
    if not message.done():
        message.cancel()
        return False
    return bool(message.result()["type"] == "http.disconnect")


def _length(headers: Mapping[str, str]) -> int:
    """Return the length that a request says its body has, -1 if it says none."""
    length = headers.get("content-length", "")
    return int(length) if length.isdecimal() and length.isascii() and len(length) < 20 else -1


def _is_browser(headers: Mapping[str, str]) -> bool:
    """Return whether a browser asks: each of them says where a call comes from; `curl -d` may have any type."""
    return any(name in headers for name in ("origin", "sec-fetch-site", "referer", "cookie"))


def _says_json(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


async def _send(
    send: Send,
    status: int,
    body: bytes,
    kind: bytes = JSON,
    more: tuple[tuple[bytes, bytes], ...] = (),
) -> None:
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), *more]
    if status == 204:
        headers = list(more)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if len(body) > LARGE:
        await send({"type": "http.response.body", "body": body, "more_body": True})
        body = b""  # the rest, which is nothing, waits until this is read
    await send({"type": "http.response.body", "body": body})
