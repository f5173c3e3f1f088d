"""The way of a job under a WatchDog: order, fairness, foreign programs, recovery."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis as redis_py

from herojobs import HeroJobs, InlineWatchDog, Job, WatchDog
from herojobs.errors import HeroJobsError, WorkerError
from waiting import until

Start = Callable[..., WatchDog]


@pytest.fixture
def plain(redis_url: str) -> Any:
    """A foreign program's connection."""
    with redis_py.Redis.from_url(redis_url, decode_responses=True) as connection:
        yield connection


def foreign(**fields: Any) -> str:
    """Return a job's JSON as the original's producer writes it."""
    job = {
        "jobid": 1,
        "sessionkey": "",
        "circleid": "goCircle",
        "topic": "goTopic",
        "params": "!!core.echo content:'<b> & co'",
        "params_type": "heroscript",
        "timeout": 10,
        "status": "new",
        "time_scheduled": 1_700_000_000,
        "time_start": 0,
        "time_end": 0,
        "error": "",
        "result": "",
        "log": False,
    } | fields
    text = json.dumps(job, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def push(plain: Any, id: object, text: str | None) -> str:
    key = f"herojobs:gocircle:gotopic:{id}"
    if text is not None:
        plain.hset(key, "job", text)
    plain.rpush("heroqueue:gocircle:gotopic", str(id))
    return key


def ended(plain: Any, key: str) -> Any:
    """Return the job that a plain program reads, once it is over."""
    try:
        job = json.loads(plain.hget(key, "job") or "{}")
    except json.JSONDecodeError:  # what was pushed on purpose
        return None
    return job if job.get("status") in ("done", "error") else None


def outcome(plain: Any, id: object, text: str | None) -> Any:
    """Push a job and return how it ended."""
    key = push(plain, id, text)
    return until(lambda: ended(plain, key))


def test_a_job_goes_through_all_its_states(hero: HeroJobs, start: Start) -> None:
    job = hero.submit(
        "!!fake.return_success message:'This is a test job'", circle_id="myCircle", topic="myTopic", timeout=30
    )
    assert str(job.ref) == "mycircle/mytopic/1"
    start()
    done = hero.wait(job, 60)
    assert (done.status, done.result, done.error, done.reason) == ("done", "This is a test job", "", "done")
    assert (done.circle_id, done.topic) == ("myCircle", "myTopic")
    assert [version.status for version in hero.history(job)] == ["new", "active", "done"]
    assert done.created_ms <= done.started_ms <= done.ended_ms


def test_a_foreign_producer_is_served(hero: HeroJobs, start: Start, plain: Any) -> None:
    start()
    other = {"openrpc": {"params": "{}"}, "ai": {"params": '{"prompt": "hello", "model": "unheard-of"}'}}
    for kind, status in (("heroscript", "done"), ("openrpc", "error"), ("ai", "error")):
        job = outcome(plain, 5, foreign(jobid=5, params_type=kind, time_scheduled=len(kind), **other.get(kind, {})))
        assert (job["jobid"], job["status"]) == (5, status)
        assert list(job)[:14] == list(json.loads(foreign()))
        if status == "done":
            assert job["result"] == "<b> & co"
        plain.delete("herojobs:gocircle:gotopic:5")
    assert hero.get("gocircle/gotopic/5").result == "<b> & co"


def test_an_id_pushed_twice_runs_once(hero: HeroJobs, start: Start, plain: Any) -> None:
    push(plain, 1, foreign())
    key = push(plain, 1, foreign())
    start()
    until(lambda: ended(plain, key))
    plain.rpush("heroqueue:gocircle:gotopic", "1")
    until(lambda: not plain.llen("heroqueue:gocircle:gotopic"))
    assert hero.get("gocircle/gotopic/1").attempts == 1


@pytest.mark.parametrize(
    ("id", "text", "told"),
    [
        (7, None, "no program has stored"),
        ("zzz", None, "no program has stored"),
        ("zzz", "{", "unreadable"),
    ],
)
def test_an_id_that_leads_nowhere_is_buried_with_the_reason(
    hero: HeroJobs, start: Start, plain: Any, id: object, text: str | None, told: str
) -> None:
    start()
    push(plain, id, text)
    dead = until(lambda: plain.lrange("herodead:gocircle:gotopic", 0, -1))
    assert told in dead[0]


def test_unreadable_json_ends_with_the_reason(start: Start, plain: Any) -> None:
    start()
    for id, text in ((3, foreign(jobid=3)[:50]), (4, foreign(jobid=4, timeout="soon"))):
        job = outcome(plain, id, text)
        assert (job["status"], job["jobid"]) == ("error", id)
        assert "can't be read" in job["error"]


def test_foreign_ids_that_are_taken_or_out_of_range_get_one_of_ours(hero: HeroJobs, start: Start, plain: Any) -> None:
    mine = hero.submit("!!core.echo content:mine", circle_id="gocircle", topic="gotopic")
    start()
    assert hero.wait(mine, 60).result == "mine"
    for id in (1, 0, 4_000_000_000):
        job = outcome(plain, id, foreign(jobid=id))
        assert (job["jobid"], job["result"]) == (id, "<b> & co")
    assert hero.get(mine).result == "mine"
    assert {job.result for job in hero.list(circle_id="gocircle")} == {"mine", "<b> & co"}
    assert len(hero.list(circle_id="gocircle")) == 4


def test_a_job_under_another_key_can_be_acted_on(hero: HeroJobs, start: Start, plain: Any) -> None:
    start()
    outcome(plain, 0, foreign(jobid=0))
    (job,) = hero.list(circle_id="gocircle")
    assert (job.job_id, job.key) == (1, "0")
    assert hero.wait(hero.retry(job), 60).result == "<b> & co"
    assert json.loads(plain.hget("herojobs:gocircle:gotopic:0", "job"))["jobid"] == 0
    hero.delete(job)
    assert not plain.exists("herojobs:gocircle:gotopic:0")


def test_an_older_generations_job_is_found_under_its_key(start: Start, plain: Any) -> None:
    start()
    old = {"jobid": "3f2a-77", "circleid": "goCircle", "topic": "goTopic", "heroscript": "!!core.echo content:old"}
    plain.hset("herojobs:3f2a-77", "job", json.dumps(old))
    assert outcome(plain, "3f2a-77", None)["result"] == "old"


def test_higher_priorities_start_first_and_later_ones_wait(
    hero: HeroJobs, given: dict[str, Any], tmp_path: Any
) -> None:
    def mark(**fields: Any) -> None:
        hero.submit(f"!!good.mark file:'{tmp_path}/order'", **fields)

    mark()
    mark(priority=5)
    mark(priority=9)
    mark(priority=5)
    mark(at=int(time.time()) + 1000)
    with InlineWatchDog(**given) as inline:
        assert inline.run_pending() == 4
    assert [line.split()[0][-1] for line in (tmp_path / "order").read_text().splitlines()] == ["3", "2", "4", "1"]
    assert hero.queues()[0].scheduled == 1


def test_a_scheduled_job_starts_when_it_is_due(hero: HeroJobs, start: Start) -> None:
    start()
    due = int(time.time()) + 2
    done = hero.wait(hero.submit("!!core.echo", at=due), 60)
    assert due * 1000 <= done.started_ms < due * 1000 + 10_000


def test_a_job_of_another_circle_does_not_wait_for_a_full_queue(hero: HeroJobs, start: Start, tmp_path: Any) -> None:
    script = f"!!good.mark file:'{tmp_path}/order' seconds:0.03"
    hero.submit_many([Job(params=script, circle_id="big") for _ in range(200)])
    small = hero.submit(script, circle_id="small")
    watchdog = start()
    hero.wait(small, 60)
    order = [line.split("/")[0] for line in (tmp_path / "order").read_text().splitlines()]
    assert order.index("small") <= 6
    watchdog.stop()


def test_a_watchdog_may_serve_some_circles_only(hero: HeroJobs, start: Start) -> None:
    other = hero.submit("!!core.echo", circle_id="b")
    start(circles=["A"])
    hero.wait(hero.submit("!!core.echo", circle_id="a"), 60)
    assert hero.get(other).status == "new"


def test_two_watchdogs_share_the_work(hero: HeroJobs, start: Start, tmp_path: Any) -> None:
    start()
    start()
    jobs = hero.submit_many([Job(params=f"!!good.mark file:'{tmp_path}/marks'", circle_id="c") for _ in range(300)])
    for job in jobs:
        assert hero.wait(job, 60).attempts == 1
    assert len((tmp_path / "marks").read_text().splitlines()) == 300


def test_actors_that_do_not_import_stop_the_start(start: Start) -> None:
    with pytest.raises(WorkerError, match="no_such_module"):
        start(actors=["no_such_module"])


def test_scripts_may_name_only_the_actors_that_their_circle_has(hero: HeroJobs, start: Start) -> None:
    start(circle_actors={"narrow": ["core"]})
    assert hero.wait(hero.submit("!!core.echo content:x", circle_id="narrow"), 60).result == "x"
    assert "unknown actor" in hero.wait(hero.submit("!!good.speak", circle_id="narrow"), 60).error


def test_a_job_makes_and_looks_after_others_in_its_circle(hero: HeroJobs, start: Start) -> None:
    start(workers=2)
    made = hero.wait(hero.submit("!!job.create params:'!!core.echo content:child' topic:other", circle_id="c"), 60)
    child = hero.wait(made.result, 60)
    assert (child.result, child.parent) == ("child", str(made.ref))
    listed = hero.wait(hero.submit("!!job.list topic:other\n!!job.queue_size\n!!job.queue_get", circle_id="c"), 60)
    assert listed.result == f'["{made.result}"]\n0'
    refused = hero.wait(hero.submit("!!job.create params:'!!core.echo' circle:d", circle_id="c"), 60)
    assert "may not touch circle d" in refused.error


def test_a_wiped_redis_loses_nothing(hero: HeroJobs, start: Start, plain: Any, tmp_path: Any) -> None:
    running = hero.submit(f"!!good.mark file:'{tmp_path}/marks' seconds:2", circle_id="run")
    over = hero.submit("!!core.echo", circle_id="over")
    start(lease=1.5, reconcile_interval=0.3)
    hero.wait(over, 60)
    until(lambda: (tmp_path / "marks").exists())
    scheduled = hero.submit("!!core.echo content:later", circle_id="later", at=int(time.time()) + 4)
    waiting = hero.submit_many([Job(params="!!core.echo", circle_id="run") for _ in range(30)])
    plain.flushall()
    for job in [running, scheduled, *waiting]:
        assert hero.wait(job, 30).status == "done"
    assert hero.get(running).attempts == 1  # its WatchDog brought the lease back
    for job in [running, over, scheduled, *waiting]:
        ends = [version.status for version in hero.history(job) if version.is_over]
        assert ends == ["done"]


def test_a_redis_that_forgot_an_end_does_not_run_the_job_again(
    hero: HeroJobs, given: dict[str, Any], plain: Any, tmp_path: Any
) -> None:
    job = hero.submit(f"!!good.mark file:'{tmp_path}/marks'")
    key = "herojobs:default:default:1"
    before = plain.hgetall(key)
    with InlineWatchDog(**given) as inline:
        assert inline.run_pending() == 1
        plain.delete(key)  # Redis restarts from what it had saved a second ago
        plain.hset(key, mapping=before)
        plain.rpush("heroqueue:default:default", "1")
        assert inline.run_pending() == 0
    assert json.loads(plain.hget(key, "job"))["status"] == "done"
    assert len((tmp_path / "marks").read_text().splitlines()) == 1
    assert hero.get(job).status == "done"


def test_inline_jobs_run_in_this_process(hero: HeroJobs, given: dict[str, Any], tmp_path: Any) -> None:
    import os

    job = hero.submit(f"!!good.mark file:'{tmp_path}/marks'", log=True)
    bad = hero.submit("!!fake.return_error")
    asynchronous = hero.submit("!!fake.sleep seconds:0.01")
    with InlineWatchDog(**given) as inline:
        assert inline.run_pending() == 3
        assert inline.run_pending() == 0
    assert (tmp_path / "marks").read_text().split()[2] == str(os.getpid())
    assert hero.get(bad).reason == "failed"
    assert hero.get(asynchronous).status == hero.get(job).status == "done"


def test_a_watchdog_runs_once_at_a_time(start: Start) -> None:
    watchdog = start()
    with pytest.raises(HeroJobsError, match="runs already"):
        watchdog.start()


def test_one_old_program_may_read_the_legacy_key(hero: HeroJobs, start: Start, plain: Any) -> None:
    start(legacy_mirror="old/topic")
    hero.wait(hero.submit("!!core.echo content:x", circle_id="old", topic="topic"), 60)
    hero.wait(hero.submit("!!core.echo content:y", circle_id="new", topic="topic"), 60)
    assert json.loads(until(lambda: plain.hget("jobsmanager:1", "job")))["result"] == "x"
    assert plain.keys("jobsmanager:*") == ["jobsmanager:1"]


def test_our_job_moves_where_a_foreign_one_has_taken_its_key(hero: HeroJobs, start: Start, plain: Any) -> None:
    key = push(plain, 1, foreign())
    mine = hero.submit("!!core.echo content:mine", circle_id="gocircle", topic="gotopic")
    assert mine.job_id == 2
    start()
    assert until(lambda: ended(plain, key))["result"] == "<b> & co"
    assert hero.wait(mine, 60).result == "mine"


def test_a_redis_that_is_away_for_a_moment_only_delays(hero: HeroJobs, given: dict[str, Any], tmp_path: Any) -> None:
    from herojobs.live import embedded
    from live.servers import RedisServer

    server = RedisServer(embedded.find_program(), "--appendonly", "yes")
    given = given | {"redis_url": server.url, "workers": 1}
    try:
        with WatchDog(**given), HeroJobs(**given) as client:
            running = client.submit("!!fake.spin seconds:1.5")
            until(lambda: client.get(running).status == "active")
            server.kill()
            time.sleep(1)
            server.start()
            assert client.wait(running, 60).attempts == 1
            assert client.wait(client.submit("!!core.echo content:again"), 60).result == "again"
    finally:
        server.close()


def test_an_idle_watchdog_takes_over_a_lease_that_it_never_heard_of(hero: HeroJobs, start: Start, plain: Any) -> None:
    start()
    job = hero.submit("!!core.echo content:rescued", at=int(time.time()) + 10_000)
    hero.wait(hero.submit("!!core.echo"), 60)
    plain.zrem("herolater:default:default", job.job_id)  # as if a WatchDog had claimed it and was killed
    plain.zadd("herolease:default:default", {str(job.job_id): int(time.time() * 1000) + 300})
    assert hero.wait(job, 60).result == "rescued"
