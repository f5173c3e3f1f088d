"""What the messages of one session may take of the server's memory."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from herojobs.jsonrpc import encode_request
from herojobs.server import limits
from herojobs.sessions import Sessions
from herojobs.settings import Settings, load
from server.here import serving_here
from waiting import until

MEGABYTE = 1 << 20


@pytest.fixture
def settings(home: Path, redis_url: str) -> Settings:
    return load({}, home=home, redis_url=redis_url)


@pytest.fixture
def keys(settings: Settings) -> Iterator[list[str]]:
    sessions = Sessions(settings)
    yield [sessions.create(name, ["c"], "operator")[1] for name in ("greedy", "other")]
    sessions.close()


def post(url: str, key: str, body: bytes) -> int:
    """Return the code of the error that is answered, 0 if it went well."""
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    answer = httpx2.post(f"{url}/rpc", content=body, headers=headers, timeout=60, trust_env=False).json()
    return int(answer.get("error", {}).get("code", 0))


def begun(url: str, key: str, body: bytes, length: int) -> socket.socket:
    """Return a connection with a request of which this much has been sent, and whose answer nobody reads."""
    host, port = url.removeprefix("http://").split(":")
    opened = socket.create_connection((host, int(port)), 30)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    head = f"POST /rpc HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\ncontent-length: {length}\r\n\r\n"
    opened.sendall(head.encode() + body)
    return opened


def test_requests_and_unread_answers_are_bounded(
    settings: Settings, keys: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MOST_MEMORY", 3 * MEGABYTE)
    greedy, other = keys
    submit = encode_request("job.submit", {"params": "y" * 900_000, "circle_id": "c"}, 1)
    looked = encode_request("job.list", {"circle_id": "c"}, 1)
    many = encode_request("job.submit_many", {"jobs": [{"params": "y", "circle_id": "c", "topic": "many"}] * 50}, 1)
    with serving_here(settings) as url:
        for _ in range(20):
            assert post(url, other, submit) == 0
        with begun(url, greedy, b"{", 2 * MEGABYTE):
            until(lambda: post(url, greedy, b"[" + b" " * 2 * MEGABYTE + b"]") == 1003)
            assert post(url, other, submit) == 0
            assert post(url, greedy, encode_request("session.get", None, 1)) == 0
        until(lambda: post(url, greedy, submit) == 0)  # nobody reads that one any more
        with begun(url, greedy, looked, len(looked)):
            until(lambda: post(url, greedy, looked) == 1003)
            assert post(url, greedy, many) == 0, "what changes something is answered"
            assert post(url, other, looked) == 0
        until(lambda: post(url, greedy, looked) == 0)
