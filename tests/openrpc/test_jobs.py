"""Jobs that call a service in another process, run by a real WatchDog."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from herojobs import HeroJobs, InlineWatchDog, Job, WatchDog
from herojobs.openrpc import Services
from herojobs.service_settings import Service
from openrpc.conftest import Peer

Submit = Callable[..., Job]
WAYS = ("http", "ws", "unix", "line")


METHODS = ("support.rpc_methods",)


@pytest.fixture
def hero(tmp_path: Path, redis_url: str, peer: Peer) -> Iterator[HeroJobs]:
    """A client, and a WatchDog that knows the service over every transport."""
    services = {way: {"url": peer.url(way)} for way in WAYS} | {"hang": {"url": peer.url("http", "hang")}}
    given = {"home": tmp_path, "redis_url": redis_url, "services": services, "openrpc_methods": METHODS}
    with HeroJobs(**given) as hero, WatchDog(**given, workers=1):
        yield hero


def submit(hero: HeroJobs, request: object, timeout: int = 20) -> Job:
    return hero.submit(json.dumps(request), params_type="openrpc", circle_id="c", timeout=timeout, log=True)


def test_jobs_call_over_every_transport(hero: HeroJobs) -> None:
    jobs = [submit(hero, {"method": f"{way}:pets.get", "params": [1]}) for way in WAYS for _ in range(10)]
    for job in jobs:
        done = hero.wait(job, 60)
        assert (done.status, done.error, json.loads(done.result)) == ("done", "", {"id": 1, "name": "Tom"})
    assert hero.log(jobs[0]).startswith("http pets.get, attempt 1: 200, ")
    over_two = hero.wait(submit(hero, [{"method": "http:pets.list"}, {"method": "ws:pets.get"}]), 60)
    assert over_two.error.startswith(
        "1 of 2 calls are wrong, none was sent; call 2, pets.get: -32602 Invalid params: id"
    )
    assert over_two.error_detail["service"] == "ws"
    both = hero.wait(submit(hero, [{"method": "ws:pets.get", "params": [1]}, {"method": "http:pets.list"}]), 60)
    assert [type(answer["result"]) for answer in json.loads(both.result)] == [dict, list]


def test_a_hanging_service_ends_with_the_jobs_timeout_or_cancel(hero: HeroJobs, peer: Peer) -> None:
    hanging = {"method": "hang:pets.list"}
    late, cancelled = submit(hero, hanging, 1), submit(hero, hanging)
    in_time = submit(hero, {"service": "hang", "request": {"method": "pets.list"}, "timeout": 0.5, "retries": 0})
    done = hero.wait(in_time, 60)
    assert (done.reason, done.error_detail["code"]) == ("failed", 2002)
    assert hero.wait(late, 60).reason == "timeout"
    hero.cancel(cancelled)
    assert hero.wait(cancelled, 60).reason == "cancelled"


def test_plain_functions_and_services_in_one_job_run_in_an_exclusive_worker(hero: HeroJobs) -> None:
    plain = {"method": "math.add", "params": [1, 2]}
    done = hero.wait(submit(hero, [plain, {"method": "ws:pets.get", "params": [1]}]), 60)
    assert [answer["result"] for answer in json.loads(done.result)] == [3, {"id": 1, "name": "Tom"}]
    late = hero.wait(submit(hero, [plain, {"method": "hang:pets.list"}], 1), 60)
    assert (late.reason, late.error) == ("timeout", "timed out after 1 s")  # it stopped when asked
    again = hero.wait(submit(hero, [plain, {"method": "ws:pets.get", "params": [1]}]), 60)
    assert again.status == "done"


def test_a_service_added_at_run_time_is_there_at_once(hero: HeroJobs, peer: Peer, tmp_path: Path) -> None:
    request = {"method": "new:pets.get", "params": [1]}
    assert hero.wait(submit(hero, request), 60).error_detail["code"] == 2004
    Services(hero.settings).set("new", Service(url=peer.url("http")))
    assert hero.wait(submit(hero, request), 60).status == "done"


def test_an_inline_watchdog_keeps_and_closes_connections(tmp_path: Path, redis_url: str, peer: Peer) -> None:
    given = {"home": tmp_path, "redis_url": redis_url, "services": {"ws": {"url": peer.url("ws")}}}
    before = peer.looked()[1].get("ws-connections", 0)
    with HeroJobs(**given) as hero, InlineWatchDog(**given) as watchdog:
        jobs = [submit(hero, {"method": "ws:pets.get", "params": [1]}) for _ in range(3)]
        assert watchdog.run_pending() == 3
        assert {hero.get(job).status for job in jobs} == {"done"}
    assert peer.looked()[1]["ws-connections"] == before + 1
