"""A job on the terminal while it waits and runs, and how it ended."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import typer

from herojobs.cli import common
from herojobs.errors import HeroJobsError
from herojobs.job import Job

if TYPE_CHECKING:
    from herojobs.client import HeroJobs
    from herojobs.names import Ref

LONGEST_ANSWER = 1 << 20
"""Characters of a job's output that are kept, to know an answer that stood there."""


@contextmanager
def hint_if_nobody_works(hero: HeroJobs, job: Job) -> Iterator[None]:
    """Say what the job may wait for if it hasn't started when the block has run for a moment."""

    def look() -> None:
        if hero.get(job).status != "new":
            return
        names = {job.queue.circle, str(job.queue)}
        asked = "does a WatchDog run? (herojobs dev, in another terminal)"
        if job.after:
            asked = f"are the jobs before it over (herojobs flow {job.ref})? If so, {asked}"
        reason = next((f"{name} is paused (herojobs resume {name})" for name in hero.paused() if name in names), asked)
        print(f"{job.ref} waits: {reason}", file=sys.stderr)

    timer = threading.Timer(1.0, look)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class Shown:
    """A job's output on its way to stderr; it knows whether a model's answer has been read there already."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._size = 0

    def write(self, text: str) -> None:
        """Write a piece of the output."""
        sys.stderr.write(text)
        sys.stderr.flush()
        self._parts.append(text)
        self._size += len(text)
        if self._size > 2 * LONGEST_ANSWER:
            self._parts = ["".join(self._parts)[-LONGEST_ANSWER:]]
            self._size = len(self._parts[0])

    def ends_with_answer(self, job: Job) -> bool:
        """Return whether a model's answer stands at the end of the output, in the place where results go too."""
        if job.params_type != "ai" or not self._parts or not job.result:
            return False
        try:
            same = os.path.sameopenfile(sys.stdout.fileno(), sys.stderr.fileno())
        except (OSError, ValueError):  # one of them is no file
            return False
        return same and "".join(self._parts).rstrip().endswith(job.result.rstrip())

    def end_line(self) -> None:
        """Begin a new line if the output has none at its end."""
        if self._parts and not self._parts[-1].endswith("\n"):
            self.write("\n")


def print_outcome(job: Job, json: bool, shown: Shown | None = None) -> None:
    """Print a job that is over, by its result or its error; end with 1 if it isn't done.

    Args:
        job: the job.
        json: whether to print it whole, as JSON.
        shown: its output so far; an answer that stands there isn't printed again.
    """
    if json:
        common.print_json(job)
    elif job.status == "done":
        if shown is not None and shown.ends_with_answer(job):
            shown.end_line()
        elif job.result:
            print(common.shown(job.result))
    else:
        print(f"error: {job.ref} {job.explain_end()}: {job.error}", file=sys.stderr)
    if job.status != "done":
        raise typer.Exit(common.JOB_FAILED)


def follow(hero: HeroJobs, ref: Ref, shown: Shown) -> list[threading.Thread]:
    """Write a job's output and its progress to stderr, from threads that end with the job or the command."""

    def output() -> None:
        with suppress(HeroJobsError, OSError):  # that is for `wait` to tell
            for text in hero.follow(ref):
                shown.write(text)

    def progress() -> None:
        told = None
        with suppress(HeroJobsError, OSError):
            while not hero.get(ref).is_over:
                found = hero.progress(ref)
                if found is not None and found != told:
                    print(f"{found.percent:g}% {found.text}".rstrip(), file=sys.stderr)
                told = found
                time.sleep(0.2)

    threads = [threading.Thread(target=work, daemon=True) for work in (output, progress)]
    for thread in threads:
        thread.start()
    return threads
