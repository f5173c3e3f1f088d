"""WS /rpc: calls, events, slow readers, sessions that end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from herojobs.jsonrpc import encode_batch, encode_request
from herojobs.sessions import Sessions
from herojobs.settings import load
from server.running import Running, serving
from waiting import until

HELLO = "!!fake.return_success message:'hello'"


@contextlib.contextmanager
def opened(server: Running, key: str = "", **options: Any) -> Iterator[ClientConnection]:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    address = server.url.replace("http", "ws") + "/rpc"
    with connect(address, additional_headers=headers, proxy=None, **options) as websocket:
        yield websocket


def receive(websocket: ClientConnection, timeout: float = 60) -> Any:
    return msgspec.json.decode(websocket.recv(timeout))


def call(websocket: ClientConnection, method: str, *params: Any, id: int = 1) -> Any:
    websocket.send(encode_request(method, list(params) or None, id).decode())
    while (answer := receive(websocket)).get("id") != id:
        assert "id" not in answer
    return answer.get("result", answer.get("error"))


def test_calls_batches_and_notifications_over_one_connection(server: Running, circle: str) -> None:
    with opened(server) as websocket:
        assert call(websocket, "job.submit", HELLO, "heroscript", circle)["jobid"] == 1
        websocket.send(encode_request("job.submit", [HELLO, "heroscript", circle]).decode())  # never answered
        websocket.send(encode_batch([encode_request("queue.size", [circle, "default"], n) for n in range(3)]).decode())
        assert [answer["id"] for answer in receive(websocket)] == [0, 1, 2]
        websocket.send(b"rubbish")
        assert receive(websocket)["error"]["code"] == -32700
        websocket.send("[]")
        assert receive(websocket)["error"]["code"] == -32600


def test_answers_come_when_they_are_there(server: Running, circle: str) -> None:
    with opened(server) as websocket:
        call(websocket, "job.submit", HELLO, "heroscript", circle)
        websocket.send(encode_request("job.wait", [f"{circle}/default/1", 30], 1).decode())
        websocket.send(encode_request("queue.size", [circle, "default"], 2).decode())
        assert receive(websocket)["id"] == 2
        call(websocket, "job.cancel", f"{circle}/default/1", id=3)
        assert receive(websocket)["result"]["reason"] == "cancelled"


def test_events_of_a_circle_a_topic_and_a_job(working: Running, circle: str) -> None:
    with opened(working) as websocket:
        number = call(websocket, "event.subscribe", circle, "one")
        call(websocket, "job.submit", HELLO, "heroscript", circle, "two", id=2)
        websocket.send(encode_request("job.submit", [HELLO, "heroscript", circle, "one"]).decode())
        seen = []
        while "done" not in seen:
            told = receive(websocket)
            assert told["method"] == "event.job"
            params = told["params"]
            assert (params["subscription"], params["ref"]) == (number, f"{circle}/one/1")
            seen.append(params["event"])
        assert seen[0] == "submitted"
        assert params["status"] == "done"
        assert abs(params["at"] - time.time() * 1000) < 60_000
        assert call(websocket, "event.unsubscribe", number, id=4) is True
        assert call(websocket, "event.unsubscribe", number, id=5) is False
        websocket.send(encode_request("job.submit", [HELLO, "heroscript", circle, "one"], 6).decode())
        assert receive(websocket)["id"] == 6
        with pytest.raises(TimeoutError):
            websocket.recv(0.3)


def test_subscriptions_are_limited_and_need_a_websocket(server: Running) -> None:
    assert server.error("event.subscribe").code == -32600
    with opened(server) as websocket:
        for n in range(100):
            call(websocket, "event.subscribe", f"circle{n}", id=n)
        assert call(websocket, "event.subscribe", "more", id=101)["code"] == 1003


def test_a_slow_reader_is_told_what_it_missed(server: Running, circle: str) -> None:
    """It doesn't read while 30,000 events come: the server holds 1,000 of them and what the sockets take."""
    with opened(server, max_queue=1, compression=None) as websocket:
        number = call(websocket, "event.subscribe", circle)
        jobs = [{"params": HELLO, "circle_id": circle}] * 5000
        for _ in range(6):
            server.call("job.submit_many", jobs)
        events = missed = 0
        while events + missed < 30_000:
            told = receive(websocket)
            if told["method"] == "event.missed":
                missed += told["params"]["count"]
            else:
                assert told["params"]["subscription"] == number
                events += 1
        assert events + missed == 30_000
        assert missed > 0


def test_sessions_over_a_websocket(home: Path, redis_url: str) -> None:
    sessions = Sessions(load(home=home, redis_url=redis_url))
    session, key = sessions.create("looker", ["alpha"], "operator")
    _, admin = sessions.create("boss", role="admin")
    with serving(home, redis_url) as server, opened(server) as websocket:
        assert call(websocket, "queue.list")["code"] == 1004
        assert call(websocket, "session.open", "wrong")["code"] == 1004
        assert call(websocket, "session.open", key)["name"] == "looker"
        assert call(websocket, "queue.list") == []
        call(websocket, "event.subscribe")
        call(websocket, "event.subscribe", "beta", id=2)
        server.call("job.submit", params=HELLO, circle_id="beta", key=admin)
        server.call("job.submit", params=HELLO, circle_id="alpha", key=admin)
        assert receive(websocket)["params"]["ref"] == "alpha/default/1"
        sessions.revoke(session.id)
        assert call(websocket, "queue.list")["code"] == 1004
        server.call("job.submit", params=HELLO, circle_id="alpha", key=admin)
        with pytest.raises(TimeoutError):
            websocket.recv(0.3)
        assert call(websocket, "session.open", admin)["name"] == "boss"
        assert call(websocket, "session.close") is True
        assert call(websocket, "session.get")["code"] == 1004
    sessions.close()


def test_pages_of_other_sites_get_no_websocket(server: Running) -> None:
    address = server.url.replace("http", "ws") + "/rpc"
    with pytest.raises(Exception, match="403"):
        connect(address, origin="https://elsewhere.example", proxy=None)  # type: ignore[arg-type]


def test_a_server_that_ends_closes_its_websockets(home: Path, redis_url: str) -> None:
    with serving(home, redis_url) as server, opened(server) as websocket:
        call(websocket, "event.subscribe")
        server.process.terminate()
        with pytest.raises(ConnectionClosed) as caught:
            websocket.recv(60)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1001
        assert server.process.wait(60) == 0


def test_who_reads_no_answers_is_disconnected(server: Running, circle: str) -> None:
    for _ in range(10):
        server.call("job.submit", params="y" * 1_000_000, circle_id=circle)
    with opened(server, max_queue=1, compression=None, max_size=None) as websocket:
        for number in range(60):
            websocket.send(encode_request("job.list", {"circle_id": circle}, number).decode())
        websocket.send(encode_request("job.submit", [HELLO, "heroscript", circle, "read"]).decode())
        with contextlib.suppress(AssertionError):  # it may be disconnected before this is read
            until(lambda: server.call("queue.size", circle_id=circle, topic="read") == 1, 10)
        server.call("job.list", circle_id=circle, limit=1)  # lists are made in their turn: those before are made now
        with pytest.raises(ConnectionClosed):
            read_all(websocket)
    assert server.call("session.get")["name"] == "local"


def read_all(websocket: ClientConnection) -> None:
    for _ in range(60):
        websocket.recv(60)
