"""The schedules of a run of chaos, and whether each of their ticks got one job."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from herojobs.chaos.producer import CIRCLES
from herojobs.job import Job
from herojobs.names import Queue, Ref
from herojobs.schedules import Schedule, ScheduleBook
from herojobs.settings import Settings
from herojobs.store import JobStore

TOPIC = "tick"
TIMES = ("@every 1s", "* * * * * *", "*/3 * * * * *")


class Ticks(NamedTuple):
    """How many ticks were due, those without a job and those with several."""

    due: int
    missed: list[str]
    doubled: list[str]


class Ticking:
    """Schedules that tick every second or so, from `start` to `stop`.

    Args:
        settings: where the home is.
        marks: file that their jobs write their starts and finishes to.
        count: how many schedules.
        max_attempts: of each job.
    """

    def __init__(self, settings: Settings, marks: Path, count: int, max_attempts: int) -> None:
        self._book = ScheduleBook(settings)
        self._first: list[Schedule] = []
        self._script = f"!!chaos.mark file:'{marks}'"
        self._count = count
        self._attempts = max_attempts

    def start(self) -> None:
        """Add the schedules."""
        for number in range(self._count):
            circle, when = CIRCLES[number % len(CIRCLES)], TIMES[number % len(TIMES)]
            job = Job(params=self._script, topic=TOPIC, circle_id=circle, timeout=60, max_attempts=self._attempts)
            self._first.append(self._book.add(f"s{number}", when, job, missed="all"))

    def stop(self) -> None:
        """Have no more ticks begin."""
        for schedule in self._first:
            self._book.pause(schedule.name, schedule.circle)

    def refs(self, store: JobStore) -> list[str]:
        """Return the references of all jobs that ticks made so far."""
        return [str(Ref(queue, job.job_id)) for queue, job in self._jobs(store)]

    def open_refs(self, store: JobStore) -> list[str]:
        """Return the references of those that aren't over."""
        return [str(Ref(queue, job.job_id)) for queue, job in self._jobs(store) if not job.is_over]

    def judge(self, store: JobStore) -> Ticks:
        """Return what became of the ticks; to be called when nobody makes any more."""
        made = Counter((queue.circle, job.schedule) for queue, job in self._jobs(store))
        due = []
        for first in self._first:
            end_ms = self._book.get(first.name, first.circle).next_ms
            for tick in first.timetable.ticks(first.next_ms - 1):
                if tick >= end_ms:
                    break
                due.append((first.circle, first.key(tick)))
        missed = [f"{circle} {key}" for circle, key in due if not made[circle, key]]
        return Ticks(len(due), missed, [f"{circle} {key}" for (circle, key), jobs in made.items() if jobs > 1])

    def close(self) -> None:
        """Close the book."""
        self._book.close()

    def _jobs(self, store: JobStore) -> list[tuple[Queue, Job]]:
        found = []
        for circle in sorted({schedule.circle for schedule in self._first}):
            queue = Queue.of(circle, TOPIC)
            ids = range(1, store.next_id(queue))
            found += [(queue, job) for job in store.get_many(queue, ids) if job is not None and job.schedule]
        return found
