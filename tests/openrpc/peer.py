"""A service in a process of its own: pets over HTTP, WebSocket and Unix sockets, and every sort of misbehaviour.

`python peer.py FOLDER` prints the TCP ports of HTTP and WebSocket, then serves until its input ends. The first part of
an HTTP or WebSocket path, and the name of the Unix socket, say how it behaves.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from herojobs.errors import RpcError
from herojobs.jsonrpc import Dispatcher, Method, Methods

DOCUMENT = json.loads((Path(__file__).parent / "pets.json").read_text())
BEHAVIOURS = (
    "rpc",
    "hang",
    "garbage",
    "reset",
    "wrong-id",
    "huge",
    "drip",
    "notices",
    "null-id",
    "both",
    "short-batch",
)
pets: dict[int, dict[str, Any]] = {1: {"id": 1, "name": "Tom"}}
seen: list[dict[str, Any]] = []
counts: Counter[str] = Counter()


def list_pets(limit: int = 100) -> object:
    return list(pets.values())[:limit]


def add_pet(pet: dict[str, Any], tags: list[str] | None = None) -> object:
    id = len(pets) + 1
    pets[id] = {"id": id, **pet}
    return pets[id]


def get_pet(id: int) -> object:
    if id not in pets:
        raise RpcError(404, f"no such pet: {id}", {"id": id})
    return pets[id]


async def slow(seconds: float, value: object = None) -> object:
    await asyncio.sleep(seconds)
    return value


def discover() -> object:
    counts["discover"] += 1
    extra = [{"name": "pets.new", "params": []}] if counts["grown"] else []
    return {**DOCUMENT, "methods": DOCUMENT["methods"] + extra}


def grow() -> None:
    counts["grown"] = 1


def busy(times: int) -> str:
    counts["busy"] += 1
    if counts["busy"] <= times:
        raise RpcError(-32001, "busy")
    counts["busy"] = 0
    return "done"


METHODS = Methods()
for name, function in {
    "pets.list": list_pets, "pets.add": add_pet, "pets.get": get_pet, "pets.odd": lambda: 5, "pets.note": len,
    "pets.broken": lambda x=None: x, "pets.new": lambda: "new", "slow": slow, "rpc.discover": discover, "busy": busy,
    "grow": grow, "echo": lambda value=None: value,
}.items():  # fmt: skip
    METHODS.add(Method(name, (lambda text: len(text)) if function is len else function))
BARE = Methods()  # a service without a document
for method in METHODS:
    if method.name != "rpc.discover":
        BARE.add(method)
answer = Dispatcher[None](METHODS).answer
answer_bare = Dispatcher[None](BARE).answer


async def respond(behaviour: str, body: bytes) -> bytes | None:
    """Return the answer to a message; None: none comes."""
    if b'"rpc.discover"' in body and behaviour != "bare":
        return await answer(body, None)
    request = json.loads(body)
    first = request[0] if isinstance(request, list) else request
    match behaviour:
        case "bare":
            return await answer_bare(body, None)
        case "hang":
            await asyncio.sleep(3600)
        case "garbage":
            return b"<html>\xff it works!</html>"
        case "wrong-id":
            return json.dumps({"jsonrpc": "2.0", "result": [], "id": "another"}).encode()
        case "null-id":
            return b'{"jsonrpc":"2.0","error":{"code":-32600,"message":"I do not understand"},"id":null}'
        case "both":
            return json.dumps({"jsonrpc": "2.0", "result": 1, "error": {}, "id": first["id"]}).encode()
        case "short-batch":
            return b"[" + (await answer(json.dumps(first).encode(), None) or b"") + b"]"
    return await answer(body, None)


async def on_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while await http_request(reader, writer):
            pass
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def http_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    verb, path, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    behaviour = path.strip("/").partition("/")[0]

    def reply(status: str, data: bytes, *more: str) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(data)}", *more]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + data)

    if verb == "GET" and behaviour == "seen":
        reply("200 OK", json.dumps({"seen": seen, "counts": counts}).encode())
        return True
    if verb == "GET" and behaviour == "openrpc.json":
        counts["fetched"] += 1
        reply("200 OK", json.dumps(DOCUMENT).encode())
        return True
    discovers = b'"rpc.discover"' in body
    if not discovers:
        seen.append({"path": path, "headers": headers, "body": body.decode()})
        counts[behaviour] += 1
    if discovers or behaviour in ("rpc", "bare"):
        data = await respond(behaviour, body)
        reply("200 OK" if data else "204 No Content", data or b"", "Content-Type: application/json")
    elif behaviour == "gzip":
        data = gzip.compress(await respond("rpc", body) or b"")
        reply("200 OK", data, "Content-Encoding: gzip")
    elif behaviour == "status":
        reply(f"{path.split('/')[2]} Told", b"no")
    elif behaviour == "flaky":  # fails twice, then works
        if counts["flaky"] % 3:
            reply("503 Busy", b"", f"Retry-After: {path.split('/')[2]}")
        else:
            reply("200 OK", await respond("rpc", body) or b"")
    elif behaviour == "error-status":
        reply("500 Error", await respond("null-id", body) or b"")
    elif behaviour == "redirect":
        reply("307 Elsewhere", b"", "Location: http://169.254.169.254/latest/")
    elif behaviour == "reset":
        writer.transport.abort()
        return False
    elif behaviour == "huge":
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(1024):  # 1 GB, if anybody wants it
            writer.write(b"100000\r\n" + b" " * (1 << 20) + b"\r\n")
            await writer.drain()
            counts["huge-mb"] += 1
        writer.write(b"0\r\n\r\n")
    elif behaviour == "bomb":  # 1 GB of blanks in a megabyte
        part = bomb_part()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % (64 * len(part)))
        for _ in range(64):
            writer.write(part)
            await writer.drain()
    elif behaviour == "claims-huge":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n{")
        await asyncio.sleep(3600)
    elif behaviour == "headers":
        while True:
            writer.write(b"HTTP/1.1 200 OK\r\n" if not counts["lines"] else b"X: " + b"y" * 1000 + b"\r\n")
            counts["lines"] += 1
            await writer.drain()
    elif behaviour == "drip":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)
    elif behaviour == "echo-headers":
        id = json.loads(body)["id"]
        reply(
            "200 OK",
            json.dumps(
                {
                    "jsonrpc": "2.0",
                    "error": {
                        "code": 1,
                        "message": "I saw " + headers["authorization"],
                        "data": {"headers": headers, "body": json.loads(body)},
                    },
                    "id": id,
                }
            ).encode(),
        )
    elif behaviour == "hang":
        await until_closed(reader, "http-closed")
    else:
        reply("200 OK", await respond(behaviour, body) or b"")
    await writer.drain()
    return True


async def until_closed(reader: asyncio.StreamReader, what: str) -> None:
    await reader.read()
    counts[what] += 1


@cache
def bomb_part() -> bytes:
    return gzip.compress(b" " * (1 << 24))


def refuse(connection: ServerConnection, request: Request) -> Response | None:
    match request.path:
        case "/redirect":
            return Response(307, "Elsewhere", Headers({"Location": "http://169.254.169.254/latest/"}))
        case "/status":
            return Response(403, "Forbidden", Headers())
    return None


async def on_websocket(connection: ServerConnection) -> None:
    assert connection.request is not None
    behaviour = connection.request.path.strip("/")
    counts["ws-connections"] += 1
    tasks = set()

    async def one(message: bytes) -> None:
        data = await respond(behaviour, message)
        if data is not None:
            await connection.send(data, text=behaviour != "garbage")

    async for message in connection:
        data = message.encode() if isinstance(message, str) else message
        if b"rpc.discover" not in data:
            counts["ws"] += 1
            seen.append({"path": behaviour, "headers": dict(connection.request.headers), "body": data.decode()})
            if behaviour == "reset":
                connection.transport.abort()
                return
            if behaviour == "hang":
                await connection.wait_closed()
                counts["ws-closed"] += 1
                return
            if behaviour == "huge":
                await connection.send("x" * (4 << 20))
                continue
            if behaviour == "notices":
                await connection.send('{"jsonrpc":"2.0","method":"event","params":[1]}')
        task = asyncio.create_task(one(data))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


def on_line(behaviour: str) -> Any:
    async def serve_lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async for line in reader:
                if b"rpc.discover" not in line:
                    counts["line"] += 1
                    if behaviour == "reset":
                        writer.transport.abort()
                        return
                    while behaviour == "huge":
                        writer.write(b"x" * (1 << 20))
                        await writer.drain()
                    if behaviour == "notices":
                        writer.write(b'{"jsonrpc":"2.0","method":"event","params":[1]}\n\n')
                if behaviour == "hang" and b"rpc.discover" not in line:
                    await until_closed(reader, "line-closed")
                    return
                data = await respond(behaviour, line)
                while behaviour == "drip" and b"rpc.discover" not in line:
                    writer.write(b" ")
                    await writer.drain()
                    await asyncio.sleep(0.05)
                if data is not None:
                    writer.write(data + b"\n")
                    await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    return serve_lines


async def main(folder: Path) -> None:
    http = await asyncio.start_server(on_http, "127.0.0.1", 0)
    await asyncio.start_unix_server(on_http, folder / "http.sock")
    for behaviour in BEHAVIOURS:
        await asyncio.start_unix_server(on_line(behaviour), folder / f"{behaviour}.line", limit=1 << 26)
    async with serve(
        on_websocket, "127.0.0.1", 0, max_size=None, compression=None, process_request=refuse
    ) as websocket:
        print(http.sockets[0].getsockname()[1], next(iter(websocket.sockets)).getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
