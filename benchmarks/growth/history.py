"""What a job costs in OurDB and its index as the history of one topic grows. Each job has two versions in it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import Path

from benchmarks.growth.timing import Grown, best, by_step, powers
from herojobs.job import Job, encode
from herojobs.names import Queue
from herojobs.settings import Settings, load
from herojobs.store import JobIndex, JobStore, Put

QUEUE = Queue("c", "t")
PARAMS = "!!core.echo content:'as long as most jobs are, which isn't very long'"
BATCH = 200
"""Jobs that a WatchDog claims and ends at once."""
_times = itertools.count(1_700_000_000_000)


def new(count: int, queue: Queue = QUEUE) -> list[Job]:
    """Return jobs to be submitted."""
    return [
        Job(params=PARAMS, circle_id=queue.circle, topic=queue.topic, created_ms=next(_times)) for _ in range(count)
    ]


def end(store: JobStore, jobs: list[Job], status: str = "done") -> None:
    """Write the end of jobs."""
    for job in jobs:
        job.status = status
        job.result = "a result of some length, too"
    store.put_many(QUEUE, [Put(job.job_id, encode(job), None) for job in jobs])


def fill(store: JobStore, index: JobIndex, count: int) -> None:
    """Add jobs that are over, one in a thousand as error."""
    for start in range(0, count, 5_000):
        jobs = new(min(5_000, count - start))
        store.add_many(QUEUE, jobs)
        end(store, jobs[5:])
        end(store, jobs[:5], "error")
    index.catch_up(wait=3600)


def steps(store: JobStore, index: JobIndex, settings: Settings, count: int) -> dict[str, float]:
    """Return microseconds of every step."""
    chance = random.Random(count)
    added: list[Job] = []

    def submit() -> None:
        added[:] = new(BATCH)
        store.add_many(QUEUE, added)

    def reopen() -> None:
        fresh = JobStore(settings)
        fresh.get(QUEUE, 1)
        fresh.close()

    def page(status: str | None = None) -> Callable[[], object]:
        return lambda: index.find(circle=QUEUE.circle, topic=QUEUE.topic, limit=100, status=status)

    ids = [chance.randrange(1, count + 1) for _ in range(100)]
    found = {
        "submit one": best(lambda: [store.add_many(QUEUE, new(1)) for _ in range(20)], 20),
        f"submit {BATCH}, each": best(submit, BATCH),
        f"claim's look at {BATCH}, each": best(lambda: store.tips(QUEUE, [job.job_id for job in added]), BATCH),
        f"end {BATCH}, each": best(lambda: end(store, added), BATCH),
        "get one, anywhere": best(lambda: [store.get(QUEUE, id) for id in ids], len(ids)),
        "history of one": best(lambda: [store.history(QUEUE, id) for id in ids], len(ids)),
        "open the database": best(reopen),
    }
    index.catch_up()
    return found | {
        "newest page, 100 jobs": best(page()),
        "page of errors": best(page("error")),
        "jobs that aren't over": best(lambda: index.open_ids(QUEUE)),
        "counts by status": best(lambda: index.counts()),
    }


def measure(home: Path, most: int) -> Grown:
    """Return what everything costs in one topic, as its history grows to `most` jobs."""
    settings = load({}, home=home, sync="never")
    store = JobStore(settings)
    index = JobIndex(store)
    rows, have = [], 0
    counts = powers(1_000, most)
    for count in counts:
        fill(store, index, count - have)
        rows.append(steps(store, index, settings, count))
        have = count
    index.close()
    store.close()
    return Grown("jobs in history", counts, by_step(rows))
