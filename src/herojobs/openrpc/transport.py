"""What carries a call to a service: the parts that HTTP, WebSocket and Unix sockets have in common."""

from __future__ import annotations

import asyncio
import importlib
import os
import ssl
import sys
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, Protocol, cast
from urllib.parse import urlsplit

import msgspec

from herojobs.errors import RpcError
from herojobs.jsonrpc.messages import Answer, read_answers, shown_bytes
from herojobs.openrpc.faults import Fault, bad_answer, unreachable
from herojobs.service_settings import Service

CONNECT_TIMEOUT = 10.0
"""Seconds that opening a connection may take, within the timeout of the attempt."""

SHORTEST_SECRET = 6
"""Characters that a value must have to be masked; shorter ones would mask half of every text."""


class Reply(NamedTuple):
    """What came back.

    Attributes:
        answers: the answers, in the service's order; empty if none was awaited.
        size: bytes of the answer.
        status: what the transport says of it, for the job's log.
    """

    answers: list[Answer]
    size: int
    status: str


class Transport(Protocol):
    """A way to one service; keeps its connections for the next call."""

    async def send(self, body: bytes, ids: Collection[str], headers: Mapping[str, str], seconds: float) -> Reply:
        """Send a message and return the answer to it.

        Args:
            body: the message, on one line.
            ids: the ids whose answers are awaited; empty: none is.
            headers: headers of this message, where the transport has such.
            seconds: how long it may take.

        Raises:
            Fault: no answer came.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


def open_transport(service: Service, address: str = "") -> Transport:
    """Return the transport to a service.

    Args:
        service: the service.
        address: address to connect to, in the place of those that its host has.

    Raises:
        Fault: a header's variable isn't set.
    """
    made = importlib.import_module(_module(service))
    if service.url.startswith("unix+line:"):
        return cast("Transport", made.LineTransport(service))
    headers = header_values(service)
    if service.url.startswith("ws"):
        return cast("Transport", made.WebSocketTransport(service, headers, address))
    return cast("Transport", made.HttpTransport(service, headers, address))


async def prepare(service: Service) -> None:
    """Import what a service's transport needs, in a thread: it takes too long for an event loop."""
    module = _module(service)
    if module not in sys.modules:
        await asyncio.to_thread(importlib.import_module, module)


def _module(service: Service) -> str:
    scheme = urlsplit(service.url).scheme
    name = "line" if scheme == "unix+line" else "websocket" if scheme in ("ws", "wss") else "http"
    return f"herojobs.openrpc.{name}"


def header_values(service: Service) -> dict[str, str]:
    """Return a service's headers, values `env:NAME` read from the environment.

    Raises:
        Fault: a variable isn't set.
    """
    values = {}
    for name, value in service.headers.items():
        if value.startswith("env:"):
            variable = value.removeprefix("env:")
            if variable not in os.environ:
                raise unreachable(f"its header {name} needs the variable {variable}, which isn't set", again=False)
            value = os.environ[variable]
        values[name] = value
    return values


def secrets_of(service: Service) -> list[str]:
    """Return what nobody may read in a log or an error: the values that headers have from the environment."""
    values = [
        os.environ.get(value.removeprefix("env:"), "") for value in service.headers.values() if value[:4] == "env:"
    ]
    words = {word for value in values for word in (value, *value.split())}  # of `Bearer x` the x alone, too
    return sorted((word for word in words if len(word) >= SHORTEST_SECRET), key=len, reverse=True)


def read(data: bytes, ids: Collection[str]) -> list[Answer]:
    """Return the answers in a message.

    Args:
        data: the message.
        ids: the ids that were asked about.

    Raises:
        Fault: it is no answer, or not to these.
    """
    try:
        answers, is_batch = read_answers(data)
    except RpcError as e:
        raise bad_answer(e.message, e.data) from None
    if not is_batch and len(answers) == 1 and answers[0].id is None and answers[0].error is not None:
        return [answers[0]._replace(id=id) for id in ids]  # it couldn't tell what it was asked
    found = [answer.id for answer in answers]
    for id in ids:
        if found.count(id) != 1:
            got = ", ".join(repr(each) for each in found[:3]) or "none"
            raise bad_answer(f"{found.count(id)} answers with the id {id!r}; the ids that came: {got}")
    if len(found) != len(ids):
        raise bad_answer(f"{len(found)} answers to {len(ids)} calls")
    return answers


def why(error: BaseException, service: Service) -> str:
    """Return why a connection failed: the system's word where there is one, which tells more than a library's."""
    parts = urlsplit(service.url)
    place = parts.netloc or parts.path
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if isinstance(cause, OSError) and cause.errno is not None and not isinstance(cause, ssl.SSLError):
            return f"{place}: {os.strerror(cause.errno) if cause.errno > 0 else cause.strerror}"
        cause = cause.__cause__ or cause.__context__
    return f"{place}: {str(error) or type(error).__name__}"


def too_long(service: Service) -> Fault:
    """Return the fault of an answer over the limit."""
    return bad_answer(f"it is longer than {service.max_response:,} bytes (max_response of the service)")


class _Head(msgspec.Struct):
    id: Any = None
    method: Any = msgspec.UNSET


_heads = msgspec.json.Decoder(_Head | list[_Head])


def ids_in(data: bytes) -> list[str | None] | None:
    """Return the ids that a message has (None: null, or no text), or None if the service tells it by itself.

    Raises:
        Fault: it is no JSON.
    """
    try:
        heads = _heads.decode(data)
    except msgspec.ValidationError:
        return []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise bad_answer(f"no JSON-RPC answer: {e}", {"got": shown_bytes(data)}) from None
    if isinstance(heads, _Head):
        if heads.method is not msgspec.UNSET:
            return None
        heads = [heads]
    return [head.id if isinstance(head.id, str) else None for head in heads]
