"""The methods, over HTTP, on a real server: jobs, queues, sessions, system, and the names of older programs."""

from __future__ import annotations

import time
from typing import Any

import pytest

from herojobs.jsonrpc import encode_batch, encode_request, read_answers
from herojobs.server.methods import METHODS
from server.running import Running

HELLO = "!!fake.return_success message:'hello'"
LATER = 4_102_444_800


def test_a_job_is_submitted_run_and_waited_for(working: Running) -> None:
    job = working.call("job.submit", HELLO, "heroscript", "demo", "mail", 10)
    assert (job["jobid"], job["circleid"], job["topic"], job["status"]) == (1, "demo", "mail", "new")
    done = working.call("job.wait", ref="demo/mail/1", timeout=60)
    assert (done["status"], done["result"], done["reason"]) == ("done", "hello", "done")
    assert working.call("job.get", "demo/mail/1") == done
    assert [each["status"] for each in working.call("job.history", "demo/mail/1")][-1] == "done"
    retried = working.call("job.retry", "demo/mail/1")
    assert retried["status"] == "new"
    assert working.call("job.wait", "demo/mail/1")["attempts"] == 1


def test_the_log_of_a_job_comes_in_pieces_and_as_a_stream(working: Running) -> None:
    script = "!!good.speak"
    job = working.call("job.submit", params=script, circle_id="logs", log=True)
    ref = f"logs/default/{job['jobid']}"
    working.call("job.wait", ref)
    with working.client.stream("GET", f"/jobs/{ref}/log") as response:
        assert response.status_code == 200
        text = "".join(response.iter_text())
    assert "printed\n" in text
    part = working.call("job.log", ref)
    assert part["text"] == text
    assert working.call("job.log", ref, part["next"]) == {"text": "", "next": part["next"]}
    assert working.client.get("/jobs/logs/default/99/log").status_code == 404
    assert working.client.get("/jobs/logs/default/x/log").status_code == 400


def test_a_running_jobs_output_is_followed_live(working: Running) -> None:
    job = working.call("job.submit", params="!!good.speak\n!!fake.sleep seconds:60", circle_id="live", log=True)
    ref = f"live/default/{job['jobid']}"
    with working.client.stream("GET", f"/jobs/{ref}/log") as response:
        texts = response.iter_text()
        seen = ""
        while "echoed" not in seen:
            seen += next(texts)
        assert working.call("job.get", ref)["status"] == "active"
        working.call("job.cancel", ref)
        for text in texts:  # it ends with the job
            seen += text
    assert "printed" in seen
    assert working.call("job.wait", ref)["reason"] == "cancelled"


def test_many_jobs_are_submitted_all_or_none(server: Running, circle: str) -> None:
    jobs = [{"params": HELLO, "circle_id": circle, "tags": [str(n)]} for n in range(5)]
    assert [job["jobid"] for job in server.call("job.submit_many", jobs)] == [1, 2, 3, 4, 5]
    error = server.error("job.submit_many", [*jobs, {"params": HELLO, "circle_id": circle, "priority": 10}])
    assert error.code == -32602
    assert "priority 10: out of range" in error.message
    assert server.call("queue.size", circle, "default") == 5
    page = server.call("job.list", circle_id=circle, limit=3)
    assert [job["jobid"] for job in page["jobs"]] == [5, 4, 3]
    rest = server.call("job.list", circle_id=circle, limit=3, cursor=page["cursor"])
    assert [job["jobid"] for job in rest["jobs"]] == [2, 1]
    assert [job["jobid"] for job in server.call("job.list", circle_id=circle, tag="3")["jobs"]] == [4]


