"""Sessions over the server: a browser's login, revocation on a connection that stands, the audit log."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from herojobs import HeroJobs
from herojobs.jsonrpc import encode_request
from herojobs.sessions import Audit, Sessions, make_login_link
from herojobs.settings import Settings, load
from herojobs.store import JobStore
from server.running import Running, serving

CALL = encode_request("session.get", None, 1)
HEADERS = {"content-type": "application/json"}


@pytest.fixture
def settings(home: Path, redis_url: str) -> Settings:
    return load({}, home=home, redis_url=redis_url)


@pytest.fixture
def sessions(settings: Settings) -> Iterator[Sessions]:
    made = Sessions(settings)
    yield made
    made.close()


def browser(server: Running) -> httpx2.Client:
    return httpx2.Client(base_url=server.url, timeout=90, trust_env=False)


def test_a_browser_logs_in_once_and_out(sessions: Sessions, home: Path, redis_url: str) -> None:
    sessions.create("somebody", ["c"])  # so that being local isn't enough
    with serving(home, redis_url) as server, browser(server) as first, browser(server) as second:
        link = make_login_link(sessions, server.url)
        came = first.get(link)
        cookie = came.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert came.headers["cache-control"] == "no-store"
        assert second.get(link).status_code == 403
        assert "set-cookie" not in second.get(link).headers
        assert second.get("/login").status_code == 403
        answer = first.post("/rpc", content=CALL, headers=HEADERS).json()
        assert (answer["result"]["role"], answer["result"]["circles"]) == ("admin", ["*"])
        assert second.post("/rpc", content=CALL, headers=HEADERS).json()["error"]["code"] == 1004
        # A page of another site can't use the cookie.
        elsewhere = first.post("/rpc", content=CALL, headers=HEADERS | {"origin": "https://evil.example"})
        assert elsewhere.status_code == 403
        key = first.cookies["herojobs_session"]
        first.post("/logout")
        assert sessions.check(key) is None
        assert server.error("session.get", key=key).code == 1004


def test_the_first_start_prints_a_link(home: Path, redis_url: str, sessions: Sessions) -> None:
    with serving(home, redis_url) as server:
        assert "herojobs_session" in server.client.get(server.login_link).headers["set-cookie"]
    with serving(home, redis_url) as server:
        assert not server.login_link


async def test_a_revoked_key_ends_calls_and_events_of_a_websocket(
    sessions: Sessions, home: Path, redis_url: str, settings: Settings
) -> None:
    from websockets.asyncio.client import connect

    _, key = sessions.create("a", ["c"])
    with serving(home, redis_url) as server, HeroJobs(settings=settings) as hero:
        url = server.url.replace("http", "ws") + "/rpc"
        async with connect(url, additional_headers={"authorization": f"Bearer {key}"}, proxy=None) as socket:
            await socket.send(encode_request("event.subscribe", {"circle_id": "c"}, 1).decode())
            assert json.loads(await socket.recv())["result"]
            hero.submit("!!core.echo", circle_id="c")
            assert json.loads(await socket.recv())["method"] == "event.job"
            sessions.revoke("a")
            hero.submit("!!core.echo", circle_id="c")
            time.sleep(0.2)  # an event would have come by now
            await socket.send(CALL.decode())
            assert json.loads(await socket.recv())["error"]["code"] == 1004


def test_a_revoked_key_ends_calls_that_wait_and_streams(
    sessions: Sessions, home: Path, redis_url: str, settings: Settings
) -> None:
    _, key = sessions.create("a", ["c"], "operator")
    with serving(home, redis_url) as server, HeroJobs(settings=settings) as hero:
        job = hero.submit("!!core.echo", circle_id="c", log=True)
        with closing(JobStore(settings)) as store:
            path = store.log_path(*job.ref)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("before")
        calls = (("worker.claim", {"queues": ["c/other"], "wait": 20.0}), ("job.wait", {"ref": str(job.ref)}))
        with ThreadPoolExecutor() as threads:
            waiting = [threads.submit(server.error, name, key=key, **given) for name, given in calls]
            with server.client.stream("GET", f"/jobs/{job.ref}/log", headers={"authorization": f"Bearer {key}"}) as log:
                texts = log.iter_text()
                assert next(texts) == "before"
                sessions.revoke("a")
                assert "Unauthorized" in "".join(texts)  # though nothing more was put out, and the job isn't over
            other = hero.submit("!!core.echo", circle_id="c", topic="other")
            assert [each.result().code for each in waiting] == [1004, 1004]
            assert [each.waiting for each in hero.queues("c") if each.topic == other.topic] == [1]


def test_the_server_tells_a_key_nowhere(sessions: Sessions, home: Path, redis_url: str, settings: Settings) -> None:
    _, key = sessions.create("canary", ["c"], "operator")
    admin = sessions.create("admin", role="admin")[1]
    with serving(home, redis_url) as server:
        told = [
            server.call("job.submit", params="!!x", circle_id="c", key=key),
            server.call("job.get", ref="c/default/1", key=admin),
            server.call("job.list", key=admin),
            server.call("job.list", session_key=key, key=admin),
            server.call("job.history", ref="c/default/1", key=admin),
            server.call("queue.peek", "c", "default", key=admin),
            server.call("session.list", key=admin),
            server.call("session.get", key=key),
            server.call("worker.claim", queues=["c/default"], key=key),
            server.error("job.get", ref="c/default/9", key=key),
            server.error("job.get", ref=key, key=key),
            server.error("session.open", token=key[:-1] + "x"),
            server.error("job.submit", params="", circle_id="c", key=key),
            server.error("job.submit", params="!!x", circle_id="d", key=key),
        ]
        shown = [repr(each) + repr(getattr(each, "data", "")) for each in told if not isinstance(each, Exception)]
        errors = [each for each in told if isinstance(each, Exception)]
        shown += [f"{each} {each.data}" for each in errors if key not in str(each)]
        headers = {"authorization": f"Bearer {admin}"}
        shown += [server.client.get(p, headers=headers).text for p in ("/metrics", "/readyz", "/openrpc.json")]
    assert len(errors) == 5
    assert [key in f"{each} {each.data}" for each in errors].count(True) == 1, "only where the caller gave it as a ref"
    assert key not in "".join(shown)
    assert key[13:60] not in (home / "serve.log").read_text()


def test_the_audit_log_has_what_was_changed_and_refused(
    sessions: Sessions, home: Path, redis_url: str, settings: Settings
) -> None:
    _, operator = sessions.create("operator", ["c"], "operator")
    _, viewer = sessions.create("viewer", ["c"], "viewer")
    secret = "the patient's name"
    with serving(home, redis_url) as server:
        server.call("job.submit", params=f"!!x {secret}", circle_id="c", key=operator)
        server.call("job.submit_many", jobs=[{"params": secret, "circle_id": "c"}] * 4, key=operator)
        server.call("job.cancel", ref="c/default/1", key=operator)
        server.error("job.cancel", ref="c/default/1", key=operator)
        server.error("job.delete", ref="c/default/1", key=viewer)
        server.error("job.delete", ref="other/default/1", key=operator)
        server.call("queue.pause", "c", "default", key=operator)
        server.error("job.submit", params=secret, key="hjs_00000000_" + "0" * 64)
        server.call("job.get", ref="c/default/2", key=operator)
    audit = Audit(settings)
    found = [(each.name, each.method, each.circle, each.ref, each.count, each.outcome) for each in audit.read()]
    audit.close()
    refused, gone = "1005 Forbidden", "1001 Job not found"
    assert found[::-1] == [
        ("operator", "job.submit", "c", "c/default/1", 1, "ok"),
        ("operator", "job.submit_many", "c", "c/default/2", 4, "ok"),
        ("operator", "job.cancel", "c", "c/default/1", 1, "ok"),
        ("operator", "job.cancel", "c", "c/default/1", 1, "1002 The job's state doesn't allow it"),
        ("viewer", "job.delete", "c", "c/default/1", 1, refused),
        ("operator", "job.delete", "other", "other/default/1", 1, gone),
        ("operator", "queue.pause", "c", "c/default", 1, "ok"),
    ]
    for file in (home / "var" / "audit").rglob("*"):
        data = file.read_bytes() if file.is_file() else b""
        assert b"patient" not in data
        assert operator[13:].encode() not in data
