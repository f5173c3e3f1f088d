"""Which jobs were submitted, and what a test is told when the ones that it expects aren't among them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from herojobs.job import Job
from herojobs.names import queue_name_fix

SHOWN = 10
"""Jobs that a failure shows at most."""
TEXT = 60


class Wanted(NamedTuple):
    """What a test looks for; None = anything.

    Attributes:
        kind: the params_type.
        circle_id: spelled in any way.
        topic: likewise.
        params: a text that params contain, or a pattern that is found in them.
        tag: one of the tags.
        status: new, active, done or error.
        parent: reference of the job that submitted it.
    """

    kind: str | None = None
    circle_id: str | None = None
    topic: str | None = None
    params: str | re.Pattern[str] | None = None
    tag: str | None = None
    status: str | None = None
    parent: str | None = None

    def misses(self, job: Job) -> list[str]:
        """Return the names of what doesn't fit a job; none if it is one that is wanted."""
        fits = {
            "kind": self.kind in (None, job.params_type),
            "circle_id": self.circle_id is None or queue_name_fix(self.circle_id) == job.queue.circle,
            "topic": self.topic is None or queue_name_fix(self.topic) == job.queue.topic,
            "params": self.params is None or _occurs(self.params, job.params),
            "tag": self.tag is None or self.tag in job.tags,
            "status": self.status in (None, job.status),
            "parent": self.parent in (None, job.parent),
        }
        return [name for name, does in fits.items() if not does]

    def __str__(self) -> str:
        shown = []
        for name, value in self._asdict().items():
            if isinstance(value, re.Pattern):
                shown.append(f"{name} matching {value.pattern!r}")
            elif value is not None:
                shown.append(f"{name} containing {value!r}" if name == "params" else f"{name} {value!r}")
        return " with " + ", ".join(shown) if shown else ""


def failure(wanted: Wanted, count: int | None, found: Sequence[Job], every: Sequence[Job]) -> str:
    """Return what a failed assertion says: what was wanted, what there is, and what the nearest one lacks."""
    expected = "a job" if count is None else _jobs(count)
    lines = [f"{expected}{wanted} should have been submitted; there {_are(len(found))}"]
    if found:
        lines.append("these are:")
        lines += _shown(found)
    elif every:
        nearest = min(every, key=lambda job: len(wanted.misses(job)))
        lines.append(f"submitted {_was(len(every))}:")
        lines += _shown(every)
        lines.append(f"the nearest is {nearest.ref}: its {' and '.join(wanted.misses(nearest))} differ")
    else:
        lines.append("no job was submitted at all")
    return "\n".join(lines)


def _shown(jobs: Sequence[Job]) -> list[str]:
    lines = []
    for job in jobs[:SHOWN]:
        params = job.params if len(job.params) <= TEXT else job.params[: TEXT - 3] + "..."
        tags = f"  tags {', '.join(job.tags)}" if job.tags else ""
        lines.append(f"  {job.ref}  {job.params_type}  {job.status}  {params!r}{tags}")
    if len(jobs) > SHOWN:
        lines.append(f"  ... and {len(jobs) - SHOWN} more")
    return lines


def _occurs(wanted: str | re.Pattern[str], params: str) -> bool:
    return wanted.search(params) is not None if isinstance(wanted, re.Pattern) else wanted in params


def _jobs(count: int) -> str:
    return "no job" if count == 0 else "1 job" if count == 1 else f"{count} jobs"


def _are(count: int) -> str:
    return "is none" if count == 0 else "is 1" if count == 1 else f"are {count}"


def _was(count: int) -> str:
    return "was 1 job" if count == 1 else f"were {count} jobs"
