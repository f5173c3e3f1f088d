"""Jobs that come after others, run inline."""

from __future__ import annotations

import pytest

from herojobs import After, AsyncHeroJobs, InlineWatchDog, Job
from herojobs.errors import InvalidJob, JobConflict
from herojobs.live import admin
from herojobs.live.redis import BlockingRedis, run_sync
from herojobs.names import Queue
from herojobs.testing import FakeClock, InlineHero

ECHO = "!!core.echo content:hi"
FAIL = "!!fake.return_error message:no"


def job(params: str = ECHO, topic: str = "t", **fields: object) -> Job:
    return Job(params=params, circle_id="c", topic=topic, **fields)  # type: ignore[arg-type]


def places(hero: InlineHero, topic: str = "t") -> admin.Counts:
    redis = BlockingRedis(hero.settings.redis_url)
    counts = run_sync(redis.run(admin.counts(Queue("c", topic))))
    run_sync(redis.close())
    return counts


def keys(hero: InlineHero) -> list[str]:
    """Keys that only jobs which wait have."""
    redis = BlockingRedis(hero.settings.redis_url)
    found = [key.decode() for key in run_sync(redis.command("KEYS", "*"))]
    run_sync(redis.close())
    return [key for key in found if key.startswith(("herokids", "herowait", "heroheld", "heromail"))]


def test_a_job_waits_for_those_it_comes_after_in_whatever_topic(hero: InlineHero) -> None:
    first = hero.submit(ECHO, circle_id="C", topic="One")
    second = hero.submit(ECHO, circle_id="c", topic="t", after=[first])
    (claimed,) = hero.watchdog.claim("c", "one")
    assert hero.watchdog.claim("c", "t") == []
    assert places(hero).held == 1
    assert hero.get(second).status == "new"
    assert hero.get(second).attempts == 0
    hero.watchdog.execute(claimed)
    hero.watchdog.finish([claimed])
    assert hero.run_pending() == 1
    done = hero.get(second)
    assert (done.status, done.attempts) == ("done", 1)
    assert done.started_ms >= hero.get(first).ended_ms
    assert keys(hero) == []


def test_results_of_those_before_are_at_hand(hero: InlineHero) -> None:
    parts, last = hero.fan_in(
        [job(f"{n} * 10", topic=f"part{n}", params_type="rhaiscript") for n in range(4)],
        job("let sum = 0; for p in parents() { sum += parse_int(p.result) } sum", params_type="rhaiscript"),
    )
    text = hero.submit("!!job.parents", circle_id="c", after=[parts[3], last])
    hero.run_pending()
    assert hero.get(last).result == "60"
    assert hero.get(text).result == (
        '[{"ref":"c/part3/1","status":"done","result":"30","error":""},'
        '{"ref":"c/t/1","status":"done","result":"60","error":""}]'
    )


def test_a_chain_runs_in_its_order(hero: InlineHero) -> None:
    chain = hero.chain([job(topic=topic) for topic in "zyxw"])
    assert hero.run_pending() == 4
    ended = [hero.get(each).ended_ms for each in chain]
    assert ended == sorted(ended)
    assert [each.after for each in chain[1:]] == [[After(str(each.ref))] for each in chain[:-1]]


@pytest.mark.parametrize(
    ("on_failure", "status", "reason", "ran"),
    [("cancel", "error", "cancelled", 0), ("fail", "error", "failed", 0), ("run", "done", "done", 1)],
)
@pytest.mark.parametrize("topic", ["t", "other"])
def test_what_becomes_of_it_when_one_fails(
    hero: InlineHero, on_failure: str, status: str, reason: str, ran: int, topic: str
) -> None:
    bad = hero.submit(FAIL, circle_id="c", topic=topic)
    late = hero.submit(ECHO, circle_id="c", topic="t", at=2_000_000_000)
    child = hero.submit(ECHO, circle_id="c", topic="t", after=[bad, late] if not ran else [bad], on_failure=on_failure)
    grandchild = hero.submit(ECHO, circle_id="c", topic="t", after=[child], retries=5)
    hero.run_pending()
    child = hero.get(child)
    assert (child.status, child.reason, child.attempts) == (status, reason, ran)
    if not ran:
        assert child.error == f"c/{topic}/1, which it waited for, ended in error (failed)"
        assert hero.get(grandchild).reason == "cancelled"
        assert hero.get(grandchild).cancelled_while == "waiting"
    assert hero.get(grandchild).is_over


def test_each_of_them_may_say_otherwise(hero: InlineHero) -> None:
    good, bad = hero.submit(ECHO, circle_id="c"), hero.submit(FAIL, circle_id="c")
    child = hero.submit(ECHO, circle_id="c", after=[good, After(str(bad.ref), "run")], on_failure="fail")
    hero.run_pending()
    assert hero.get(child).status == "done"


def test_a_job_that_failed_and_is_tried_again_isn_t_over(hero: InlineHero, hero_clock: FakeClock) -> None:
    bad = hero.submit(FAIL, circle_id="c", retries=1, retry_delay=60)
    child = hero.submit(ECHO, circle_id="c", after=[bad])
    hero.run_pending()
    assert hero.get(bad).reason == "retrying"
    assert hero.get(child).status == "new"
    hero_clock.move(minutes=2)
    hero.run_pending()
    assert hero.get(child).reason == "cancelled"


