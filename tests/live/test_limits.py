"""Limits in the scripts: never one job more, whatever the order of calls; the clock is passed in."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from herojobs.limits import Bound
from herojobs.live import calls
from herojobs.live.limits import enter_keys, free_slots, keep_slots, leave_keys, slot, take_slots
from herojobs.live.redis import BlockingRedis
from herojobs.names import Queue
from live.driver import Driver

Q = Queue.of("c", "t")
T0 = 1_800_000_000_000
LEASE = 10_000
Redis = Driver[BlockingRedis]
FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def submit(redis: Redis, count: int) -> None:
    redis.run(calls.submit(Q, [(id, b'{"jobid":%d}' % id, 0, 0) for id in range(1, count + 1)], now=T0))


def claim(redis: Redis, n: int, bound: Bound, token: str = "a", now: int = T0, lease: int = LEASE) -> calls.Claim:
    return redis.run(calls.claim(Q, n, lease, token, bound, now=now))


def test_so_many_at_once_and_no_more(redis: Redis) -> None:
    submit(redis, 10)
    two = Bound(2, 0, 0)
    first = claim(redis, 5, two)
    assert ([each.number for each in first.jobs], first.waiting) == ([1, 2], 0), "full: nothing to come back for"
    assert claim(redis, 5, two, "b").jobs == []
    redis.run(calls.finish(Q, [(1, "a", b"{}", "done")], 10, now=T0))
    assert [each.number for each in claim(redis, 5, two, "c").jobs] == [3]
    back = claim(redis, 5, two, "d", T0 + LEASE + 1)
    assert [each.number for each in back.jobs] == [2, 3], "leases that ran out don't count"
    assert claim(redis, 1, Bound(5, 0, 0), "e", T0 + LEASE + 1).waiting == 6


@FEW
@given(
    st.integers(1, 5),
    st.integers(10, 1000),
    st.lists(st.tuples(st.integers(0, 400), st.integers(1, 8)), min_size=1, max_size=30),
)
def test_no_window_has_more_starts_than_the_rate_and_none_is_refused_that_fits(
    redis: Redis, starts: int, window: int, claims: list[tuple[int, int]]
) -> None:
    redis.command("FLUSHDB")
    submit(redis, 300)
    now, began = T0, list[int]()
    for number, (pause, n) in enumerate(claims):
        now += pause
        answer = claim(redis, n, Bound(0, starts, window), f"t{number}", now, 10**9)
        fits = starts - sum(1 for each in began if each > now - window)
        assert len(answer.jobs) == min(n, fits)
        began += [now] * len(answer.jobs)
        if len(answer.jobs) < n:
            following = claim(redis, 1, Bound(0, starts, window), f"n{number}", answer.next_due, 10**9)
            assert len(following.jobs) == 1, "it says when the next start is allowed"
            now = answer.next_due
            began.append(now)
    for each in began:
        assert sum(1 for other in began if each - window < other <= each) <= starts


def test_slots_of_a_circle(redis: Redis) -> None:
    three = Bound(3, 0, 0)

    def take(n: int, token: str, now: int = T0) -> int:
        return redis.run(take_slots("c", n, three, LEASE, token, now=now)).slots

    assert (take(2, "a"), take(5, "b"), take(1, "c")) == (2, 1, 0)
    redis.run(free_slots("c", [slot("a", 1)], now=T0))
    assert take(5, "d") == 1
    redis.run(keep_slots("c", [slot("a", 2)], LEASE, now=T0 + 9000))
    assert take(5, "e", T0 + LEASE + 1) == 2, "what nobody held has ended"
    redis.command("FLUSHDB")
    redis.run(keep_slots("c", [slot("a", 2)], LEASE, now=T0))
    assert redis.command("EXISTS", "heroslots:c:*") == 0, "what was given back stays away"
    redis.run(keep_slots("c", [slot("a", 2)], LEASE, make=True, now=T0))
    assert take(5, "f") == 2, "held again after Redis forgot it"


def test_unused_slots_count_no_start(redis: Redis) -> None:
    bound = Bound(10, 4, 1000)
    assert redis.run(take_slots("c", 4, bound, LEASE, "a", now=T0)) == (4, 0)
    redis.run(free_slots("c", [slot("a", 3), slot("a", 4)], 2, now=T0))
    redis.run(free_slots("c", [slot("a", 1)], now=T0))
    assert redis.run(take_slots("c", 9, bound, LEASE, "b", now=T0 + 500)).slots == 2
    assert redis.run(take_slots("c", 9, bound, LEASE, "c", now=T0 + 600)) == (0, T0 + 1001)
    assert redis.run(take_slots("c", 9, bound, LEASE, "d", now=T0 + 1001)).slots == 2


def enter(redis: Redis, bound: Bound, token: str, *ids: int, now: int = T0) -> list[bool]:
    return redis.run(enter_keys(Q, token, [(id, "k") for id in ids], bound, now=now))


def test_jobs_of_a_key_wait_for_each_other_in_their_order(redis: Redis) -> None:
    submit(redis, 4)
    one = Bound(1, 0, 0)
    claim(redis, 4, Bound(0, 0, 0))
    assert enter(redis, one, "a", 1, 2, 3) == [True, False, False]
    assert redis.run(enter_keys(Q, "a", [(4, "other")], one, now=T0)) == [True]
    assert redis.run(calls.counts(Q))[:4] == (0, 0, 2, 2)
    assert redis.command("HGET", "herojobs:c:t:2", "at") == b"0", "its start isn't counted"
    redis.run(calls.cancel(Q, 2, b"{}", 10))
    redis.run(calls.finish(Q, [(1, "a", b"{}", "done")], 10, now=T0))
    redis.run(leave_keys(Q, [(1, "k")], now=T0))
    again = claim(redis, 5, Bound(0, 0, 0), "b")
    assert [each.number for each in again.jobs] == [3]
    assert enter(redis, one, "b", 3) == [True]


def test_a_member_whose_lease_is_gone_counts_no_more(redis: Redis) -> None:
    submit(redis, 2)
    one = Bound(1, 0, 0)
    claim(redis, 2, Bound(0, 0, 0))
    assert enter(redis, one, "a", 1, 2) == [True, False]
    redis.run(calls.finish(Q, [(1, "a", b"{}", "done")], 10, now=T0))  # and its WatchDog died before it said the rest
    assert [each.number for each in claim(redis, 5, Bound(0, 0, 0), "b", T0 + 10_001).jobs] == [2]
    assert enter(redis, one, "b", 2, now=T0 + 10_001) == [True]


def test_starts_of_a_key_in_a_window(redis: Redis) -> None:
    submit(redis, 6)
    two = Bound(0, 2, 1000)
    claim(redis, 6, Bound(0, 0, 0))
    assert enter(redis, two, "a", *range(1, 7)) == [True, True, False, False, False, False]
    assert [redis.command("ZSCORE", "herolater:c:t", id) for id in (3, 4, 5, 6)] == [
        b"%d" % (T0 + each) for each in (1001, 1001, 2001, 2001)
    ]
    assert [each.number for each in claim(redis, 6, Bound(0, 0, 0), "b", T0 + 1001).jobs] == [3, 4]
    assert enter(redis, two, "b", 3, 4, now=T0 + 1001) == [True, True]
