"""Hooks that write down what they are told."""

from __future__ import annotations

import os

from herojobs import Job


def on_job_end(job: Job) -> None:
    with open(os.environ["HOOKS_FILE"], "a") as out:
        out.write(f"end {job.ref} {job.status} {job.session_key}\n")


def on_job_started(job: Job) -> None:
    with open(os.environ["HOOKS_FILE"], "a") as out:
        out.write(f"started {job.ref}\n")
