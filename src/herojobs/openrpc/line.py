"""Calls over a Unix socket, each message a line of JSON, as zinit and other small daemons speak it.

Each call has a connection of its own: opening one is as cheap as a message, servers that answer one call a connection
work too, and a call that hangs holds up no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from herojobs.openrpc.faults import timed_out, unreachable
from herojobs.openrpc.transport import Reply, ids_in, read, too_long, why
from herojobs.service_settings import Service

CHUNK = 1 << 16


class LineTransport:
    """Opens a connection for each call.

    Args:
        service: the service.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._path = service.url.removeprefix("unix+line:")

    async def send(self, body: bytes, ids: Collection[str], headers: Mapping[str, str], seconds: float) -> Reply:
        """Send a message and return the answer; see `Transport`."""
        sent = False
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(seconds):
                reader, writer = await asyncio.open_unix_connection(self._path)
                sent = True
                writer.write(body + b"\n")
                await writer.drain()
                if not ids:
                    writer.close()
                    await writer.wait_closed()
                    return Reply([], 0, "sent")
                return await self._answer(reader, ids)
        except TimeoutError:
            raise timed_out(seconds, sent=sent) from None
        except OSError as e:
            raise unreachable(why(e, self._service), sent=sent) from None
        finally:
            if writer is not None:
                writer.transport.abort()

    async def close(self) -> None:
        """Nothing is kept open."""

    async def _answer(self, reader: asyncio.StreamReader, ids: Collection[str]) -> Reply:
        limit = self._service.max_response
        buffer = bytearray()
        read_to = 0
        while True:
            chunk = await reader.read(CHUNK)
            if not chunk and not buffer.strip():
                raise unreachable("it closed the connection without an answer", sent=True)
            buffer += chunk
            while (end := buffer.find(b"\n", read_to)) >= 0 or (not chunk and buffer.strip()):
                end = len(buffer) if end < 0 else end
                line = bytes(buffer[:end])
                del buffer[: end + 1]
                read_to = 0
                if len(line) > limit:
                    raise too_long(self._service)
                if line.strip() and ids_in(line) is not None:
                    return Reply(read(line, ids), len(line), "answered")
            read_to = len(buffer)
            if len(buffer) > limit:
                raise too_long(self._service)
