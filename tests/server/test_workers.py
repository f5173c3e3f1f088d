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
from server.running import Running, serving

EXAMPLE = Path(__file__).parents[2] / "examples" / "worker_in_node.mjs"


@pytest.fixture
def hero(home: Path, redis_url: str) -> Iterator[HeroJobs]:
    with HeroJobs(home=home, redis_url=redis_url) as client:
        yield client


@pytest.fixture
def api(home: Path, redis_url: str) -> Iterator[Running]:
    with serving(home, redis_url) as running:
        yield running


def submit(server: Running, number: int = 1, **fields: Any) -> None:
    job = {"params": "{}", "circle_id": "c", "topic": "t"} | fields
    server.call("job.submit_many", [job] * number)


def test_jobs_are_claimed_extended_and_finished(api: Running, hero: HeroJobs) -> None:
    submit(api, 3)
    first, second = api.call("worker.claim", ["c/t"], 2, 5)
    assert (first["ref"], second["ref"]) == ("c/t/1", "c/t/2")
    assert (first["job"]["status"], first["job"]["attempts"], first["timeout"]) == ("active", 1, 60)
    assert hero.get("c/t/1").status == "active"
    assert api.call("queue.stats", "c", "t")["active"] == 2
    leases = [{"ref": each["ref"], "token": each["token"]} for each in (first, second)]
    assert api.call("worker.extend", leases, 5) == {"extended": ["c/t/1", "c/t/2"], "lost": [], "cancelled": []}
    results = [leases[0] | {"result": "42"}, leases[1] | {"error": "no such thing"}]
    assert api.call("worker.finish", results) == [True, True]
    assert (hero.get("c/t/1").result, hero.get("c/t/2").error) == ("42", "no such thing")
    assert [job.status for job in hero.history("c/t/1")] == ["new", "active", "done"]
    assert hero.get("c/t/2").reason == "failed"
    assert api.call("worker.finish", results) == [False, False], "an end counts once"
    assert api.call("queue.stats", "c", "t") | {"oldest": 0} == {
        "circle_id": "c", "topic": "t", "waiting": 1, "scheduled": 0, "active": 0, "paused": False, "oldest": 0,
    }  # fmt: skip


def test_a_wrong_token_changes_nothing(api: Running, hero: HeroJobs) -> None:
    submit(api)
    (claimed,) = api.call("worker.claim", ["c/t"], 1)
    forged = {"ref": "c/t/1", "token": claimed["token"] + "0"}
    assert api.call("worker.extend", [forged])["lost"] == ["c/t/1"]
    assert api.call("worker.finish", [forged | {"result": "x"}]) == [False]
    assert api.call("worker.finish", [{"ref": "c/t/77", "token": "x", "result": "x"}]) == [False]
    assert api.call("worker.extend", [{"ref": "c/t/77", "token": "x"}])["lost"] == ["c/t/77"]
    assert hero.get("c/t/1").status == "active"


def test_a_lease_that_ran_out_goes_back_and_its_late_end_doesnt_count(api: Running, hero: HeroJobs) -> None:
    submit(api)
    (old,) = api.call("worker.claim", ["c/t"], 1, 1)
    (new,) = api.call("worker.claim", ["c/t"], 1, 5, 10)  # waits for it
    assert new["ref"] == old["ref"]
    assert new["job"]["attempts"] == 2
    assert api.call("worker.finish", [{"ref": "c/t/1", "token": old["token"], "result": "late"}]) == [False]
    assert api.call("worker.finish", [{"ref": "c/t/1", "token": new["token"], "result": "mine"}]) == [True]
    assert hero.get("c/t/1").result == "mine"


def test_a_claim_waits_for_a_job(api: Running) -> None:
    timer = threading.Timer(0.3, submit, [api])
    timer.start()
    began = time.monotonic()
    (claimed,) = api.call("worker.claim", queues=["c/other", "c/t"], n=5, wait=10)
    assert claimed["ref"] == "c/t/1"
    assert time.monotonic() - began < 5
    timer.join()
    assert api.call("worker.claim", queues=["c/t"], wait=0.05) == []


