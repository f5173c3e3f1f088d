"""Calls over a WebSocket: one connection for a service and worker process, answers matched by their ids."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, WebSocketException

from herojobs.openrpc.faults import Fault, bad_answer, refused, timed_out, unreachable
from herojobs.openrpc.transport import CONNECT_TIMEOUT, Reply, ids_in, read, too_long, why
from herojobs.service_settings import Service

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Seconds before the connection is tried again: twice as long after each failure."""
CLOSE_TIMEOUT = 1.0
TOO_BIG = 1009
"""The status that a connection is closed with for a message over the limit (RFC 6455, 7.4.1)."""

_log = logging.getLogger("herojobs.openrpc.websocket")
_log.setLevel(logging.WARNING)  # the library tells each connection


class _Connect(connect):
    """Connects, and follows no redirect."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class WebSocketTransport:
    """One connection, opened by the call that needs it first.

    Args:
        service: the service.
        headers: its headers, with their values.
        address: address to connect to instead of resolving the host.
    """

    def __init__(self, service: Service, headers: Mapping[str, str], address: str = "") -> None:
        self._service = service
        self._headers = headers
        self._address = address
        self._connection: ClientConnection | None = None
        self._connecting: asyncio.Task[ClientConnection] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._waiting: dict[str, asyncio.Future[bytes]] = {}
        self._strays = 0
        self._pause = 0.0
        self._not_before = 0.0

    async def send(self, body: bytes, ids: Collection[str], headers: Mapping[str, str], seconds: float) -> Reply:
        """Send a message and return the answer; see `Transport`."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        sent = False
        strays = self._strays
        try:
            async with asyncio.timeout(seconds):
                connection = await self._connected()
                for id in ids:
                    self._waiting[id] = answer
                sent = True
                await connection.send(body, text=True)
                if not ids:
                    return Reply([], 0, "sent")
                data = await answer
            return Reply(read(data, ids), len(data), "answered")
        except TimeoutError:
            others = self._strays - strays
            told = f"{others} answers to other ids came" if others else "" if sent else "no connection"
            raise timed_out(seconds, told, sent=sent) from None
        except ConnectionClosed as e:
            raise self._lost(e) from None
        finally:
            for id in ids:
                self._waiting.pop(id, None)
            if answer.done() and not answer.cancelled():
                answer.exception()  # a fault nobody waits for any more is no loss
            elif ids and sent and not self._waiting:
                self._drop()  # it went away without its answer, and nobody else needs the connection

    async def close(self) -> None:
        """Close the connection."""
        for task in (self._connecting, self._reader):
            if task is not None:
                task.cancel()
        if self._connection is not None:
            with suppress(Exception):
                await self._connection.close()
            self._connection = None

    async def _connected(self) -> ClientConnection:
        if self._connection is not None:
            return self._connection
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect())
            self._connecting.add_done_callback(lambda task: task.cancelled() or task.exception())  # if all went away
        return await asyncio.shield(self._connecting)  # all who wait share it; one who goes away doesn't end it

    async def _connect(self) -> ClientConnection:
        try:
            await asyncio.sleep(max(0.0, self._not_before - time.monotonic()))
            place: dict[str, Any] = {"host": self._address} if self._address else {}
            connection = await _Connect(
                self._service.url,
                additional_headers=dict(self._headers),
                proxy=None,
                open_timeout=CONNECT_TIMEOUT,
                close_timeout=CLOSE_TIMEOUT,
                max_size=self._service.max_response,
                logger=_log,
                **place,
            )
        except Exception as e:
            pause = self._pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, self._pause * 2))
            self._not_before = time.monotonic() + pause * random.uniform(0.5, 1)  # noqa: S311 - no secret
            raise self._cannot(e) from None
        finally:
            self._connecting = None
        self._pause = 0.0
        self._connection = connection
        self._reader = asyncio.create_task(self._read(connection))
        return connection

    async def _read(self, connection: ClientConnection) -> None:
        """Give each message to who waits for it, until the connection is closed."""
        fault: Fault
        try:
            while True:
                message = await connection.recv(decode=False)
                ids = ids_in(message)
                if ids is not None:
                    self._give(message, ids)
        except ConnectionClosed as e:
            fault = self._lost(e)
        except Fault as e:  # not even JSON: nothing that follows can be trusted
            fault = e
        except Exception as e:  # whatever it is, those who wait must hear of it
            fault = unreachable(why(e, self._service), sent=True)
        finally:
            if self._connection is connection:
                self._connection = None
        for waiting in set(self._waiting.values()):
            if not waiting.done():
                waiting.set_exception(fault)
        connection.transport.abort()

    def _give(self, message: bytes, ids: list[str | None]) -> None:
        waiting = next((self._waiting[id] for id in ids if id in self._waiting), None)
        if waiting is None and set(ids) <= {None}:
            waiters = set(self._waiting.values())  # it couldn't read the id: whose it is, is sure for a single one only
            waiting = waiters.pop() if len(waiters) == 1 else None
        if waiting is None:
            self._strays += 1
        elif not waiting.done():
            waiting.set_result(message)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.transport.abort()

    def _lost(self, error: ConnectionClosed) -> Fault:
        frame = error.sent or error.rcvd
        if error.sent is not None and error.sent.code == TOO_BIG:
            return too_long(self._service)
        return unreachable(f"the connection was closed ({frame or 'without a word'})", sent=True)

    def _cannot(self, error: Exception) -> Fault:
        if isinstance(error, InvalidStatus):
            status = error.response.status_code
            if 300 <= status < 400:
                place = error.response.headers.get("Location", "")
                return refused(f"a redirect to {place[:200]!r}, and none is followed")
            return unreachable(f"it refused the connection with HTTP status {status}")
        if isinstance(error, TimeoutError):
            return unreachable(f"no connection within {CONNECT_TIMEOUT:g} s")
        if isinstance(error, InvalidHandshake | WebSocketException):
            return bad_answer(f"it speaks no WebSocket: {error}")
        again = not isinstance(error, ssl.SSLCertVerificationError)
        return unreachable(why(error, self._service), again=again)
