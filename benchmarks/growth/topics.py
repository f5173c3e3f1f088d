"""What a job and a search cost as topics grow, each a database of its own."""

from __future__ import annotations

from pathlib import Path

from benchmarks.growth.history import new
from benchmarks.growth.timing import Grown, best, by_step, powers
from herojobs.names import Queue
from herojobs.settings import load
from herojobs.store import JobIndex, JobStore


def steps(store: JobStore, index: JobIndex, queues: list[Queue]) -> dict[str, float]:
    """Return microseconds of every step."""
    some = queues[:: max(1, len(queues) // 500)][:500]
    first = queues[0]

    def one() -> list[bytes]:
        return store.add_many(first, new(1, first))

    def changed() -> None:
        one()
        index.find(limit=100)

    return {
        "submit one, to a topic in use": best(lambda: [one() for _ in range(20)], 20),
        "submit one, to each of up to 500 topics": best(
            lambda: [store.add_many(queue, new(1, queue)) for queue in some], len(some)
        ),
        "get one": best(lambda: [store.get(first, 1) for _ in range(20)], 20),
        "newest page of one topic": best(lambda: index.find(circle=first.circle, topic=first.topic, limit=100)),
        "newest page of all, nothing new": best(lambda: index.find(limit=100)),
        "newest page of all, one changed": best(changed),
        "counts of all": best(lambda: index.counts()),
        "list of queues": best(store.queues),
    }


def measure(home: Path, most: int) -> Grown:
    """Return what everything costs as topics grow to `most`, with a job in each."""
    store = JobStore(load({}, home=home, sync="never"))
    index = JobIndex(store)
    counts, rows = powers(1, most), []
    queues: list[Queue] = []
    for count in counts:
        for number in range(len(queues), count):
            queues.append(Queue("c", f"t{number}"))
            store.add_many(queues[-1], new(1, queues[-1]))
        index.catch_up(wait=3600)
        rows.append(steps(store, index, queues))
    index.close()
    store.close()
    return Grown("topics", counts, by_step(rows))