def test_a_job_waits_for_its_time_too(hero: InlineHero, hero_clock: FakeClock) -> None:
    first = hero.submit(ECHO, circle_id="c")
    child = hero.submit(ECHO, circle_id="c", after=[first], at=hero_clock.ms // 1000 + 60, priority=3)
    hero.run_pending()
    assert hero.get(child).status == "new"
    hero_clock.move(seconds=61)
    hero.run_pending()
    assert hero.get(child).status == "done"


def test_after_one_that_is_over_already(hero: InlineHero) -> None:
    first = hero.run(ECHO, circle_id="c")
    assert hero.run(ECHO, circle_id="c", after=[first]).status == "done"
    failed = hero.run(FAIL, circle_id="c")
    assert hero.run(ECHO, circle_id="c", after=[failed]).reason == "cancelled"


def test_deleting_cancelling_and_emptying_count_as_failures(hero: InlineHero) -> None:
    waiting = [hero.submit(ECHO, circle_id="c", topic=f"p{n}", at=2_000_000_000) for n in range(3)]
    children = [hero.submit(ECHO, circle_id="c", topic="t", after=[each]) for each in waiting]
    hero.run_pending()
    assert places(hero).held == 3
    hero.delete(waiting[0])
    hero.cancel(waiting[1])
    hero.empty("c", "p2")
    hero.run_pending()
    assert [hero.get(child).error.partition(", which it waited for, ")[2] for child in children] == [
        "was deleted", "ended in error (cancelled)", "ended in error (removed)",
    ]  # fmt: skip
    assert keys(hero) == []


def test_one_that_waits_can_be_cancelled_deleted_and_emptied(hero: InlineHero) -> None:
    first = hero.submit(ECHO, circle_id="c", topic="p", at=2_000_000_000)
    one, two, three = (hero.submit(ECHO, circle_id="c", topic="t", after=[first]) for _ in range(3))
    hero.run_pending()
    assert hero.cancel(one).cancelled_while == "waiting"
    hero.delete(two)
    assert hero.empty("c", "t") == 1
    assert hero.get(three).reason == "removed"
    assert places(hero).total == 0
    hero.cancel(first)
    hero.run_pending()
    assert keys(hero) == []


def test_a_whole_flow_is_found_and_cancelled(hero: InlineHero) -> None:
    later = 2_000_000_000
    roots = [hero.submit(ECHO, circle_id="c", topic=f"r{n}", at=later) for n in range(2)]
    middle = hero.submit(ECHO, circle_id="c", topic="m", after=roots, on_failure="run")
    ends = [hero.submit(ECHO, circle_id="c", topic="e", after=[middle], on_failure="run") for _ in range(3)]
    aside = hero.submit(ECHO, circle_id="c", topic="s", after=[roots[1]])
    stranger = hero.submit(ECHO, circle_id="c", topic="r0", at=later)
    hero.run_pending()
    whole = {str(each.ref) for each in [*roots, middle, *ends, aside]}
    for each in (roots[0], roots[1], middle, ends[1], aside):
        assert {str(job.ref) for job in hero.flow(each)} == whole
    cancelled = hero.cancel_flow(ends[0])
    assert {str(job.ref) for job in cancelled} == whole
    assert {job.reason for job in hero.flow(aside)} == {"cancelled"}
    assert hero.run_pending() == 0
    assert hero.get(stranger).status == "new"
    assert hero.cancel_flow(middle) == []
    with pytest.raises(JobConflict):
        hero.cancel(middle)


def test_a_failed_flow_is_tried_again(hero: InlineHero) -> None:
    bad = hero.submit(FAIL, circle_id="c")
    child = hero.submit(ECHO, circle_id="c", after=[bad])
    hero.run_pending()
    hero.retry(child)
    hero.retry(bad)
    hero.run_pending()
    assert hero.get(child).reason == "cancelled"  # looked at again, and the other one failed again


def test_what_can_t_be_waited_for_is_refused(hero: InlineHero) -> None:
    other = hero.submit(ECHO, circle_id="other")
    with pytest.raises(InvalidJob, match="after 'c/t/7': there is no such job"):
        hero.submit(ECHO, circle_id="c", after=["C/T/7"])
    with pytest.raises(InvalidJob, match="it belongs to another circle than c"):
        hero.submit(ECHO, circle_id="c", after=[other])
    first = hero.submit(ECHO, circle_id="c")
    with pytest.raises(InvalidJob, match="on_failure 'ignore': no such way; use run, cancel or fail"):
        hero.submit(ECHO, circle_id="c", after=[first], on_failure="ignore")
    with pytest.raises(InvalidJob, match="no such kind of job"):
        hero.chain([job(), job(params_type="heroscrpt")])
    assert len(hero.submitted()) == 2


def test_a_wide_fan_in(hero: InlineHero) -> None:
    parts, last = hero.fan_in([job(topic=f"t{n % 3}") for n in range(300)], job())
    hero.run_pending()
    assert hero.get(last).status == "done"
    assert hero.get(last).attempts == 1
    assert len(parts) == 300
    assert keys(hero) == []


def test_after_a_wiped_redis_all_is_found_again(hero: InlineHero, hero_clock: FakeClock) -> None:
    first = hero.submit(ECHO, circle_id="c", topic="p", at=hero_clock.ms // 1000 + 1000)
    child = hero.submit(ECHO, circle_id="c", topic="t", after=[first])
    hero.run_pending()
    redis = BlockingRedis(hero.settings.redis_url)
    run_sync(redis.command("FLUSHALL"))
    run_sync(redis.close())
    hero_clock.move(seconds=2000)
    reconcile(hero)
    hero.run_pending()
    assert hero.get(child).status == "done"
    assert reconcile(hero) == 0


async def test_the_asynchronous_client_too(hero: InlineHero) -> None:
    async with AsyncHeroJobs() as other:
        one, two = await other.chain([job(), job()])
        parts, last = await other.fan_in([job(after=[After(str(two.ref))])], job())
        assert [str(each.ref) for each in await other.flow(one)] == ["c/t/1", "c/t/2", "c/t/3", "c/t/4"]
        assert len(await other.cancel_flow(last)) == 4
        assert parts


def reconcile(hero: InlineHero) -> int:
    """One pass of reconciliation; what it brought back."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    from herojobs.live.redis import AsyncRedis
    from herojobs.store import JobIndex, JobStore
    from herojobs.watchdog.fair import Turns
    from herojobs.watchdog.reconcile import Reconciler

    async def passes() -> int:
        store = JobStore(hero.settings)
        index = JobIndex(store)
        redis = AsyncRedis(hero.settings.redis_url)
        try:
            return await Reconciler(redis, store, index, hero.settings, Turns(lambda _: True)).step()
        finally:
            await redis.close()
            index.close()
            store.close()

    with ThreadPoolExecutor(1) as pool:  # some callers have an event loop
        return pool.submit(asyncio.run, passes()).result()


def test_the_inline_watchdog_of_another_process_delivers_too(hero: InlineHero) -> None:
    first = hero.submit(ECHO, circle_id="c", topic="p")
    child = hero.submit(ECHO, circle_id="c", topic="t", after=[first])
    hero.watchdog.claim("c", "t")
    (run,) = hero.watchdog.claim("c", "p")
    hero.watchdog.execute(run)
    hero.watchdog.finish([run])
    assert "heromail:c:p" in keys(hero)
    with InlineWatchDog(settings=hero.settings) as second:
        second.run_pending()
    assert hero.get(child).status == "done"


def test_a_flow_that_was_submitted_at_once_is_cancelled_from_its_end(hero: InlineHero, hero_clock: FakeClock) -> None:
    """All in one millisecond: who comes after whom counts, not the time."""
    first = hero.submit(ECHO, circle_id="c", topic="z", at=2_000_000_000)
    last = hero.submit(ECHO, circle_id="c", topic="a", after=[first], on_failure="run")
    assert hero_clock.ms == hero.get(last).created_ms
    assert [job.ref for job in hero.flow(last)] == [first.ref, last.ref]
    hero.run_pending()
    assert [job.cancelled_while for job in hero.cancel_flow(first)] == ["scheduled", "waiting"]
    assert hero.run_pending() == 0


def test_a_script_submits_jobs_that_come_after_others(hero: InlineHero) -> None:
    one = hero.submit(ECHO, circle_id="c", topic="a")
    two = hero.submit(ECHO, circle_id="c", topic="a")
    script = hero.run(f"!!job.create params:'!!job.parents' after:'{one.ref},{two.ref}' on_failure:run", circle_id="c")
    child = hero.get(script.result)
    assert child.after == [After(str(one.ref), "run"), After(str(two.ref), "run")]
    assert child.parent == str(script.ref)
    assert hero.wait(child).result.count('"done"') == 2


@pytest.mark.herojobs(cluster=True)
def test_in_a_cluster_too(hero: InlineHero) -> None:
    """Names of keys carry braces there."""
    _, last = hero.fan_in([job(topic=f"t{n % 3}") for n in range(9)], job())
    hero.run_pending()
    assert hero.get(last).status == "done"
    assert keys(hero) == []


def test_one_that_is_let_go_before_the_end_of_the_other_is_written_looks_again_soon(
    hero: InlineHero, hero_clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that cancels tells Redis first; a WatchDog may be faster than its word to OurDB."""
    first = hero.submit(ECHO, circle_id="c", topic="p", at=2_000_000_000)
    child = hero.submit(ECHO, circle_id="c", topic="t", after=[first])
    hero.run_pending()
    store = hero._core._store
    real = store.put_many

    def put_late(*args: object) -> object:
        hero.run_pending()
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "put_many", put_late)
    hero.cancel(first)
    monkeypatch.undo()
    assert (places(hero).held, places(hero).scheduled) == (0, 1)
    hero_clock.move(seconds=2)
    hero.run_pending()
    assert hero.get(child).reason == "cancelled"
    assert keys(hero) == []
