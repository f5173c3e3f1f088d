"""A server in a thread of this process: it starts in a moment, for tests that need many."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from herojobs.server.backend import Backend
from herojobs.server.http import make_app
from herojobs.settings import Settings


@contextlib.contextmanager
def serving_here(settings: Settings, socket: Path | None = None) -> Iterator[str]:
    """Serve until the block ends; give the address.

    Args:
        settings: the home and its Redis.
        socket: a Unix socket to listen at, in the place of a port.
    """
    ready = threading.Event()
    found: list[uvicorn.Server] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        async with Backend(settings) as backend:
            config = uvicorn.Config(
                make_app(backend), host="127.0.0.1", port=0, uds=socket and str(socket), log_config=None,
                ws="websockets-sansio", timeout_graceful_shutdown=1,
            )  # fmt: skip
            server = Server(config, ready)
            found.append(server)
            closing = asyncio.create_task(ended(server, backend))
            await server.serve()
            closing.cancel()

    async def ended(server: uvicorn.Server, backend: Backend) -> None:
        while not server.should_exit:
            await asyncio.sleep(0.02)
        backend.stopping.set()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(60)
        yield f"http+unix://{socket}" if socket else f"http://127.0.0.1:{found[0].port}"  # type: ignore[attr-defined]
    finally:
        found[0].should_exit = True
        thread.join(60)


class Server(uvicorn.Server):
    """Uvicorn that tells when it listens, and leaves signals alone."""

    def __init__(self, config: uvicorn.Config, ready: threading.Event) -> None:
        super().__init__(config)
        self._ready = ready
        self.port = 0

    async def startup(self, sockets: object = None) -> None:
        await super().startup(None)
        if not self.config.uds:
            self.port = self.servers[0].sockets[0].getsockname()[1]
        self._ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
