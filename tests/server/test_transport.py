"""POST /rpc: the standard over HTTP, limits, and what keeps strangers and other sites' pages out."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from herojobs import HeroJobs
from herojobs.jsonrpc import encode_batch, encode_request, read_answers
from herojobs.sessions import Sessions
from herojobs.settings import load
from server.running import Running, environment, serving
from waiting import until

CALL = encode_request("session.get", None, 1)


def test_notifications_are_answered_204_without_a_body(server: Running) -> None:
    for body in (encode_request("session.get"), encode_batch([encode_request("no.such"), encode_request("job.get")])):
        response = server.post(body)
        assert (response.status_code, response.content) == (204, b"")


@pytest.mark.parametrize(("body", "code"), [(b"", -32700), (b"{", -32700), (b"[]", -32600), (b"1", -32600)])
def test_rubbish_is_answered_by_an_error(server: Running, body: bytes, code: int) -> None:
    response = server.post(body)
    assert response.status_code == 200
    error = read_answers(response.content)[0][0].error
    assert error is not None
    assert error.code == code


def test_a_batch_is_limited(server: Running) -> None:
    assert len(read_answers(server.post(encode_batch([CALL] * 100)).content)[0]) == 100
    assert b"1008" in server.post(encode_batch([CALL] * 101)).content


def test_a_body_is_limited_as_it_says_and_as_it_is(home: Path, redis_url: str) -> None:
    with serving(home, redis_url, HEROJOBS_SERVER_MAX_BODY="2000") as server:
        assert server.post(b" " * 2000).status_code == 200
        assert server.post(b" " * 2001).status_code == 413

        def chunks() -> object:
            for _ in range(100):
                yield b" " * 100

        response = server.client.post("/rpc", content=chunks(), headers={"content-type": "application/json"})  # type: ignore[arg-type]
        assert response.status_code == 413
        assert b"1008" in response.content
        with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1]))) as raw:  # a length that lies
            raw.sendall(b"POST /rpc HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n")
            raw.sendall(b"content-length: 99999999999\r\n\r\n")
            assert b" 413 " in raw.recv(100)


def test_a_body_of_nobody_is_small(home: Path, redis_url: str) -> None:
    sessions = Sessions(load(home=home, redis_url=redis_url))
    key = sessions.create("a", ["c"])[1]
    sessions.close()
    with serving(home, redis_url) as server:
        for given, status in (("", 413), ("hjs_wrong", 413), (key, 200)):
            assert server.post(CALL + b" " * 65_536, given).status_code == status
        assert b"1004" in server.post(CALL + b" " * 60_000).content

        def chunks() -> object:
            for _ in range(100):
                yield b" " * 1000

        response = server.client.post("/rpc", content=chunks(), headers={"content-type": "application/json"})  # type: ignore[arg-type]
        assert response.status_code == 413


def test_only_posted_json_is_a_call(server: Running) -> None:
    assert server.client.get("/rpc").status_code == 405
    assert server.post(CALL, **{"content-type": "text/plain"}).status_code == 200
    for name, value in (("sec-fetch-site", "cross-site"), ("cookie", "a=b"), ("referer", "http://elsewhere/")):
        assert server.post(CALL, **{"content-type": "text/plain", name: value}).status_code == 415
    assert server.post(CALL, **{"content-type": "application/json; charset=utf-8"}).status_code == 200


def test_pages_of_other_sites_may_not_call(server: Running) -> None:
    assert server.post(CALL, origin="https://elsewhere.example").status_code == 403
    assert server.post(CALL, origin=server.url).status_code == 200
    assert server.post(CALL, host="attacker.example:8811").status_code == 403
    assert server.client.get("/jobs/a/b/1/log", headers={"host": "attacker.example"}).status_code == 403


@pytest.mark.parametrize("shown", ["Basic x", "Bearer", "bearer", "", "x"])
def test_a_name_that_leads_here_is_no_way_in(server: Running, shown: str) -> None:
    """A page of attacker.example whose name leads to 127.0.0.1 may add any header; only a valid key helps."""
    host = "attacker.example:8811"
    assert server.post(CALL, host=host, origin=f"http://{host}", authorization=shown).status_code == 403
    answer = server.post(CALL, host=host, origin=f"http://{host}", authorization="Bearer x")
    assert b"1004" in answer.content


def test_an_origin_that_is_none_is_refused(server: Running) -> None:
    for origin in ("null", "http://[", "", "http://"):
        assert server.post(CALL, origin=origin).status_code == 403


def test_what_came_through_a_proxy_is_not_of_this_machine(server: Running) -> None:
    assert b"1004" not in server.post(CALL).content
    for name in ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip"):
        assert b"1004" in server.post(CALL, **{name: "203.0.113.7"}).content


def test_a_unix_socket_is_served_to_its_user_alone(server: Running) -> None:
    assert stat.S_IMODE(server.socket.stat().st_mode) == 0o600
    transport = httpx2.HTTPTransport(uds=str(server.socket))
    with httpx2.Client(transport=transport, base_url="http://localhost") as client:
        response = client.post("/rpc", content=CALL, headers={"content-type": "application/json"})
    assert read_answers(response.content)[0][0].value()["name"] == "local"


def test_keys_decide_once_there_are_sessions(home: Path, redis_url: str) -> None:
    sessions = Sessions(load(home=home, redis_url=redis_url))
    with serving(home, redis_url) as server:
        assert server.call("session.get")["name"] == "local"
        _, viewer = sessions.create("looker", ["alpha"], "viewer")
        session, submitter = sessions.create("sender", ["alpha"], "submitter")
        assert server.error("session.get").code == 1004
        assert server.error("session.get", key="hjs_00000000_x").code == 1004
        assert server.call("session.get", key=viewer)["circles"] == ["alpha"]
        refused = server.error("job.submit", params="!!x", circle_id="alpha", key=viewer)
        assert refused.code == 1005
        assert refused.data == {"got": "viewer", "expected": "submitter"}
        job = server.call("job.submit", params="!!fake.return_empty", circle_id="alpha", key=submitter)
        assert job["sessionkey"] == "***"
        assert server.error("job.submit", params="!!x", circle_id="beta", key=submitter).code == 1005
        with HeroJobs(home=home, redis_url=redis_url) as hero:
            hero.submit("!!fake.return_empty", circle_id="beta")
            assert hero.get("alpha/default/1").session_key == submitter
        for method in ("job.get", "job.wait", "job.history", "job.log"):
            assert server.error(method, "beta/default/1", key=viewer).code == 1001
        assert server.call("job.list", key=viewer)["jobs"] == [job]
        assert server.call("job.list", circle_id="beta", key=viewer)["jobs"] == []
        assert server.call("queue.size", "beta", "default", key=viewer) == 0
        assert [queue["circle_id"] for queue in server.call("queue.list", key=viewer)] == ["alpha"]
        assert server.call("circle.list", key=viewer) == ["alpha"]
        assert server.call("system.info", key=viewer)["jobs"]["new"] == 1
        sessions.revoke(session.id)
        assert server.error("session.get", key=submitter).code == 1004
        assert server.client.get("/jobs/alpha/default/1/log").status_code == 401
    sessions.close()


def test_calls_of_a_session_are_limited_to_a_rate(home: Path, redis_url: str) -> None:
    env = {"HEROJOBS_SERVER_RATE": "5", "HEROJOBS_SERVER_BURST": "10"}
    with serving(home, redis_url, **env) as server:
        results = [server.post(CALL) for _ in range(13)]
        errors = [read_answers(each.content)[0][0].error for each in results]
        assert errors[:10] == [None] * 10
        refused = [error for error in errors if error is not None]
        assert refused
        assert {error.code for error in refused} == {1003}
        data = refused[-1].data
        assert isinstance(data, dict)
        assert 0 < data["retry_after"] <= 2


def test_it_listens_for_others_only_under_protection(home: Path, redis_url: str) -> None:
    def answer(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "herojobs", "serve", "--no-watchdog", "--port", "0", *arguments]
        run = subprocess.run(command, env=environment(home, redis_url), capture_output=True, text=True, timeout=120)
        return run.returncode, run.stderr

    code, text = answer("--host", "0.0.0.0")
    assert code == 2
    assert text.startswith("error: host 0.0.0.0: others could read session keys")
    assert answer("--tls-cert", "/nowhere", "--tls-key", "/nowhere") == (2, "error: /nowhere: there is no such file\n")
    assert answer("--tls-cert", "/nowhere") == (2, "error: --tls-cert and --tls-key go together\n")
    assert "error: host nowhere.invalid" in answer("--host", "nowhere.invalid", "--insecure")[1]


def test_a_port_that_is_taken_is_told(server: Running, home: Path, redis_url: str) -> None:
    port = server.url.rsplit(":", 1)[1]
    command = [sys.executable, "-m", "herojobs", "serve", "--no-watchdog", "--port", port]
    run = subprocess.run(command, env=environment(home, redis_url), capture_output=True, text=True, timeout=120)
    assert run.returncode == 2
    assert "Address already in use; --port 0 takes a free one" in run.stderr


def test_it_ends_gracefully_and_answers_who_waits(home: Path, redis_url: str) -> None:
    with serving(home, redis_url, watchdog=True) as server:
        server.call("job.submit", params="!!fake.sleep seconds:60", circle_id="slow")
        with server.client.stream("GET", "/healthz"):
            pass
        waiting = subprocess.Popen(
            ["curl", "-s", "-m", "20", f"{server.url}/rpc", "-H", "content-type: application/json", "-d",
             encode_request("job.wait", ["slow/default/1", 60], 1).decode()],
            stdout=subprocess.PIPE,
        )  # fmt: skip
        time.sleep(0.5)  # until curl waits; no event tells that
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(40) == 0  # the job itself would take 60 s
        out, _ = waiting.communicate(timeout=60)
        assert b'"code":1007' in out
    assert "Traceback" not in (home / "serve.log").read_text()
    with HeroJobs(home=home, redis_url=redis_url) as hero:
        assert hero.get("slow/default/1").status == "new"  # given back


def test_a_second_signal_ends_it_at_once(home: Path, redis_url: str) -> None:
    with serving(home, redis_url, watchdog=True, HEROJOBS_STOP_TIMEOUT="60") as server:
        server.call("job.submit", params="!!fake.sleep seconds:60", circle_id="slow")
        while server.call("job.get", "slow/default/1")["status"] == "new":
            time.sleep(0.02)
        server.process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(1)  # the job gets its time
        server.process.terminate()
        assert server.process.wait(60) == 0
    assert "Traceback" not in (home / "serve.log").read_text()


def test_a_watchdog_that_died_is_started_again(home: Path, redis_url: str) -> None:
    with serving(home, redis_url, watchdog=True) as server:
        (pid,) = subprocess.run(["pgrep", "-P", str(server.process.pid)], capture_output=True, text=True).stdout.split()
        os.kill(int(pid), signal.SIGKILL)
        server.call("job.submit", params="!!fake.return_success message:'again'", circle_id="c")
        assert server.call("job.wait", "c/default/1", 60)["result"] == "again"
    assert "the WatchDog ended by itself (exit code -9)" in (home / "serve.log").read_text()


def test_a_killed_server_takes_its_watchdog_along(home: Path, redis_url: str) -> None:
    with serving(home, redis_url, watchdog=True) as server:
        children = subprocess.run(
            ["pgrep", "-P", str(server.process.pid)], capture_output=True, text=True
        ).stdout.split()
        assert children
        server.process.kill()
        server.process.wait()
        until(lambda: not any(_runs(int(pid)) for pid in children))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
