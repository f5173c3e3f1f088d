"""A Redis server for the tests of one process."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from herojobs.errors import EmbeddedRedisError
from herojobs.live.embedded import find_program

START_WITHIN = 10.0


class TestRedis:
    """A server on a Unix socket in a temporary folder, which keeps nothing on disk.

    Raises:
        EmbeddedRedisError: no server program is found, or it doesn't come up.
    """

    __test__ = False  # not a class of tests

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="herojobs-test-"))  # short: a socket's path has to be
        self._socket = self._folder / "s"
        self.url = f"unix://{self._socket}"
        command = [find_program(), "--port", "0", "--unixsocket", str(self._socket), "--save", ""]
        self._process = subprocess.Popen(  # noqa: S603 - the server's own program
            [*command, "--appendonly", "no", "--dir", str(self._folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            preexec_fn=_end_with_parent,
        )
        deadline = time.monotonic() + START_WITHIN
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise EmbeddedRedisError(f"the Redis server for the tests doesn't start: {' '.join(command)}")
            time.sleep(0.005)

    def empty(self) -> None:
        """Remove all that it holds."""
        self._ask(b"FLUSHALL\r\n")

    def close(self) -> None:
        """End the server and remove its folder."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            return self._ask(b"PING\r\n").startswith(b"+PONG")
        except OSError:
            return False

    def _ask(self, command: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(START_WITHIN)
            connection.connect(str(self._socket))
            connection.sendall(command)
            return connection.recv(100)


def _end_with_parent() -> None:
    """Have the kernel end the server when the process of the tests dies, however it does (Linux)."""
    if sys.platform == "linux":
        import ctypes
        import signal

        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
