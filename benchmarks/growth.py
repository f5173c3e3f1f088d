"""What a job costs as history and topics grow: `python -m benchmarks.growth [most jobs] [most topics]`.

The same steps are timed with a thousand jobs in one topic's history, ten thousand, and so on, then with as many jobs in
ever more topics. Each figure is the best of several rounds, since other programs only ever add time. Every job has two
versions, as submitted and as ended.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from herojobs.job import Job, encode
from herojobs.names import Queue
from herojobs.settings import Settings, load
from herojobs.store import JobIndex, JobStore, Put

Q = Queue("c", "t")
BATCH = 200
"""Jobs that a WatchDog claims and ends at once."""
ROUNDS = 5
STEPS = (
    "submit one",
    f"submit {BATCH}, each",
    f"claim's look at {BATCH}, each",
    f"end {BATCH}, each",
    "get one, anywhere",
    "history of one",
    "open the database",
    "newest page, 100 jobs",
    "page of errors",
    "jobs that aren't over",
    "counts by status",
)


def best(action: Callable[[], object], each: int = 1) -> float:
    """Return microseconds for one of `each` things that an action does."""
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        action()
        times.append(time.perf_counter() - begun)
    return min(times) / each * 1e6


def new(count: int, queue: Queue = Q) -> list[Job]:
    """Return jobs to be submitted."""
    params = "!!core.echo content:'as long as most jobs are, which isn't very long'"
    return [Job(params=params, circle_id=queue.circle, topic=queue.topic, created_ms=1_700_000_000_000 + n)
            for n in range(count)]  # fmt: skip


def end(store: JobStore, jobs: list[Job], status: str = "done") -> None:
    """Write the end of jobs."""
    for job in jobs:
        job.status = status
        job.result = "a result of some length, too"
    store.put_many(Q, [Put(job.job_id, encode(job), None) for job in jobs])


def fill(store: JobStore, index: JobIndex, count: int) -> None:
    """Add jobs that are over, one in a thousand as error."""
    for start in range(0, count, 5_000):
        jobs = new(min(5_000, count - start))
        store.add_many(Q, jobs)
        end(store, jobs[1:])
        end(store, jobs[:1], "error")
    index.catch_up()


def measure(store: JobStore, index: JobIndex, settings: Settings, count: int) -> list[float]:
    """Return microseconds of every step."""
    chance = random.Random(count)
    added: list[Job] = []

    def submit() -> None:
        added[:] = new(BATCH)
        store.add_many(Q, added)

    def reopen() -> None:
        fresh = JobStore(settings)
        fresh.get(Q, 1)
        fresh.close()

    def page(status: str | None = None) -> Callable[[], object]:
        return lambda: index.find(circle=Q.circle, topic=Q.topic, limit=100, status=status)

    found = [best(lambda: store.add_many(Q, new(1))), best(submit, BATCH)]
    found.append(best(lambda: store.tips(Q, [job.job_id for job in added]), BATCH))
    found.append(best(lambda: end(store, added), BATCH))
    ids = [chance.randrange(1, count + 1) for _ in range(100)]
    found.append(best(lambda: [store.get(Q, id) for id in ids], len(ids)))
    found.append(best(lambda: [store.history(Q, id) for id in ids], len(ids)))
    found.append(best(reopen))
    index.catch_up()
    found += [best(page()), best(page("error")), best(lambda: index.open_ids(Q)), best(lambda: index.counts())]
    return found


def histories(home: Path, most: int) -> None:
    """Print what everything costs in one topic, as its history grows."""
    settings = load({}, home=home, sync="never")
    store = JobStore(settings)
    index = JobIndex(store)
    counts, rows, have, count = [], [], 0, 1_000
    while count <= most:
        fill(store, index, count - have)
        rows.append(measure(store, index, settings, count))
        have = count
        counts.append(count)
        count *= 10
    table("jobs in history", counts, STEPS, rows)
    index.close()
    store.close()


TOPIC_STEPS = (
    "submit one, to a topic in use",
    "submit one, to each of up to 500 topics",
    "get one",
    "newest page of one topic",
    "newest page of all, nothing new",
    "newest page of all, 1 topic changed",
    "counts of all",
    "list of queues",
)


def topics(home: Path, most: int) -> None:
    """Print what everything costs as topics grow."""
    settings = load({}, home=home, sync="never")
    store = JobStore(settings)
    index = JobIndex(store)
    counts, rows = [], []
    queues: list[Queue] = []
    count = 1
    while count <= most:
        while len(queues) < count:
            queue = Queue("c", f"t{len(queues)}")
            store.add_many(queue, new(1, queue))
            queues.append(queue)
        index.catch_up()
        some = queues[:: max(1, len(queues) // 500)][:500]
        first = queues[0]

        def one() -> None:
            store.add_many(first, new(1, first))  # noqa: B023 - used at once

        def changed() -> None:
            one()
            index.find(limit=100)

        rows.append(
            [
                best(one),
                best(lambda: [store.add_many(queue, new(1, queue)) for queue in some], len(some)),  # noqa: B023
                best(lambda: store.get(first, 1)),  # noqa: B023
                best(lambda: index.find(circle=first.circle, topic=first.topic, limit=100)),  # noqa: B023
                best(lambda: index.find(limit=100)),
                best(changed),
                best(lambda: index.counts()),
                best(store.queues),
            ]
        )
        counts.append(count)
        count *= 10
    table("topics", counts, TOPIC_STEPS, rows)
    index.close()
    store.close()


def table(name: str, counts: list[int], steps: tuple[str, ...], rows: list[list[float]]) -> None:
    """Print a table in Markdown, in microseconds."""
    print(f"| {name} |" + "".join(f" {count:,} |" for count in counts))
    print("|---|" + "---|" * len(counts))
    for step, figures in zip(steps, zip(*rows, strict=True), strict=True):
        print(f"| {step} |" + "".join(f" {_shown(figure)} |" for figure in figures))
    print(flush=True)


def _shown(microseconds: float) -> str:
    if microseconds < 1_000:
        return f"{microseconds:.3g} us"
    return f"{microseconds / 1_000:.3g} ms"


def main() -> None:
    """Take the figures."""
    most_jobs, most_topics = (*map(int, sys.argv[1:]), *(1_000_000, 1_000)[len(sys.argv) - 1 :])
    with tempfile.TemporaryDirectory() as folder:
        histories(Path(folder) / "jobs", most_jobs)
    with tempfile.TemporaryDirectory() as folder:
        topics(Path(folder) / "topics", most_topics)


if __name__ == "__main__":
    main()