def test_pages_of_large_jobs_are_shorter(server: Running, circle: str) -> None:
    large = "!!fake.echo content:'" + "x" * 3_000_000 + "'"
    for _ in range(4):
        server.call("job.submit_many", [{"params": large, "circle_id": circle}] * 2)
    server.call("job.submit_many", [{"params": HELLO, "circle_id": circle}] * 30)
    page = server.call("job.list", circle_id=circle, limit=1000)
    ids = [job["jobid"] for job in page["jobs"]]
    while page["cursor"]:
        page = server.call("job.list", circle_id=circle, limit=1000, cursor=page["cursor"])
        ids += [job["jobid"] for job in page["jobs"]]
    assert ids == list(range(38, 0, -1))
    assert len(server.call("job.list", circle_id=circle, limit=7)["jobs"]) == 7


def test_jobs_are_cancelled_and_deleted(server: Running, circle: str) -> None:
    server.call("job.submit", params=HELLO, circle_id=circle, run_at=LATER)
    ref = f"{circle}/default/1"
    assert server.call("queue.stats", circle, "default")["scheduled"] == 1
    assert server.call("job.cancel", ref)["reason"] == "cancelled"
    assert server.error("job.cancel", ref).code == 1002
    assert server.call("job.delete", guid=ref) is True
    error = server.error("job.get", ref)
    assert (error.code, error.data) == (1001, {"ref": ref})


def test_a_wait_that_is_too_short_says_so(server: Running, circle: str) -> None:
    server.call("job.submit", params=HELLO, circle_id=circle)
    error = server.error("job.wait", f"{circle}/default/1", 0.05)
    assert error.code == 1006
    assert "is new after" in error.message


def test_queues_are_listed_and_emptied(server: Running, circle: str) -> None:
    before = time.time() * 1000
    server.call("job.submit_many", [{"params": HELLO, "circle_id": circle}, {"params": HELLO, "circle_id": circle}])
    (queue,) = server.call("queue.list", circle)
    assert queue["oldest"] == pytest.approx(before, abs=60_000)
    assert queue | {"oldest": 0} == {
        "circle_id": circle, "topic": "default", "waiting": 2, "scheduled": 0, "active": 0, "paused": False,
        "oldest": 0,
    }  # fmt: skip
    assert circle in server.call("circle.list")
    assert server.call("queue.empty", circle, "default") == 2
    assert server.call("queue.size", circle, "default") == 0
    assert server.call("job.get", f"{circle}/default/1")["reason"] == "removed"


def test_a_queue_is_paused_and_resumed(server: Running, circle: str) -> None:
    assert server.call("queue.pause", circle, "default")["paused"] is True
    assert server.call("queue.stats", circle, "default")["paused"] is True
    assert server.call("queue.stats", circle, "other")["paused"] is False
    assert server.call("queue.resume", circle, "default")["paused"] is False


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"params": ""}, "params"),
        ({"params": HELLO, "circle_id": "???"}, "circle_id"),
        ({"params": HELLO, "topic": ".."}, "topic"),
        ({"params": HELLO, "params_type": "heroscrip"}, "params_type"),
        ({"params": HELLO, "timeout": -1}, "timeout"),
        ({"params": HELLO, "timeout": "5"}, "timeout"),
        ({"params": HELLO, "max_attempts": 0}, "max_attempts"),
        ({"params": HELLO, "tags": [1]}, "tags[0]"),
        ({}, "params"),
        ({"params": HELLO, "circle": "x"}, "circle"),
    ],
)
def test_what_is_wrong_with_a_submission_is_told(server: Running, params: dict[str, Any], field: str) -> None:
    error = server.error("job.submit", **params) if params else server.error("job.submit")
    assert error.code == -32602
    assert isinstance(error.data, dict)
    assert error.data["field"] == field


@pytest.mark.parametrize("ref", ["", "x", "a/b", "a/b/0", "a/b/x", "a/b/-1", "../b/1", "a/b/99999999999"])
def test_what_is_no_reference_is_told(server: Running, ref: str) -> None:
    assert server.error("job.get", ref).code == -32602


def test_submissions_that_come_together_are_each_answered_for_itself(server: Running, circle: str) -> None:
    calls = [
        encode_request("job.submit", {"params": HELLO if n % 10 else " ", "circle_id": circle}, n) for n in range(100)
    ]
    answers, _ = read_answers(server.post(encode_batch(calls)).content)
    assert [answer.id for answer in answers] == list(range(100))
    assert [answer.error is None for answer in answers] == [bool(n % 10) for n in range(100)]
    ids = {answer.value()["jobid"] for answer in answers if answer.error is None}
    assert ids == set(range(1, 91))


