"""HTTP: POST /rpc, the OpenRPC document, job logs, health and metrics, as one ASGI application.

Browsers are kept from calling us on behalf of pages of other sites: a call must be JSON by its `Content-Type`, which no
page can send elsewhere without asking first, its `Origin` must be ours, and without a session key the `Host` must name
this machine, so that no name which an attacker points at it will do.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from herojobs.errors import HeroJobsError, RpcError
from herojobs.jsonrpc import Dispatcher, encode_error
from herojobs.jsonrpc.codes import Code
from herojobs.jsonrpc.dispatcher import Instead
from herojobs.names import Ref
from herojobs.server import access, document, health, noting
from herojobs.server.backend import Backend
from herojobs.server.caller import Caller
from herojobs.server.connections import Gate, url_of
from herojobs.server.errors import translate
from herojobs.server.login import Login
from herojobs.server.methods import METHODS
from herojobs.server.metrics import Metrics
from herojobs.server.websocket import WebSockets

JSON = b"application/json"


def make_app(backend: Backend, *, behind_proxy: bool = False) -> Starlette:
    """Return the application.

    Args:
        backend: what it works on, open.
        behind_proxy: whether who calls is told by a proxy's headers: then nobody counts as local.
    """
    dispatcher: Dispatcher[Caller] = Dispatcher(METHODS, check=access.check, translate=translate, noted=noting.note)
    gate = Gate(backend, behind_proxy=behind_proxy)
    metrics = Metrics(backend)
    sockets = WebSockets(dispatcher, gate)
    pages = _Pages(backend, gate, metrics)
    login = Login(backend)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with metrics:
            yield

    return Starlette(
        routes=[
            Route("/rpc", _Rpc(dispatcher, gate)),
            WebSocketRoute("/rpc", sockets),
            Route("/login", login.login),
            Route("/logout", login.logout, methods=["POST"]),
            Route("/openrpc.json", pages.document),
            Route("/jobs/{circle}/{topic}/{id}/log", pages.log),
            Route("/healthz", pages.healthz),
            Route("/readyz", pages.readyz),
            Route("/metrics", pages.metrics),
        ],
        lifespan=lifespan,
    )


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
        headers = Headers(scope=scope)
        refused = self._gate.refuses(scope, headers)
        if refused is None and headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            refused = RpcError(Code.INVALID_REQUEST, "Invalid Request: Content-Type must be application/json")
        if refused is not None:
            await _send(send, 415 if refused.code == Code.INVALID_REQUEST else 403, encode_error(None, refused))
            return
        body = await self._body(headers, receive)
        if body is None:
            error = RpcError(Code.TOO_LARGE, "Too large", {"expected": f"at most {self._most:,} bytes"})
            await _send(send, 413, encode_error(None, error), more=((b"connection", b"close"),))
            return
        try:
            caller = self._gate.caller(scope, headers)
        except RpcError as e:
            await _send(send, 503, encode_error(None, e))
            return
        answer = await self._dispatcher.answer(body, caller, lambda number: self._gate.admit(caller, scope, number))
        if answer is None:
            await _send(send, 204, b"")
        else:
            await _send(send, 200, answer)

    async def _body(self, headers: Headers, receive: Receive) -> bytes | None:
        """Return the body, None if it is too large; counted while it is read, whatever its length is said to be."""
        if (length := headers.get("content-length", "0")).isdigit() and int(length) > self._most:
            return None
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            body: bytes = message.get("body", b"")
            return body if len(body) <= self._most else None
        parts, size = [message.get("body", b"")], len(message.get("body", b""))
        while message.get("more_body"):
            message = await receive()
            if message["type"] == "http.disconnect":
                return b""
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._most:
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
        text, kind = await self._metrics.render()
        return Response(text, media_type=kind)

    async def log(self, request: Request) -> Response:
        """Send a job's output as text until the job is over."""
        try:
            refused = self._gate.refuses(request.scope, request.headers)
            if refused is not None:
                raise refused
            caller = self._gate.caller(request.scope, request.headers)
            arguments = {"ref": "/".join(request.path_params[name] for name in ("circle", "topic", "id"))}
            method = METHODS.find("job.log")
            access.check(method, caller, arguments)
            self._gate.admit(caller, request.scope, 1)
            ref = Ref.parse(str(arguments["ref"]))
            await self._backend.core.get(ref)
        except (HeroJobsError, Instead) as e:
            error = e if isinstance(e, RpcError) else translate(e)
            assert error is not None
            status = {Code.UNAUTHORIZED: 401, Code.FORBIDDEN: 403, Code.JOB_NOT_FOUND: 404, Code.UNAVAILABLE: 503,
                      Code.LIMIT_EXCEEDED: 429}.get(Code(error.code), 400)  # fmt: skip
            return PlainTextResponse(f"{error.message}\n", status)
        return StreamingResponse(self._follow(ref), media_type="text/plain; charset=utf-8")

    async def _follow(self, ref: Ref) -> AsyncGenerator[str]:
        async with contextlib.aclosing(self._backend.core.follow(ref)) as texts:
            async for text in texts:
                yield text
                if self._backend.stopping.is_set():
                    return


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
    await send({"type": "http.response.body", "body": body})
