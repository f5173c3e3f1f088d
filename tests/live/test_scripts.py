"""What each script does, call by call; the clock is passed in where time matters."""

from __future__ import annotations

from typing import Any

import pytest

from herojobs.errors import RedisUnavailable
from herojobs.live import calls
from herojobs.live.events import decode_events
from herojobs.live.redis import BlockingRedis, run_sync
from herojobs.names import Queue
from live.driver import Driver

Q = Queue.of("c", "t")
T0 = 1_800_000_000_000
LEASE = 10_000
Redis = Driver[BlockingRedis]


def job(id: int, text: str = "") -> bytes:
    return b'{"jobid":%d,"params":"%s"}' % (id, text.encode())


def submit(redis: Redis, *ids: int, due: int = 0, priority: int = 0) -> calls.Submitted:
    return redis.run(calls.submit(Q, [(id, job(id), due, priority) for id in ids], now=T0))


def claim(redis: Redis, n: int = 10, token: str = "a", now: int = T0) -> list[int]:
    return [each.number for each in redis.run(calls.claim(Q, n, LEASE, token, now=now)).jobs]


def finish(redis: Redis, id: int, token: str = "a", ttl: int = 100) -> bool:
    return redis.run(calls.finish(Q, [(id, token, job(id, "done"), "done")], ttl, now=T0))[0]


def field(redis: Redis, id: int | str, name: str) -> Any:
    return redis.command("HGET", f"herojobs:c:t:{id}", name)


def events_of(redis: Redis, *todo: Any) -> list[tuple[int | str, str]]:
    async def listen() -> list[tuple[int | str, str]]:
        async with redis.redis.subscribed("heroevents:c:t") as subscription:
            for call in todo:
                await redis.redis.run(call)
            told = []
            while (message := await subscription.next(0.02)) is not None:
                told += [(event.id, event.event) for event in decode_events(message.encode())]
            return told

    return run_sync(listen())


def test_first_in_first_out_and_higher_priorities_first(redis: Redis) -> None:
    submit(redis, 1, 2, 3)
    submit(redis, 4, 5, priority=3)
    submit(redis, 6, priority=9)
    assert claim(redis, 2) == [6, 4]
    assert claim(redis, 10, "b") == [5, 1, 2, 3]


def test_scheduled_jobs_wait_for_their_time(redis: Redis) -> None:
    submit(redis, 1, due=T0 + 5000)
    answer = redis.run(calls.claim(Q, 10, LEASE, "a", now=T0))
    assert (answer.jobs, answer.next_due) == ([], T0 + 5000)
    assert claim(redis, now=T0 + 5000) == [1]


def test_hundreds_and_thousands_at_once(redis: Redis) -> None:
    submit(redis, *range(1, 5001))
    taken = claim(redis, 7000)
    assert taken == list(range(1, 5001))
    assert redis.run(calls.start(Q, "a", [(i, job(i)) for i in taken])) == ([], [])
    assert redis.run(calls.extend(Q, LEASE, [(i, "a") for i in taken], now=T0)) == ([], [], [])
    assert all(redis.run(calls.finish(Q, [(i, "a", job(i), "done") for i in taken], 10)))
    assert redis.run(calls.counts(Q)).total == 0


def test_submission_repeated_or_in_another_s_place(redis: Redis) -> None:
    submit(redis, 1)
    assert submit(redis, 1, 2) == calls.Submitted([1], [])
    redis.command("HSET", "herojobs:c:t:3", "job", "foreign")
    assert submit(redis, 3).existing == [calls.Existing(3, b"foreign", b"")]
    assert claim(redis) == [1, 2]


def test_many_leases_are_kept_where_each_is_found_at_once(redis: Redis) -> None:
    submit(redis, *range(1, 31))
    assert len(claim(redis, 30)) == 30
    assert redis.command("OBJECT", "ENCODING", "herolease:c:t") == b"skiplist"
    assert redis.command("ZRANGE", "herolease:c:t", 0, -1) == sorted(b"%d" % id for id in range(1, 31))


def test_a_lease_that_ran_out_brings_the_job_back_first(redis: Redis) -> None:
    submit(redis, 1, 2)
    assert claim(redis, 1) == [1]
    submit(redis, 3)
    redis.run(calls.start(Q, "a", [(1, job(1))]))
    answer = redis.run(calls.claim(Q, 1, LEASE, "b", now=T0 + LEASE + 1))
    assert [(each.number, each.at) for each in answer.jobs] == [(1, 2)]
    assert not finish(redis, 1, "a"), "the late one is refused"
    assert field(redis, 1, "job") == job(1)
    assert finish(redis, 1, "b")


