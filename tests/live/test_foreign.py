"""The original's commands (Redis layout, A3), sent by hand beside ours: what Go producers and consumers do and see."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from herojobs.errors import InvalidJob, JobNotFound
from herojobs.job import Job, JobStatus, decode_foreign, encode
from herojobs.live import calls
from herojobs.live.original import Original, Queued
from herojobs.live.redis import BlockingRedis
from herojobs.names import Queue
from live.driver import Driver

Redis = Driver[BlockingRedis]
LEASE = 60_000
ORIGINAL_FIELDS = Job.__struct_encode_fields__[:14]
GO = (
    b'{"jobid":%d,"sessionkey":"s","circleid":"myCircle","topic":"myTopic",'
    b'"params":"a \\u003c b \\u0026\\u0026 c\\u2028",'
    b'"params_type":"%s","timeout":30,"status":"new","time_scheduled":1700000000,"time_start":0,"time_end":0,'
    b'"error":"","result":"","log":false}'
)


def go_enqueue(redis: Redis, queue: Queue, id: int | str, data: bytes) -> None:
    """StoreJob and EnqueueJob, as the original sends them."""
    redis.command("HSET", f"herojobs:{queue.key}:{id}", "job", data)
    redis.command("HSET", f"herojobs:{queue.key}:{id}", "job", data)
    redis.command("RPUSH", f"heroqueue:{queue.key}", id)


def claim(redis: Redis, queue: Queue, n: int = 10) -> calls.Claim:
    return redis.run(calls.claim(queue, n, LEASE, "w"))


@pytest.mark.parametrize("kind", [b"heroscript", b"rhaiscript", b"openrpc", b"ai"])
def test_what_go_pushes_runs_and_go_sees_its_states(redis: Redis, queue: Queue, kind: bytes) -> None:
    go_enqueue(redis, queue, 3, GO % (3, kind))
    (claimed,) = claim(redis, queue).jobs
    assert (claimed.number, claimed.is_ours, claimed.at) == (3, False, 1)
    job = decode_foreign(claimed.job or b"")
    assert job.params == "a < b && c\u2028"
    assert job.params_type == kind.decode()
    assert redis.run(calls.adopt(queue, "w", 3, encode(job), 3))
    for status, send in states(queue, job):
        job.status = status
        redis.run(send(encode(job)))
        seen = json.loads(redis.command("HGET", f"herojobs:{queue.key}:3", "job"))  # GetJob("circle:topic:3")
        assert seen["status"] == status
        assert list(seen)[:14] == list(ORIGINAL_FIELDS)
        assert all(isinstance(seen[name], int) for name in ("jobid", "timeout", "time_scheduled", "time_end"))


def states(queue: Queue, job: Job) -> list[tuple[str, Callable[[bytes], Any]]]:
    return [
        ("active", lambda data: calls.start(queue, "w", [(job.job_id, data)])),
        ("done", lambda data: calls.finish(queue, [(job.job_id, "w", data, "done")], 60)),
    ]


def test_an_id_pushed_twice_runs_once(redis: Redis, queue: Queue) -> None:
    go_enqueue(redis, queue, 1, GO % (1, b"ai"))
    redis.command("RPUSH", f"heroqueue:{queue.key}", 1, 1)
    first = claim(redis, queue)
    assert [len(first.jobs), first.waiting] == [1, 0]
    assert claim(redis, queue).jobs == []


def test_a_push_of_a_job_that_is_over_is_dropped_unless_it_was_written_anew(redis: Redis, queue: Queue) -> None:
    redis.run(calls.submit(queue, [(1, b'{"jobid":1}', 0, 0)]))
    claim(redis, queue)
    redis.run(calls.finish(queue, [(1, "w", b'{"jobid":1,"status":"done"}', "done")], 60))
    redis.command("RPUSH", f"heroqueue:{queue.key}", 1)
    answer = claim(redis, queue)
    assert (answer.jobs, answer.dropped) == ([], [b"1"])
    go_enqueue(redis, queue, 1, GO % (1, b"ai"))
    (again,) = claim(redis, queue).jobs
    assert not again.is_ours


def test_an_id_without_a_hash_is_leased_and_told(redis: Redis, queue: Queue) -> None:
    redis.command("RPUSH", f"heroqueue:{queue.key}", 8, "3f2a77aa-0000-4000-8000-000000000000")
    number, uuid = claim(redis, queue).jobs
    assert (number.job, number.number) == (None, 8)
    assert (uuid.job, uuid.number, uuid.id) == (None, 0, b"3f2a77aa-0000-4000-8000-000000000000")
    redis.run(calls.bury(queue, uuid.id, "w", b'"no job"'))
    redis.run(calls.put_back(queue, [(8, "w", b"")], count_attempt=False))
    assert claim(redis, queue).jobs[0].id == b"8"


def test_a_key_that_is_no_hash_is_buried(redis: Redis, queue: Queue) -> None:
    redis.command("SET", f"herojobs:{queue.key}:5", "text")
    redis.command("RPUSH", f"heroqueue:{queue.key}", 5, 6)
    assert [each.id for each in claim(redis, queue).jobs] == [b"6"]
    assert b"is no hash" in redis.command("LINDEX", f"herodead:{queue.key}", 0)


@pytest.mark.parametrize("end", range(0, len(GO), 7))
def test_json_that_is_cut_off_is_told_and_can_be_ended(redis: Redis, queue: Queue, end: int) -> None:
    data = (GO % (2, b"ai"))[:end]
    go_enqueue(redis, queue, 2, data)
    (claimed,) = claim(redis, queue).jobs
    assert claimed.job == data
    with pytest.raises(InvalidJob):
        decode_foreign(data)
    assert redis.run(calls.finish(queue, [(2, "w", b'{"jobid":2,"status":"error"}', "error")], 60)) == [True]
    assert redis.run(calls.counts(queue)).total == 0


@pytest.mark.parametrize("id", [0, 1, 4_000_000_000, 4_294_967_295])
def test_ids_at_the_edges(redis: Redis, queue: Queue, id: int) -> None:
    go_enqueue(redis, queue, id, GO % (id, b"ai"))
    (claimed,) = claim(redis, queue).jobs
    assert claimed.number == id
    assert redis.run(calls.adopt(queue, "w", id, GO % (id, b"ai"), 7))
    assert redis.run(calls.extend(queue, LEASE, [(id, "w")])) == ([], [], [])
    redis.run(calls.put_back(queue, [(id, "w", b"")], count_attempt=True))
    (again,) = claim(redis, queue).jobs
    assert (again.number, again.db_id, again.is_ours) == (id, 7, True)
    assert redis.run(calls.cancel(queue, id, b"{}", 60)) == "running"
    assert redis.run(calls.finish(queue, [(id, "w", b"{}", "done")], 60)) == [True]


@pytest.mark.parametrize("id", ["007", "4294967296", "-1", "1.5", " 1", "99999999999999999999", "x\n\xff"])
def test_ids_that_are_no_numbers_go_through_everything(redis: Redis, queue: Queue, id: str) -> None:
    go_enqueue(redis, queue, id, GO % (1, b"ai"))
    (claimed,) = claim(redis, queue).jobs
    assert (claimed.number, claimed.id) == (0, id.encode())
    redis.run(calls.start(queue, "w", [(claimed.id, b"{}")]))
    assert redis.run(calls.finish(queue, [(claimed.id, "w", b"{}", "done")], 60)) == [True]


def test_a_go_consumer_finds_what_ours_submits(redis: Redis, queue: Queue) -> None:
    mine = Job(job_id=9, circle_id="myCircle", topic="myTopic", params="p", priority=0)
    redis.run(calls.submit(queue, [(9, encode(mine), 0, 0)]))
    keys = redis.command("KEYS", "heroqueue:*:*")
    assert keys == [b"heroqueue:mycircle:mytopic"]
    assert redis.command("RPOP", keys[0]) == b"9"
    seen = json.loads(redis.command("HGET", "herojobs:mycircle:mytopic:9", "job"))
    assert list(seen) == list(ORIGINAL_FIELDS), "nothing additive while it has its default"


def test_a_go_watchdog_never_finds_a_key_that_it_cannot_read(redis: Redis, queue: Queue) -> None:
    redis.run(calls.submit(queue, [(i, b'{"jobid":%d}' % i, 2**42 * (i % 4 == 0), i % 3) for i in range(1, 40)]))
    claim(redis, queue, 5)
    redis.run(calls.cancel(queue, 30, b"{}", 60))
    for key in redis.command("KEYS", "heroqueue:*"):
        assert key.count(b":") == 2
        assert redis.command("TYPE", key) == b"list"
    for key in redis.command("KEYS", "herojobs:*"):
        assert redis.command("TYPE", key) == b"hash"
        assert redis.command("HGET", key, "job")


def test_the_original_s_operations(redis: Redis, queue: Queue) -> None:
    original = Original(redis.redis)
    one, two = (
        Job(job_id=id, circle_id="myCircle", topic="myTopic", params=f"p{id}", params_type="ai") for id in (1, 2)
    )
    redis.do(original.enqueue(one))
    redis.do(original.enqueue(two))
    assert redis.do(original.size(queue)) == 2
    assert (
        redis.do(original.list())
        == redis.do(original.list("mycircle", "mytopic"))
        == [Queued(queue, 1), Queued(queue, 2)]
    )
    assert redis.do(original.list("other")) == []
    assert redis.do(original.peek(queue)) == two
    assert redis.do(original.fetch(queue)) == two, "the newest first, as the original"
    assert redis.do(original.update_status(queue, 2, JobStatus.ACTIVE)).time_start
    ended = redis.do(original.update_result(queue, 2, "r"))
    assert (ended.status, ended.result) == ("done", "r")
    assert redis.do(original.get(queue, 2)) == ended
    assert redis.do(original.update_error(queue, 2, "e")).error == "e"
    assert redis.do(original.delete(queue, 2))
    with pytest.raises(JobNotFound, match="mycircle/mytopic/2"):
        redis.do(original.get(queue, 2))
    assert redis.do(original.empty(queue)) == 1
    assert redis.do(original.fetch(queue)) is None
    assert redis.do(original.peek(queue)) is None
    assert redis.command("KEYS", "*") == []
    redis.command("RPUSH", f"heroqueue:{queue.key}", 5)
    with pytest.raises(JobNotFound):
        redis.do(original.fetch(queue))