def test_a_batch_runs_concurrently(server: Running, circle: str) -> None:
    server.call("job.submit", params=HELLO, circle_id=circle)
    call = encode_request("job.wait", [f"{circle}/default/1", 1.5], 1)
    began = time.monotonic()
    answers, _ = read_answers(server.post(encode_batch([call] * 50)).content)
    assert {answer.error.code for answer in answers if answer.error} == {1006}
    assert time.monotonic() - began < 60, "one after another they take 75 s"


def test_names_of_older_programs(server: Running, circle: str) -> None:
    job = server.call("job.new")
    job |= {"params": HELLO, "circleid": circle, "time_scheduled": LATER}
    stored = server.call("job.set", job)
    assert stored["jobid"] == 1
    assert server.call("job.set", stored | {"params": HELLO + " # changed"})["params"].endswith("changed")
    assert server.call("job.get", guid=f"{circle}/default/1")["params"].endswith("changed")
    assert server.call("job.update_status", f"{circle}/default/1", "error")["status"] == "error"
    assert server.error("job.update_status", f"{circle}/default/1", "ok").code == 1002
    assert server.error("job.update_status", f"{circle}/default/1", "gone").code == -32602
    assert server.error("job.set", stored).code == 1002
    assert server.call("job.update_status", f"{circle}/default/1", "created")["status"] == "new"


def test_without_sessions_this_machine_may_do_everything(server: Running) -> None:
    assert server.call("session.get")["role"] == "admin"
    assert server.call("session.open", "")["name"] == "local"
    assert server.error("session.open", "hjs_none").code == 1004
    assert server.call("session.list") == []
    assert server.call("session.close") is True


def test_the_state_of_the_server(working: Running, server: Running) -> None:
    assert working.call("system.health")["ok"] is True
    assert working.call("system.info")["redis"] == "ok"
    health = server.call("system.health")
    assert health["ok"] is False
    assert health["checks"]["watchdog"] == "no WatchDog runs: herojobs watchdog"


def test_services(server: Running) -> None:
    assert server.call("service.list")[0]["name"] == "herojobs"
    assert server.call("service.get", "herojobs")["document"]["openrpc"] == "1.2.6"
    assert server.error("service.get", "herojob").data["hint"] == "did you mean 'herojobs'?"  # type: ignore[index]
    table = {"url": "unix:/nowhere", "timeout": 1}
    added = server.call("service.set", "gone", table)
    assert (added["url"], added["origin"], added["settings"]["timeout"]) == ("unix:/nowhere", "added", 1)
    assert [each["name"] for each in server.call("service.list")] == ["herojobs", "gone"]
    assert server.call("service.get", "gone")["document"] is None
    assert "/nowhere" in server.call("service.get", "gone")["note"]
    error = server.error("service.refresh", "gone")
    assert (error.code, "/nowhere: No such file or directory" in error.message) == (2001, True)
    assert "did you mean 'url'" in server.error("service.set", "bad", {"urk": "x"}).message
    assert server.call("service.remove", "gone") is True
    assert server.error("service.remove", "gone").code == -32602
    assert server.error("service.remove", "herojobs").code == -32602


def test_every_method_says_its_role() -> None:
    assert {method.name for method in METHODS if method.role is None} == {"rpc.discover", "session.open"}


def test_a_services_address_is_shown_without_its_secrets(server: Running) -> None:
    url = "http://127.0.0.1:1/x?token=secret"
    server.call("service.set", name="guarded", service={"url": url, "document": "none"})
    shown = [each["url"] for each in server.call("service.list") if each["name"] == "guarded"]
    assert shown == ["http://127.0.0.1:1/x?***"]
    assert server.call("service.get", "guarded")["url"] == shown[0]
    server.call("service.remove", "guarded")