def test_only_what_was_begun_is_charged_with_a_lost_lease(redis: Redis) -> None:
    submit(redis, 1, 2)
    now, charged = T0, []
    for round_ in range(12):
        answer = redis.run(calls.claim(Q, 2, LEASE, f"t{round_}", now=now))
        charged.append({each.number: each.at for each in answer.jobs})
        redis.run(calls.start(Q, f"t{round_}", [(1, job(1))], now=now))
        now += LEASE + 1
    assert [each[1] for each in charged] == list(range(1, 13))
    assert [each[2] for each in charged] == [1] * 10 + [2] * 2, "one in ten: it might be what ends its WatchDogs"


def test_a_late_extension_takes_up_its_lease_unless_another_has_it(redis: Redis) -> None:
    submit(redis, 1, 2)
    claim(redis, 2)
    redis.run(calls.claim(Q, 0, LEASE, "x", now=T0 + LEASE + 1))  # both go back
    assert claim(redis, 1, "b", T0 + LEASE + 2) == [1]
    answer = redis.run(calls.extend(Q, LEASE, [(1, "a"), (2, "a"), (9, "a")], now=T0 + LEASE + 3))
    assert answer == calls.Extended(lost=[1], cancelled=[], missing=[9])
    assert redis.run(calls.counts(Q)) == (0, 0, 0, 2, 0)


def test_finish_leaves_nothing_but_the_hash(redis: Redis) -> None:
    submit(redis, 1, 2, 3)
    claim(redis)
    assert finish(redis, 1, ttl=100)
    assert finish(redis, 2, ttl=0)
    assert finish(redis, 3, ttl=-1)
    assert redis.command("TTL", "herojobs:c:t:1") in (99, 100)
    assert redis.command("TTL", "herojobs:c:t:2") == -1
    assert redis.command("EXISTS", "herojobs:c:t:3") == 0
    assert redis.run(calls.counts(Q)).total == 0
    assert not finish(redis, 1), "once only"


def test_put_back_goes_to_the_head_and_can_spare_the_attempt(redis: Redis) -> None:
    submit(redis, 1, 2, 3)
    claim(redis, 2)
    back = [(3, "a", b""), (2, "a", b""), (1, "a", job(1, "x"))]
    assert redis.run(calls.put_back(Q, back, count_attempt=False)) == [False, True, True]
    answer = redis.run(calls.claim(Q, 10, LEASE, "b", now=T0))
    assert [(each.number, each.at) for each in answer.jobs] == [(1, 1), (2, 1), (3, 1)]
    assert field(redis, 1, "job") == job(1, "x")
    assert redis.run(calls.put_back(Q, [calls.Back(3, "b", b"", 500)], count_attempt=True, now=T0)) == [True]
    assert claim(redis, now=T0 + 499) == []
    assert redis.run(calls.claim(Q, 10, LEASE, "c", now=T0 + 500)).jobs[0].at == 2


def test_cancel_in_every_state(redis: Redis) -> None:
    submit(redis, 1)
    submit(redis, 2, priority=2)
    submit(redis, 3, due=2**42)
    submit(redis, 4)
    gone = b'{"status":"error"}'
    for id in (1, 2, 3):
        assert redis.run(calls.cancel(Q, id, gone, 50)) == "removed"
        assert (field(redis, id, "job"), field(redis, id, "st")) == (gone, b"error")
        assert redis.command("TTL", f"herojobs:c:t:{id}") in (49, 50)
        assert redis.run(calls.cancel(Q, id, gone, 50)) == "over"
    assert claim(redis) == [4]
    assert redis.run(calls.cancel(Q, 4, gone, 50)) == "running"
    assert redis.run(calls.start(Q, "a", [(4, job(4))])).cancelled == [4]
    assert redis.run(calls.extend(Q, LEASE, [(4, "a")])).cancelled == [4]
    finish(redis, 4)
    assert redis.run(calls.cancel(Q, 4, gone, 50)) == "over"
    assert redis.run(calls.cancel(Q, 99, gone, 50)) == "missing"
    assert redis.run(calls.counts(Q)).total == 0


def test_a_cancel_request_reaches_the_next_who_claims(redis: Redis) -> None:
    submit(redis, 1)
    claim(redis)
    redis.run(calls.cancel(Q, 1, b"{}", 50))
    (again,) = redis.run(calls.claim(Q, 1, LEASE, "b", now=T0 + LEASE)).jobs
    assert again.cx == b"1"