def test_a_cancelled_job_is_told_and_ends_as_cancelled(api: Running, hero: HeroJobs) -> None:
    submit(api)
    (claimed,) = api.call("worker.claim", ["c/t"])
    lease = {"ref": "c/t/1", "token": claimed["token"]}
    assert api.call("job.cancel", "c/t/1")["status"] == "active"
    assert api.call("worker.extend", [lease])["cancelled"] == ["c/t/1"]
    assert api.call("worker.finish", [lease | {"error": "stopped"}]) == [True]
    assert hero.get("c/t/1").reason == "cancelled"


def test_a_job_that_overran_its_timeout_ends_so_whatever_its_worker_says(api: Running, hero: HeroJobs) -> None:
    submit(api, 2, timeout=1)
    claimed = api.call("worker.claim", ["c/t"], 2, 30)
    leases = [{"ref": each["ref"], "token": each["token"]} for each in claimed]
    time.sleep(1.6)  # the timeout and the grace period
    assert api.call("worker.extend", leases[:1])["lost"] == ["c/t/1"]
    assert api.call("worker.finish", [leases[1] | {"result": "late"}]) == [True]
    assert [hero.get(f"c/t/{n}").reason for n in (1, 2)] == ["timeout", "timeout"]


def test_paused_queues_are_left_alone_and_failures_are_retried(api: Running, hero: HeroJobs) -> None:
    submit(api, retries=1, retry_delay=0.0)
    hero.pause("c", "t")
    assert api.call("worker.claim", ["c/t"]) == []
    hero.resume("c", "t")
    (claimed,) = api.call("worker.claim", ["c/t"])
    assert api.call("worker.finish", [{"ref": "c/t/1", "token": claimed["token"], "error": "once"}]) == [True]
    assert hero.get("c/t/1").reason == "retrying"
    (claimed,) = api.call("worker.claim", queues=["c/t"], wait=10)
    assert api.call("worker.finish", [{"ref": "c/t/1", "token": claimed["token"], "result": "twice"}]) == [True]
    assert hero.get("c/t/1").status == "done"


def test_a_watchdog_and_such_workers_share_a_queue(api: Running, home: Path, redis_url: str, hero: HeroJobs) -> None:
    submit(api, 40, params="!!fake.return_success message:'by a WatchDog'", params_type="heroscript")
    mine = api.call("worker.claim", ["c/t"], 10)
    with WatchDog(home=home, redis_url=redis_url, workers=1):
        results = [{"ref": each["ref"], "token": each["token"], "result": "by another"} for each in mine]
        assert api.call("worker.finish", results) == [True] * 10
        jobs = [hero.wait(f"c/t/{n}", timeout=20) for n in range(1, 41)]
    assert [job.status for job in jobs] == ["done"] * 40
    assert sum(job.result == "by another" for job in jobs) == 10


def test_the_worker_in_javascript_takes_part(api: Running, hero: HeroJobs) -> None:
    assert shutil.which("node"), "this test needs node"
    with subprocess.Popen(["node", EXAMPLE, api.url, "sums/node"], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        try:
            assert worker.stdout.readline() == "ready\n"
            jobs = [
                hero.submit(json.dumps(params), circle_id="sums", topic="node")
                for params in ({"op": "add", "args": [2, 3]}, {"op": "none"}, {"op": "wait", "args": [60]})
            ]
            assert hero.wait(jobs[0], timeout=20).result == "5"
            assert hero.wait(jobs[1], timeout=20).error == "no operation none"
            while hero.get(jobs[2]).status == "new":
                time.sleep(0.02)
            hero.cancel(jobs[2])
            assert hero.wait(jobs[2], timeout=20).reason == "cancelled"
        finally:
            worker.terminate()
    assert worker.wait() == 0
