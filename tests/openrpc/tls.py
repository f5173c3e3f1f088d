"""Servers with a certificate of their own making."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from websockets.asyncio.server import ServerConnection, serve


@asynccontextmanager
async def tls_servers(name: str) -> AsyncIterator[tuple[Path, dict[str, int]]]:
    """Serve JSON-RPC whose every result is `true` over https and wss; yield the certificate and the ports."""
    with tempfile.TemporaryDirectory(prefix="hj-tls-") as folder:
        key, certificate = Path(folder) / "key.pem", Path(folder) / "cert.pem"
        made = await asyncio.create_subprocess_exec(
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={name}",
            "-addext", f"subjectAltName=DNS:{name}", "-keyout", str(key), "-out", str(certificate),
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert await made.wait() == 0
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
        https = await asyncio.start_server(_https, "127.0.0.1", 0, ssl=context)
        async with https, serve(_wss, "127.0.0.1", 0, ssl=context) as wss:
            ports = {"https": https.sockets[0].getsockname()[1], "wss": next(iter(wss.sockets)).getsockname()[1]}
            yield certificate, ports


def _answer(request: bytes | str) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "result": True, "id": json.loads(request)["id"]}).encode()


async def _https(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    data = _answer(await reader.readexactly(length))
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
    await writer.drain()
    writer.close()


async def _wss(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(_answer(message), text=True)