def test_retry_starts_afresh(redis: Redis) -> None:
    submit(redis, 1, priority=5)
    claim(redis)
    redis.run(calls.cancel(Q, 1, b"{}", 50))
    finish(redis, 1)
    assert redis.run(calls.retry(Q, 1, job(1, "again"), 0)) == "queued"
    assert redis.run(calls.retry(Q, 1, job(1, "again"), 0)) == "queued"
    assert redis.run(calls.counts(Q)).total == 1, "once, though it waited already"
    assert redis.command("TTL", "herojobs:c:t:1") == -1
    (again,) = redis.run(calls.claim(Q, 1, LEASE, "b", now=T0)).jobs
    assert (again.at, again.cx, again.is_ours) == (1, None, True)
    assert field(redis, 1, "st") == b"new"
    finish(redis, 1, "b")
    redis.command("DEL", "herojobs:c:t:1")
    assert redis.run(calls.retry(Q, 1, job(1), 7)) == "queued", "its hash had expired"
    assert redis.run(calls.counts(Q)).priority == 1


def test_retry_before_redis_was_told_the_end_wins_over_the_late_word(redis: Redis) -> None:
    submit(redis, 1)
    claim(redis)
    assert redis.run(calls.retry(Q, 1, job(1, "again"), 0)) == "queued"
    assert not finish(redis, 1, "a")
    assert claim(redis, token="b") == [1]


def test_delete(redis: Redis) -> None:
    submit(redis, 1)
    submit(redis, 2, due=2**42)
    submit(redis, 3)
    assert redis.run(calls.delete(Q, 1)) == "deleted"
    assert redis.run(calls.delete(Q, 2)) == "deleted"
    claim(redis)
    assert redis.run(calls.delete(Q, 3)) == "running"
    finish(redis, 3)
    assert redis.run(calls.delete(Q, 3)) == "deleted"
    assert redis.run(calls.delete(Q, 3)) == "missing"
    assert redis.command("KEYS", "hero[jlq]*") == []


def test_empty_takes_all_that_waits_and_nothing_else(redis: Redis) -> None:
    submit(redis, 1)
    claim(redis)
    submit(redis, 2, 3)
    submit(redis, 4, priority=1)
    submit(redis, 5, due=2**42)
    redis.command("HSET", "herojobs:c:t:77", "job", "foreign")
    redis.command("RPUSH", "heroqueue:c:t", "77", "1", "no-hash")  # 1 is leased: pushed twice
    assert redis.run(calls.empty(Q, 2)) == calls.Emptied([2, 3], [])
    assert redis.run(calls.empty(Q, 10)) == calls.Emptied([4, 5], [77, b"no-hash"])
    assert redis.run(calls.empty(Q, 10)) == calls.Emptied([], [])
    assert redis.command("KEYS", "herojobs:*") == [b"herojobs:c:t:1"]
    assert finish(redis, 1)


def requeue(redis: Redis, *entries: tuple[int, int, int]) -> calls.Requeued:
    wanted = [calls.Requeue(id, job(id), 2, due, priority) for id, due, priority in entries]
    return redis.run(calls.requeue(Q, wanted, now=T0))


def test_requeue_after_a_wipe(redis: Redis) -> None:
    assert requeue(redis, (1, 0, 0), (2, 0, 4), (3, T0 + 9, 0)) == ([1, 2, 3], [])
    assert redis.run(calls.counts(Q)) == (1, 1, 1, 0, 0)
    assert requeue(redis, (1, 0, 0), (2, 0, 4), (3, T0 + 9, 0)) == ([], []), "repeated"
    (first, *_) = redis.run(calls.claim(Q, 1, LEASE, "a", now=T0)).jobs
    assert (first.number, first.at) == (2, 3), "attempts go on counting"
    assert requeue(redis, (2, 0, 4)) == ([], []), "leased"
    finish(redis, 2)
    assert requeue(redis, (2, 0, 4)) == ([], [(2, job(2, "done"))]), "over"
    assert redis.command("SISMEMBER", "herotopics", "c:t") == 1


def test_requeue_of_a_job_whose_hash_is_there_but_whose_id_is_gone(redis: Redis) -> None:
    submit(redis, 1)
    redis.command("RPOP", "heroqueue:c:t")  # a foreign consumer took it
    assert requeue(redis, (1, 0, 0)) == ([1], [])


