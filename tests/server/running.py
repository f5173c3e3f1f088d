"""A server in a process of its own, and the simplest client: what a program in any language sends."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2

from herojobs.jsonrpc import RpcError, encode_request, read_answers


class Running:
    """A running server.

    Attributes:
        url: where it listens.
        process: its process.
        home: its home.
        redis_url: its Redis.
        socket: its Unix socket.
        login_link: the link that it printed at its start, empty if none.
    """

    def __init__(self, url: str, process: subprocess.Popen[str], home: Path, redis_url: str, socket: Path) -> None:
        self.url = url
        self.redis_url = redis_url
        self.login_link = ""
        self.process = process
        self.home = home
        self.socket = socket
        self.client = httpx2.Client(base_url=url, timeout=90, trust_env=False)
        self._numbers = itertools.count(1)

    def post(self, body: bytes, key: str = "", **headers: str) -> httpx2.Response:
        sent = {"content-type": "application/json"} | headers
        if key:
            sent["authorization"] = f"Bearer {key}"
        return self.client.post("/rpc", content=body, headers=sent)

    def call(self, method: str, *args: Any, key: str = "", **kwargs: Any) -> Any:
        """Call a method, by position or by name; return its result or raise its error."""
        assert not (args and kwargs), "by position or by name"
        response = self.post(encode_request(method, list(args) or kwargs or None, next(self._numbers)), key)
        assert response.status_code == 200, response.text
        return read_answers(response.content)[0][0].value()

    def error(self, method: str, *args: Any, key: str = "", **kwargs: Any) -> RpcError:
        """Call a method, and return the error that it must answer."""
        try:
            result = self.call(method, *args, key=key, **kwargs)
        except RpcError as e:
            return e
        raise AssertionError(f"{method} answered {result}")


def environment(home: Path, redis_url: str) -> dict[str, str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HEROJOBS_")}
    tests = str(Path(__file__).parents[1])
    return environ | {"HEROJOBS_HOME": str(home), "HEROJOBS_REDIS_URL": redis_url, "PYTHONPATH": tests}


@contextlib.contextmanager
def serving(home: Path, redis_url: str, *arguments: str, watchdog: bool = False, **env: str) -> Iterator[Running]:
    """Run `herojobs serve` until the block ends."""
    home.mkdir(parents=True, exist_ok=True)
    socket = home / "api.sock"
    command = [sys.executable, "-m", "herojobs", "serve", "--port", "0", "--unix", str(socket), *arguments]
    command += ["--workers", "1", "--actors", "support.actors"] if watchdog else ["--no-watchdog"]
    environ = environment(home, redis_url) | {"HEROJOBS_STOP_TIMEOUT": "1"} | env
    with (home / "serve.log").open("wb") as log, start(command, environ, log) as process:
        url = link = ""
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("listening at http"):
                url = line.split()[-1]
            if "/login?token=" in line:
                link = line.split()[-1]
            if line == "ready\n":
                break
        else:
            raise AssertionError((home / "serve.log").read_text())
        running = Running(url, process, home, redis_url, socket)
        running.login_link = link
        with running.client:
            yield running


@contextlib.contextmanager
def start(command: Sequence[str], environ: dict[str, str], log: Any) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            process.stdout.close()
