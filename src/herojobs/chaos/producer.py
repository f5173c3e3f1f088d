"""A producer of a run of chaos, a process of its own: submits batches, and writes what was acknowledged."""

from __future__ import annotations

import os
import random
import sys
import threading
import time

import msgspec

from herojobs.chaos.actors import HANGS
from herojobs.errors import HeroJobsError, SubmissionUnconfirmed
from herojobs.job import Job
from herojobs.ourdb import OurDBError

BATCH = 10
CIRCLES = ("a", "b", "c")
HANG_TIMEOUT = 1
HANG_TOPIC = "hang"


class Orders(msgspec.Struct):
    """What a producer is told on its command line.

    Attributes:
        marks: file that jobs write their starts and finishes to.
        acknowledged: file for the references of acknowledged jobs.
        life: pipe whose other end is open as long as the producer shall live.
        rate: jobs a second.
        hang_every: one in so many jobs never ends by itself; 0 = none.
        seconds: how long blocking ones run, on average; asynchronous ones take ten times that.
        max_attempts: of each job.
        seed: for the choice of jobs.
    """

    marks: str
    acknowledged: str
    life: int
    rate: float
    hang_every: int
    seconds: float
    max_attempts: int
    seed: int


def main(orders: Orders) -> None:
    """Submit batches until the process is ended."""
    from herojobs.client import HeroJobs

    threading.Thread(target=_end_with, args=(orders.life,), daemon=True).start()
    rng = random.Random(orders.seed)  # noqa: S311 - not for secrets
    acknowledged = os.open(orders.acknowledged, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with HeroJobs() as hero:
        due = time.monotonic()
        while True:
            jobs = [_job(orders, rng) for _ in range(BATCH)]
            try:
                refs = [str(job.ref) for job in hero.submit_many(jobs)]
            except SubmissionUnconfirmed as e:  # stored: they must run
                refs = e.refs
            except (HeroJobsError, OurDBError, OSError):  # refused as a whole: the caller knows, and tries again
                refs = []
            if refs:
                os.write(acknowledged, "".join(f"{ref} {time.time_ns()}\n" for ref in refs).encode())
            due = max(due + BATCH / orders.rate, time.monotonic() - 1)
            time.sleep(max(0.0, due - time.monotonic()))


def _end_with(pipe: int) -> None:
    os.read(pipe, 1)
    os._exit(1)


def _job(orders: Orders, rng: random.Random) -> Job:
    circle, attempts = rng.choice(CIRCLES), orders.max_attempts
    if orders.hang_every and rng.randrange(orders.hang_every) == 0:
        script = f"{rng.choice(HANGS)} file:'{orders.marks}'"
        return Job(params=script, topic=HANG_TOPIC, timeout=HANG_TIMEOUT, circle_id=circle, max_attempts=attempts)
    asynchronous = rng.random() < 0.2
    name, topic, seconds = (
        ("mark_async", "async", orders.seconds * 10) if asynchronous else ("mark", "sync", orders.seconds)
    )
    script = f"!!chaos.{name} file:'{orders.marks}' seconds:{rng.expovariate(1 / seconds):.4f}"
    return Job(params=script, topic=topic, timeout=60, circle_id=circle, max_attempts=attempts)


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1], type=Orders))