def test_requeue_beside_a_foreign_job_of_the_same_id(redis: Redis) -> None:
    redis.command("HSET", "herojobs:c:t:5", "job", "foreign")
    redis.command("RPUSH", "heroqueue:c:t", "5")
    assert requeue(redis, (5, 0, 0)) == ([5], [])
    assert requeue(redis, (5, 0, 0)) == ([], [])
    foreign, ours = redis.run(calls.claim(Q, 9, LEASE, "a", now=T0)).jobs
    assert (foreign.number, foreign.is_ours, foreign.db_id) == (5, False, 5)
    assert (ours.number, ours.is_ours, ours.db_id) == (4294967290, True, 5)
    redis.run(calls.finish(Q, [(4294967290, "a", b"ended", "done")], 10))
    assert requeue(redis, (5, 0, 0)) == ([], [(5, b"ended")])


def test_restore_after_a_wipe(redis: Redis) -> None:
    submit(redis, 1, 2, 3, 4)
    claim(redis)
    redis.command("FLUSHALL")
    assert redis.run(calls.extend(Q, LEASE, [(1, "a")])).missing == [1]
    requeue(redis, (2, 0, 0), (3, 0, 0), (4, 0, 0))  # reconciliation was faster
    assert claim(redis, 1, "b") == [2]
    redis.run(calls.cancel(Q, 4, b"{}", 10))
    entries = [(id, "a", job(id), 1, True) for id in (1, 2, 3, 4)]
    assert redis.run(calls.restore(Q, LEASE, entries, now=T0)) == [True, False, True, False]
    assert redis.run(calls.restore(Q, LEASE, entries, now=T0)) == [True, False, True, False], "repeated"
    assert redis.run(calls.counts(Q)) == (0, 0, 0, 3, 0)
    assert finish(redis, 1)
    assert finish(redis, 3)


def test_adopt_and_bury_need_the_claim(redis: Redis) -> None:
    redis.command("HSET", "herojobs:c:t:0", "job", "foreign", "cx", "1", "at", "7")
    redis.command("EXPIRE", "herojobs:c:t:0", 9)
    redis.command("RPUSH", "heroqueue:c:t", "0", "lost")
    claim(redis)
    assert not redis.run(calls.adopt(Q, "z", 0, job(0), 12))
    assert redis.run(calls.adopt(Q, "a", 0, job(0), 12))
    assert (field(redis, 0, "db"), field(redis, 0, "at"), field(redis, 0, "cx")) == (b"12", b"1", None)
    assert redis.command("TTL", "herojobs:c:t:0") == -1
    redis.run(calls.bury(Q, b"lost", "z", b'"why"'))
    assert redis.command("LLEN", "herodead:c:t") == 0
    redis.run(calls.bury(Q, b"lost", "a", b'{"problem":"no hash"}'))
    (dead,) = redis.command("LRANGE", "herodead:c:t", 0, -1)
    assert b'"id":"lost"' in dead
    assert b'"reason":{"problem":"no hash"}' in dead
    assert redis.command("EXISTS", "herojobs:c:t:lost") == 0
    assert redis.run(calls.counts(Q)).leased == 1


def test_events_tell_every_change(redis: Redis) -> None:
    told = events_of(
        redis,
        calls.submit(Q, [(1, job(1), 0, 0), (2, job(2), 2**42, 0)]),
        calls.claim(Q, 1, LEASE, "a"),
        calls.start(Q, "a", [(1, job(1))]),
        calls.cancel(Q, 1, b"{}", 1),
        calls.finish(Q, [(1, "a", job(1), "error")], 10),
        calls.retry(Q, 1, job(1), 0),
        calls.delete(Q, 1),
        calls.empty(Q, 10),
    )
    assert told == [
        (1, "submitted"),
        (2, "scheduled"),
        (1, "started"),
        (1, "cancel"),
        (1, "error"),
        (1, "retried"),
        (1, "deleted"),
        (2, "removed"),
    ]


def test_wake_lists_stay_short_and_expire(redis: Redis) -> None:
    for id in range(1, 20):
        submit(redis, id)
    assert redis.command("LLEN", "herowake:c:t") == 4
    assert 0 < redis.command("TTL", "herowake:c:t") <= 60


def test_a_token_must_be_shown(redis: Redis) -> None:
    with pytest.raises(ValueError, match="token is empty"):
        calls.finish(Q, [(1, "", b"{}", "done")], 1)


def test_at_maxmemory_submissions_are_refused_whole_and_running_jobs_can_end(redis: Redis) -> None:
    submit(redis, *range(1, 50))
    assert len(claim(redis, 20)) == 20
    redis.command("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(RedisUnavailable, match="has reached its maxmemory"):
            submit(redis, 100)
        assert redis.command("EXISTS", "herojobs:c:t:100") == 0
        assert all(finish(redis, id) for id in range(1, 21))
        assert len(claim(redis, 5)) == 5
    finally:
        redis.command("CONFIG", "SET", "maxmemory", "0")
