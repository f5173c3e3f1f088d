"""A throwaway Redis."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from herojobs.errors import EmbeddedRedisError

PATIENCE = 30.0
"""Seconds that a server may take until it listens."""


class RedisServer:
    """A throwaway server on a Unix socket, empty at its start.

    Args:
        program: path of redis-server or valkey-server.
        options: further options of its command line.

    Raises:
        EmbeddedRedisError: it doesn't start.
    """

    def __init__(self, program: str, *options: str) -> None:
        self.program = program
        self.folder = Path(tempfile.mkdtemp(prefix="hj-redis-"))
        self.socket = self.folder / "s"
        self.url = f"unix://{self.socket}"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the server, again if it was killed; return when it listens."""
        command = [self.program, "--port", "0", "--unixsocket", str(self.socket), "--save", "", "--dir"]
        self._process = subprocess.Popen(  # noqa: S603 - the server that the user has installed
            [*command, str(self.folder), *self._options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + PATIENCE
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(str(self.socket))
                    return
                except OSError:
                    if self._process.poll() is not None or time.monotonic() > deadline:
                        raise EmbeddedRedisError(f"{self.program} doesn't listen on {self.socket}") from None
            time.sleep(0.005)

    def command(self, text: bytes) -> bytes:
        """Send one plain command over a connection of its own; return the first bytes of the reply."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(self.socket))
            connection.sendall(text + b"\r\n")
            return connection.recv(100)

    def kill(self) -> None:
        """End the server without a warning; its socket stays."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End the server and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
