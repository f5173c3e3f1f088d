"""Fixtures: the service of `peer.py`, and a caller of it."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from herojobs.jsonrpc.methods import Methods
from herojobs.openrpc import Answered, CallContext, Caller, PythonMethods
from herojobs.openrpc.plan import read_plan
from herojobs.service_settings import Service
from herojobs.settings import load


class Peer:
    """The running service."""

    def __init__(self, folder: Path, http_port: int, ws_port: int) -> None:
        self.folder = folder
        self.http_port = http_port
        self.ws_port = ws_port

    def url(self, way: str, behaviour: str = "rpc") -> str:
        return {
            "http": f"http://127.0.0.1:{self.http_port}/{behaviour}",
            "ws": f"ws://127.0.0.1:{self.ws_port}/{behaviour}",
            "unix": f"unix:{self.folder}/http.sock:/{behaviour}",
            "line": f"unix+line:{self.folder}/{behaviour}.line",
        }[way]

    def looked(self) -> tuple[list[dict[str, Any]], dict[str, int]]:
        """Return what it has seen, and its counts."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port)
        connection.request("GET", "/seen")
        told = json.loads(connection.getresponse().read())
        connection.close()
        return told["seen"], told["counts"]


@contextmanager
def running_peer() -> Iterator[tuple[Peer, subprocess.Popen[str]]]:
    with tempfile.TemporaryDirectory(prefix="hj-peer-") as folder:
        program = Path(__file__).parent / "peer.py"
        process = subprocess.Popen(
            [sys.executable, program, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdin is not None
        ports = process.stdout.readline().split()
        yield Peer(Path(folder), *map(int, ports)), process
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@pytest.fixture(scope="session")
def peer_process() -> Iterator[Peer]:
    with running_peer() as (peer, _):
        yield peer


@pytest.fixture
def peer(peer_process: Peer) -> Peer:
    """The service."""
    return peer_process


class Calls:
    """Makes calls of one service, `pets`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.log: list[str] = []
        self._callers: list[Caller] = []
        self._number = 0

    def caller(self, service: Service | None = None, **settings: Any) -> Caller:
        services = {} if service is None else {"pets": service}
        made = Caller(load({}, home=self.home, services=services, **settings), PythonMethods(Methods()))
        self._callers.append(made)
        return made

    def context(self, seconds: float = 20.0, circle: str = "c") -> CallContext:
        import time

        self._number += 1
        return CallContext(f"{circle}/t/{self._number}", circle, self.log.append, time.monotonic() + seconds)

    async def __call__(self, caller: Caller, request: Any, seconds: float = 20.0, **more: Any) -> list[Answered]:
        envelope = {"request": request, **more}
        if "url" not in more:
            envelope = {"service": "pets", **envelope}
        return await caller.run(read_plan(json.dumps(envelope)), self.context(seconds))

    async def one(self, service: Service, method: str, params: Any = None, **more: Any) -> Answered:
        """Make one call by a caller of its own."""
        request = {"method": method} if params is None else {"method": method, "params": params}
        return (await self(self.caller(service), request, **more))[0]

    async def close(self) -> None:
        for caller in self._callers:
            await caller.close()


@pytest.fixture
async def calls(tmp_path: Path) -> AsyncIterator[Calls]:
    made = Calls(tmp_path)
    yield made
    await made.close()


@pytest.fixture
def service(peer: Peer) -> Callable[..., Service]:
    """Return what makes the settings of the service."""

    def make(way: str = "http", behaviour: str = "rpc", **fields: Any) -> Service:
        return Service(url=peer.url(way, behaviour), **{"timeout": 5.0, **fields})

    return make
