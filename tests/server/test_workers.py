"""Workers in other languages: leases, tokens, ends, and the example in JavaScript as a real process."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from herojobs import HeroJobs, WatchDog
from herojobs.names import queue_name_fix
from server.running import Running

EXAMPLE = Path(__file__).parents[2] / "examples" / "worker_in_node.mjs"


@pytest.fixture
def hero(server: Running) -> Iterator[HeroJobs]:
    with HeroJobs(home=server.home, redis_url=server.redis_url) as client:
        yield client


def submit(server: Running, circle: str, number: int = 1, **fields: Any) -> None:
    job = {"params": "{}", "circle_id": circle, "topic": "t"} | fields
    server.call("job.submit_many", [job] * number)


def test_jobs_are_claimed_extended_and_finished(server: Running, hero: HeroJobs, circle: str) -> None:
    submit(server, circle, 3)
    first, second = server.call("worker.claim", [f"{circle}/t"], 2, 5)
    assert (first["ref"], second["ref"]) == (f"{circle}/t/1", f"{circle}/t/2")
    assert (first["job"]["status"], first["job"]["attempts"], first["timeout"]) == ("active", 1, 60)
    assert hero.get(f"{circle}/t/1").status == "active"
    assert server.call("queue.stats", circle, "t")["active"] == 2
    leases = [{"ref": each["ref"], "token": each["token"]} for each in (first, second)]
    assert server.call("worker.extend", leases, 5) == {
        "extended": [f"{circle}/t/1", f"{circle}/t/2"],
        "lost": [],
        "cancelled": [],
    }
    results = [leases[0] | {"result": "42"}, leases[1] | {"error": "no such thing"}]
    assert server.call("worker.finish", results) == [True, True]
    assert (hero.get(f"{circle}/t/1").result, hero.get(f"{circle}/t/2").error) == ("42", "no such thing")
    assert [job.status for job in hero.history(f"{circle}/t/1")] == ["new", "active", "done"]
    assert hero.get(f"{circle}/t/2").reason == "failed"
    assert server.call("worker.finish", results) == [False, False], "an end counts once"
    assert server.call("queue.stats", circle, "t") | {"oldest": 0} == {
        "circle_id": circle, "topic": "t", "waiting": 1, "scheduled": 0, "active": 0, "paused": False, "oldest": 0,
    }  # fmt: skip


@pytest.mark.parametrize("what", ["topic", "circle", "key"])
def test_limits_hold_for_workers_that_call(server: Running, hero: HeroJobs, circle: str, what: str) -> None:
    circle = queue_name_fix(circle)
    name = circle if what == "circle" else f"{circle}/t"
    hero.set_limit(name, **{"key_jobs" if what == "key" else "jobs": 2})
    submit(server, circle, 5, limit_key="k")
    queues = [f"{circle}/t"]
    first = server.call("worker.claim", queues, 4, 5)
    assert [each["ref"] for each in first] == [f"{circle}/t/1", f"{circle}/t/2"]
    assert server.call("worker.claim", queues, 4, 5) == []
    held = {"ref": first[1]["ref"], "token": first[1]["token"]}
    assert server.call("worker.extend", [held], 5)["extended"] == [held["ref"]]
    assert server.call("worker.finish", [held | {"result": "x"}]) == [True]
    assert [each["ref"] for each in server.call("worker.claim", queues, 4, 5)] == [f"{circle}/t/3"]
    hero.remove_limit(name)


def test_a_wrong_token_changes_nothing(server: Running, hero: HeroJobs, circle: str) -> None:
    submit(server, circle)
    (claimed,) = server.call("worker.claim", [f"{circle}/t"], 1)
    forged = {"ref": f"{circle}/t/1", "token": claimed["token"] + "0"}
    assert server.call("worker.extend", [forged])["lost"] == [f"{circle}/t/1"]
    assert server.call("worker.finish", [forged | {"result": "x"}]) == [False]
    assert server.call("worker.finish", [{"ref": f"{circle}/t/77", "token": "x", "result": "x"}]) == [False]
    assert server.call("worker.extend", [{"ref": f"{circle}/t/77", "token": "x"}])["lost"] == [f"{circle}/t/77"]
    assert hero.get(f"{circle}/t/1").status == "active"


def test_a_lease_that_ran_out_goes_back_and_its_late_end_doesnt_count(
    server: Running, hero: HeroJobs, circle: str
) -> None:
    submit(server, circle)
    (old,) = server.call("worker.claim", [f"{circle}/t"], 1, 1)
    (new,) = server.call("worker.claim", [f"{circle}/t"], 1, 5, 10)  # waits for it
    assert new["ref"] == old["ref"]
    assert new["job"]["attempts"] == 2
    assert server.call("worker.finish", [{"ref": f"{circle}/t/1", "token": old["token"], "result": "late"}]) == [False]
    assert server.call("worker.finish", [{"ref": f"{circle}/t/1", "token": new["token"], "result": "mine"}]) == [True]
    assert hero.get(f"{circle}/t/1").result == "mine"


def test_a_claim_waits_for_a_job(server: Running, circle: str) -> None:
    timer = threading.Timer(0.3, submit, [server, circle])
    timer.start()
    began = time.monotonic()
    (claimed,) = server.call("worker.claim", queues=[f"{circle}/other", f"{circle}/t"], n=5, wait=60)
    assert claimed["ref"] == f"{circle}/t/1"
    assert time.monotonic() - began < 50
    timer.join()
    assert server.call("worker.claim", queues=[f"{circle}/t"], wait=0.05) == []


def test_a_cancelled_job_is_told_and_ends_as_cancelled(server: Running, hero: HeroJobs, circle: str) -> None:
    submit(server, circle)
    (claimed,) = server.call("worker.claim", [f"{circle}/t"])
    lease = {"ref": f"{circle}/t/1", "token": claimed["token"]}
    assert server.call("job.cancel", f"{circle}/t/1")["status"] == "active"
    assert server.call("worker.extend", [lease])["cancelled"] == [f"{circle}/t/1"]
    assert server.call("worker.finish", [lease | {"error": "stopped"}]) == [True]
    assert hero.get(f"{circle}/t/1").reason == "cancelled"


def test_a_job_that_overran_its_timeout_ends_so_whatever_its_worker_says(
    server: Running, hero: HeroJobs, circle: str
) -> None:
    submit(server, circle, 2, timeout=1)
    claimed = server.call("worker.claim", [f"{circle}/t"], 2, 30)
    leases = [{"ref": each["ref"], "token": each["token"]} for each in claimed]
    time.sleep(1.6)  # the timeout and the grace period
    assert server.call("worker.extend", leases[:1])["lost"] == [f"{circle}/t/1"]
    assert server.call("worker.finish", [leases[1] | {"result": "late"}]) == [True]
    assert [hero.get(f"{circle}/t/{n}").reason for n in (1, 2)] == ["timeout", "timeout"]


def test_paused_queues_are_left_alone_and_failures_are_retried(server: Running, hero: HeroJobs, circle: str) -> None:
    submit(server, circle, retries=1, retry_delay=0.0)
    hero.pause(circle, "t")
    assert server.call("worker.claim", [f"{circle}/t"]) == []
    hero.resume(circle, "t")
    (claimed,) = server.call("worker.claim", [f"{circle}/t"])
    assert server.call("worker.finish", [{"ref": f"{circle}/t/1", "token": claimed["token"], "error": "once"}]) == [
        True
    ]
    assert hero.get(f"{circle}/t/1").reason == "retrying"
    (claimed,) = server.call("worker.claim", queues=[f"{circle}/t"], wait=10)
    assert server.call("worker.finish", [{"ref": f"{circle}/t/1", "token": claimed["token"], "result": "twice"}]) == [
        True
    ]
    assert hero.get(f"{circle}/t/1").status == "done"


def test_a_watchdog_and_such_workers_share_a_queue(server: Running, hero: HeroJobs, circle: str) -> None:
    submit(server, circle, 40, params="!!fake.return_success message:'by a WatchDog'", params_type="heroscript")
    mine = server.call("worker.claim", [f"{circle}/t"], 10)
    with WatchDog(home=server.home, redis_url=server.redis_url, workers=1, circles=[circle]):
        results = [{"ref": each["ref"], "token": each["token"], "result": "by another"} for each in mine]
        assert server.call("worker.finish", results) == [True] * 10
        jobs = [hero.wait(f"{circle}/t/{n}", timeout=60) for n in range(1, 41)]
    assert [job.status for job in jobs] == ["done"] * 40
    assert sum(job.result == "by another" for job in jobs) == 10


def test_the_worker_in_javascript_takes_part(server: Running, hero: HeroJobs, circle: str) -> None:
    assert shutil.which("node"), "this test needs node"
    with subprocess.Popen(["node", EXAMPLE, server.url, "sums/node"], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        try:
            assert worker.stdout.readline() == "ready\n"
            jobs = [
                hero.submit(json.dumps(params), circle_id="sums", topic="node")
                for params in ({"op": "add", "args": [2, 3]}, {"op": "none"}, {"op": "wait", "args": [60]})
            ]
            assert hero.wait(jobs[0], timeout=60).result == "5"
            assert hero.wait(jobs[1], timeout=60).error == "no operation none"
            while hero.get(jobs[2]).status == "new":
                time.sleep(0.02)
            hero.cancel(jobs[2])
            assert hero.wait(jobs[2], timeout=60).reason == "cancelled"
        finally:
            worker.terminate()
    assert worker.wait() == 0
