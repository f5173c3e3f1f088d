"""Data that no WatchDog expects: it is told and put aside, and everything else goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis as redis_py

from herojobs import HeroJobs, WatchDog
from herojobs.names import Queue
from herojobs.ourdb import OurDB
from herojobs.settings import load
from herojobs.store import JobStore
from waiting import until

Start = Callable[..., WatchDog]
Q = Queue("gocircle", "gotopic")
KEY = "herojobs:gocircle:gotopic:"


@pytest.fixture
def plain(redis_url: str) -> Iterator[Any]:
    """A foreign program's connection."""
    with redis_py.Redis.from_url(redis_url) as connection:
        yield connection


def push(plain: Any, id: int, data: bytes) -> None:
    plain.hset(f"{KEY}{id}", "job", data)
    plain.rpush("heroqueue:gocircle:gotopic", id)


def go(**fields: Any) -> bytes:
    job = {"jobid": 1, "circleid": "goCircle", "topic": "goTopic", "params": "!!core.echo content:x"}
    return json.dumps(job | {"params_type": "heroscript", "timeout": 5} | fields).encode()


def state(plain: Any, id: int) -> dict[str, Any]:
    """Return the job that a foreign consumer reads, once it is over."""

    def read() -> Any:
        try:
            job = json.loads(plain.hget(f"{KEY}{id}", "job") or "{}")
        except (ValueError, RecursionError):
            return None
        return job if job.get("status") in ("done", "error") else None

    found: dict[str, Any] = until(read)
    return found


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b'{"params":' + b"[" * 200_000, "can't be read"),
        (go(params="x" * 20_000_000), "bytes"),
        (go(params="y")[:-1] + b', "z": "\\ud800"}', "can't be read"),
        (go(params="\udcff").replace(b"\\udcff", b"\xff"), "can't be read"),
    ],
    ids=["nested", "huge", "surrogate", "not utf-8"],
)
def test_a_foreign_job_that_cannot_be_kept_ends_and_stops_nothing(
    hero: HeroJobs, start: Start, plain: Any, data: bytes, told: str
) -> None:
    start()
    push(plain, 1, data)
    push(plain, 2, go(jobid=2))
    assert hero.wait(hero.submit("!!core.echo content:fine", circle_id="other"), 60).result == "fine"
    assert state(plain, 2)["result"] == "x"
    ended = state(plain, 1)
    assert ended["status"] == "error"
    assert told in ended["error"]


@pytest.mark.parametrize(
    "record", [b"not json", b'{"jobid":1,"params":5}', b"[" * 100_000, b'{"jobid":1,"status":"new"}']
)
@pytest.mark.parametrize("has_hash", [False, True])
def test_a_record_in_ourdb_that_is_no_job_stops_nothing(
    given: dict[str, Any], hero: HeroJobs, start: Start, plain: Any, record: bytes, has_hash: bool
) -> None:
    """Another program may write what it likes to a database."""
    store = JobStore(load({}, home=given["home"]))
    with OurDB(store.path(Q)) as db:
        assert db.add(record) == 1
    store.close()
    if has_hash:
        push(plain, 1, go())
    else:
        plain.rpush("heroqueue:gocircle:gotopic", 1)
    push(plain, 2, go(jobid=2))
    start(reconcile_interval=0.2)
    assert state(plain, 2)["result"] == "x"
    assert (
        hero.wait(hero.submit("!!core.echo content:fine", circle_id="gocircle", topic="gotopic"), 60).result == "fine"
    )
    if has_hash:
        assert state(plain, 1)["result"] == "x"


@pytest.mark.parametrize("name", ["heroqueue", "herolease", "herolater", "heroprio", "herowake"])
def test_a_key_of_a_wrong_type_stops_its_own_queue_alone(hero: HeroJobs, start: Start, plain: Any, name: str) -> None:
    hero.submit("!!core.echo", circle_id="gocircle", topic="gotopic")
    plain.delete("herowake:gocircle:gotopic")
    plain.delete("heroqueue:gocircle:gotopic")
    plain.set(f"{name}:gocircle:gotopic", "text")
    start()
    for n in range(5):
        assert hero.wait(hero.submit(f"!!core.echo content:{n}", circle_id="fine"), 60).result == str(n)


def test_a_job_whose_key_becomes_no_hash_while_it_runs_ends_in_ourdb(hero: HeroJobs, start: Start, plain: Any) -> None:
    start()
    job = hero.submit("!!fake.spin seconds:0.5", circle_id="gocircle", topic="gotopic")
    until(lambda: hero.get(job).status == "active")
    plain.delete(f"{KEY}1")
    plain.set(f"{KEY}1", "text")
    assert hero.wait(job, 60).status == "done"
    assert hero.wait(hero.submit("!!core.echo content:fine", circle_id="other"), 60).result == "fine"


def test_what_is_claimed_along_with_a_refused_call_starts_at_once(hero: HeroJobs, start: Start, plain: Any) -> None:
    """Long before a lease would bring it back: its claim was done in the exchange that was refused in part."""
    running = hero.submit("!!fake.spin seconds:1", circle_id="busy")
    fine = [hero.submit("!!core.echo", circle_id=circle) for circle in ("a", "b", "c") for _ in range(5)]
    hero.submit("!!core.echo", circle_id="gocircle", topic="gotopic")
    plain.delete("heroprio:gocircle:gotopic")
    plain.set("heroprio:gocircle:gotopic", "text")
    start(lease=60, workers=4)
    for job in [running, *fine]:
        done = hero.wait(job, 60)
        assert (done.status, done.attempts) == ("done", 1)
