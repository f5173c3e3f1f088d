"""A proxy before Redis, on loopback, that can be slow, hang, or be away."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path

CHUNK = 1 << 16


class Proxy:
    """Passes connections on to a Unix socket; runs in a thread.

    Args:
        target: the socket.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._delay = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chaos-proxy", daemon=True)
        self._thread.start()
        self._flows = asyncio.Event()
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._port = 0
        self._do(self._listen())
        self._flows.set()

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"redis://127.0.0.1:{self._port}"

    def slow_down(self, seconds: float) -> None:
        """Delay each piece of data from now on; 0 = none."""
        self._delay = seconds

    def hang(self, hang: bool) -> None:
        """Let no data through, or go on."""
        self._loop.call_soon_threadsafe(self._flows.clear if hang else self._flows.set)

    def go_away(self) -> None:
        """Break all connections and refuse new ones."""
        self._do(self._stop())

    def come_back(self) -> None:
        """Listen again, at the same address."""
        self._do(self._listen())

    def close(self) -> None:
        """End the proxy."""
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, coroutine: object) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)  # type: ignore[arg-type]

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, limit=CHUNK)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self._flows.set()
        for task in list(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):  # asyncio logs those that it hasn't cancelled
                back, forth = await asyncio.open_unix_connection(str(self._target), limit=CHUNK)
                tasks = [
                    asyncio.ensure_future(self._pump(reader, forth)),
                    asyncio.ensure_future(self._pump(back, writer)),
                ]
                try:
                    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for each in tasks:
                        each.cancel()
                    forth.transport.abort()
        finally:
            writer.transport.abort()
            self._serving.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                await self._flows.wait()
                if self._delay:
                    await asyncio.sleep(self._delay)
                writer.write(data)
                await writer.drain()
