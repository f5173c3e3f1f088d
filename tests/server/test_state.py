"""Health, metrics, TLS, proxies, limits of connections, and a Redis that goes away."""

from __future__ import annotations

import ssl
import subprocess
import threading
import time
from pathlib import Path

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from herojobs import HeroJobs
from herojobs.jsonrpc import RpcError, encode_request, read_answers
from herojobs.live import embedded
from herojobs.server.limits import Limiter
from herojobs.sessions import Sessions
from herojobs.settings import load
from live.servers import RedisServer
from server.running import Running, serving
from waiting import until

HELLO = "!!fake.return_success message:'hello'"
CALL = encode_request("session.get", None, 1)


def figures(server: Running, key: str = "") -> dict[str, float]:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    response = server.client.get("/metrics", headers=headers)
    assert response.status_code == 200
    lines = [line for line in response.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_health_says_what_is_missing(server: Running, working: Running) -> None:
    assert server.client.get("/healthz").text == "ok\n"
    response = server.client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["checks"]["watchdog"].startswith("no WatchDog runs")
    assert working.client.get("/readyz").status_code == 200


def test_metrics_count_jobs_by_what_became_of_them(working: Running) -> None:
    for script in (HELLO, HELLO, "!!fake.return_error"):
        job = working.call("job.submit", script, "heroscript", "counted")
        working.call("job.wait", f"counted/default/{job['jobid']}")
    working.call("job.submit", params=HELLO, circle_id="counted", run_at=4_102_444_800)
    queue = 'circle="counted",topic="default"'
    seen = figures(working)
    assert seen[f"herojobs_submitted_jobs_total{{{queue}}}"] == 4
    assert seen['herojobs_finished_jobs_total{circle="counted",kind="heroscript",outcome="done",topic="default"}'] == 2
    assert (
        seen['herojobs_finished_jobs_total{circle="counted",kind="heroscript",outcome="failed",topic="default"}'] == 1
    )
    assert seen['herojobs_run_seconds_count{circle="counted",kind="heroscript",topic="default"}'] == 3
    assert seen['herojobs_wait_seconds_count{circle="counted",kind="heroscript",topic="default"}'] == 3
    assert seen['herojobs_queue_jobs{circle="counted",state="scheduled",topic="default"}'] == 1
    assert seen[f"herojobs_ourdb_bytes{{{queue}}}"] > 0
    assert seen[f"herojobs_queue_paused{{{queue}}}"] == 0
    assert seen["herojobs_watchdogs"] == 1


def test_metrics_of_all_circles_are_for_those_who_have_all(home: Path, redis_url: str) -> None:
    sessions = Sessions(load(home=home, redis_url=redis_url))
    _, some = sessions.create("some", ["alpha"], "operator")
    _, every = sessions.create("every", ["*"], "viewer")
    sessions.close()
    with serving(home, redis_url) as server:
        assert server.client.get("/metrics").status_code == 401
        assert server.client.get("/metrics", headers={"authorization": f"Bearer {some}"}).status_code == 403
        assert "process_cpu_seconds_total" in figures(server, every)
        assert server.client.get("/healthz").status_code == 200


def test_a_redis_that_goes_away_is_told_and_comes_back(home: Path) -> None:
    redis = RedisServer(embedded.find_program())
    try:
        with serving(home, redis.url) as server:
            server.call("job.submit", params=HELLO, circle_id="c")
            redis.kill()
            error = server.error("job.submit", params=HELLO, circle_id="c")
            assert (error.code, error.data) == (1007, {"retry_after": 1})
            assert server.call("job.get", "c/default/1")["status"] == "new"  # OurDB has it
            response = server.client.get("/readyz")
            assert response.status_code == 503
            assert "no server is listening there" in response.json()["checks"]["redis"]
            assert server.client.get("/metrics").status_code == 200
            redis.start()
            assert server.call("job.submit", params=HELLO, circle_id="c")["jobid"] == 2
    finally:
        redis.close()


def test_what_was_acknowledged_survives_a_kill(home: Path, redis_url: str) -> None:
    acknowledged: set[int] = set()
    with serving(home, redis_url) as server:

        def submit() -> None:
            with httpx2.Client(base_url=server.url, timeout=90, trust_env=False) as client:
                body = encode_request("job.submit", {"params": HELLO, "circle_id": "k"}, 1)
                try:
                    while True:
                        response = client.post("/rpc", content=body, headers={"content-type": "application/json"})
                        acknowledged.add(read_answers(response.content)[0][0].value()["jobid"])
                except httpx2.HTTPError:
                    return

        threads = [threading.Thread(target=submit) for _ in range(4)]
        for thread in threads:
            thread.start()
        while len(acknowledged) < 100:
            time.sleep(0.005)
        server.process.kill()
        for thread in threads:
            thread.join()
    with HeroJobs(home=home, redis_url=redis_url) as hero:
        assert all(hero.get(f"k/default/{number}").status == "new" for number in acknowledged)


def test_connections_over_the_limit_are_told(home: Path, redis_url: str) -> None:
    with serving(home, redis_url, HEROJOBS_SERVER_CONNECTIONS="5") as server:
        clients = [httpx2.Client(base_url=server.url, trust_env=False) for _ in range(8)]
        codes = [client.get("/healthz").status_code for client in clients]
        for client in clients:
            client.close()
        assert codes[:3] == [200] * 3
        assert codes[-1] == 503
        until(lambda: server.client.get("/healthz").status_code == 200)


def test_tls(home: Path, redis_url: str, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )  # fmt: skip
    arguments = ["--host", "0.0.0.0", "--tls-cert", str(cert), "--tls-key", str(key)]
    with serving(home, redis_url, *arguments) as server:
        assert server.url.startswith("https://0.0.0.0:")
        address = server.url.replace("0.0.0.0", "127.0.0.1")
        with httpx2.Client(verify=ssl.create_default_context(cafile=cert), trust_env=False) as client:
            response = client.post(f"{address}/rpc", content=CALL, headers={"content-type": "application/json"})
        assert read_answers(response.content)[0][0].value()["name"] == "local"


def test_behind_a_proxy_nobody_is_local(home: Path, redis_url: str) -> None:
    sessions = Sessions(load(home=home, redis_url=redis_url))
    with serving(home, redis_url, "--behind-proxy") as server:
        assert server.error("session.get").code == 1004
        forwarded = {"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "https", "host": "jobs.example"}
        response = server.post(CALL, **forwarded)
        assert b"1004" in response.content
        _, key = sessions.create("boss", role="admin")
        document = server.post(encode_request("rpc.discover", None, 1), key, **forwarded).json()["result"]
        assert document["servers"][0]["url"] == "https://jobs.example/rpc"
    sessions.close()


def test_a_worker_that_went_away_while_it_waited_takes_no_job(server: Running, circle: str) -> None:
    with httpx2.Client(base_url=server.url, timeout=0.5, trust_env=False) as client:
        body = encode_request("worker.claim", {"queues": [f"{circle}/default"], "wait": 30}, 1)
        with pytest.raises(httpx2.ReadTimeout):
            client.post("/rpc", content=body, headers={"content-type": "application/json"})
    server.call("job.submit", params=HELLO, circle_id=circle)
    time.sleep(0.3)  # whoever still listened would have taken it by now
    assert server.call("queue.stats", circle, "default")["waiting"] == 1


def test_who_went_away_while_it_waited_costs_nothing_more(home: Path, redis_url: str) -> None:
    with serving(home, redis_url, HEROJOBS_SERVER_CONNECTIONS="6") as server:
        server.call("job.submit", params=HELLO, circle_id="c")
        body = encode_request("job.wait", ["c/default/1", 60], 1)
        for _ in range(6):
            with (
                httpx2.Client(base_url=server.url, timeout=0.1, trust_env=False) as client,
                pytest.raises(httpx2.ReadTimeout),
            ):
                client.post("/rpc", content=body, headers={"content-type": "application/json"})
        until(
            lambda: (
                server.client.post("/rpc", content=CALL, headers={"content-type": "application/json"}).status_code
                != 503
            )
        )


@given(st.lists(st.tuples(st.integers(1, 30), st.floats(0, 2)), max_size=60))
def test_a_limiter_never_lets_more_through_than_rate_and_burst(calls: list[tuple[int, float]]) -> None:
    now = 0.0
    limiter = Limiter(10, 20, clock=lambda: now)
    passed: list[tuple[float, int]] = []
    waits: list[float] = []
    for number, pause in calls:
        now += pause
        try:
            limiter.take("a", number)
        except RpcError as e:
            waits.append(e.data["retry_after"])  # type: ignore[index]
        else:
            passed.append((now, number))
    assert all(0 < wait <= 5.1 for wait in waits)
    for start in range(len(passed)):
        for end in range(start, len(passed)):
            seconds = passed[end][0] - passed[start][0]
            assert sum(number for _, number in passed[start : end + 1]) <= 20 + 10 * seconds + 30


def test_sessions_have_limits_of_their_own() -> None:
    limiter = Limiter(1, 1, clock=lambda: 0.0)
    limiter.take("a", 1)
    limiter.take("b", 1)
    with pytest.raises(RpcError):
        limiter.take("a", 1)
