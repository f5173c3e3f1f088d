"""Commands that submit a job, submit and run, and the options of whatever makes jobs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from herojobs.cli import common, following, times
from herojobs.cli.common import Json, options
from herojobs.errors import InvalidJob
from herojobs.job import now_ms

KINDS = {
    ".hero": "heroscript",
    ".heroscript": "heroscript",
    ".rhai": "rhaiscript",
    ".json": "openrpc",
    ".txt": "ai",
    ".md": "ai",
}

File = Annotated[str | None, typer.Argument(metavar="FILE|-", help="The script, call or prompt; - reads stdin.")]
Text = Annotated[str | None, typer.Option("--text", help="The script, call or prompt itself.")]
Kind = Annotated[
    str | None,
    typer.Option("--type", help="heroscript, rhaiscript, openrpc, ai or a plug-in's; guessed from the file's ending."),
]
Timeout = Annotated[int, typer.Option(help="Seconds it may run; 0 = the setting default_timeout.")]
CircleOr = Annotated[str, typer.Option("--circle", "-c", help="The circle (tenant).")]
TopicOr = Annotated[str, typer.Option("--topic", "-t", help="The topic (queue) within the circle.")]
Priority = Annotated[int, typer.Option(help="0 to 9; 9 starts first within its queue.")]
MaxAttempts = Annotated[int | None, typer.Option(help="How often it may start when its worker dies (3).")]
Retries = Annotated[
    int | None, typer.Option(help="How many more times it is tried when it fails; default by the setting retry, 0.")
]
RetryDelay = Annotated[
    float | None, typer.Option(help="Seconds before the first retry, doubled for each further one; likewise, 10.")
]
RetryOn = Annotated[
    list[str] | None,
    typer.Option(
        help="What is retried: failed, timeout, killed, oom, lost, or a text that occurs in the error, with * for "
        "anything; may be given more than once. Likewise, failed and timeout."
    ),
]
IdempotencyKey = Annotated[
    str, typer.Option("--idempotency-key", help="If a job with this key was submitted lately, print that one.")
]
UniqueKey = Annotated[str, typer.Option("--unique", help="If a job with this key is there, print that one.")]
UniqueUntil = Annotated[
    str, typer.Option(help="How long it is there: finished (default), started, or a time like 90s, 10m, 2h, 1d.")
]
Expires = Annotated[
    str | None, typer.Option(help="When it ends unless it has started: ISO date and time, or a delay like 90s, 10m.")
]
LimitKey = Annotated[str, typer.Option(help="What it counts for where its topic limits keys: a customer, say.")]
Keep = Annotated[bool, typer.Option("--log", help="Keep its output.")]
AfterJobs = Annotated[list[str] | None, typer.Option("--after", help="A job that must be over first; repeatable.")]
OnFailure = Annotated[
    str, typer.Option("--on-failure", help="What becomes of it if one of these fails: cancel, fail, or run anyway.")
]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="A label; may be given more than once.")]
At = Annotated[str | None, typer.Option(help="When it may start: ISO date and time, or a delay like 90s, 10m, 2h, 1d.")]


def submit(
    file: File = None,
    text: Text = None,
    kind: Kind = None,
    circle: CircleOr = "default",
    topic: TopicOr = "default",
    timeout: Timeout = 0,
    at: At = None,
    expires: Expires = None,
    priority: Priority = 0,
    max_attempts: MaxAttempts = None,
    retries: Retries = None,
    retry_delay: RetryDelay = None,
    retry_on: RetryOn = None,
    idempotency_key: IdempotencyKey = "",
    unique_key: UniqueKey = "",
    unique_until: UniqueUntil = "",
    limit_key: LimitKey = "",
    after: AfterJobs = None,
    on_failure: OnFailure = "cancel",
    log: Keep = False,
    tag: Tags = None,
    json: Json = False,
) -> None:
    """Submit a job and print its reference."""
    began = now_ms()
    with options.client() as hero:
        job = hero.submit(
            content(file, text),
            params_type=kind_of(kind, file),
            circle_id=circle,
            topic=topic,
            timeout=timeout,
            at=None if at is None else times.moment(at, 1, "at"),
            priority=priority,
            max_attempts=max_attempts,
            retries=retries,
            retry_delay=retry_delay,
            retry_on=retry_on,
            after=after or (),
            on_failure=on_failure,
            log=log,
            idempotency_key=idempotency_key,
            unique_key=unique_key,
            unique_until=_unique_until(unique_until),
            limit_key=limit_key,
            expires_at=None if expires is None else times.moment(expires, 1, "expires"),
            tags=tag or (),
        )
    if (idempotency_key or unique_key) and job.created_ms < began:
        print(f"{job.ref} has this key already", file=sys.stderr)
    if json:
        common.print_json(job)
    else:
        print(job.ref)


def run(
    file: File = None,
    text: Text = None,
    kind: Kind = None,
    circle: CircleOr = "default",
    topic: TopicOr = "default",
    timeout: Timeout = 0,
    priority: Priority = 0,
    max_attempts: MaxAttempts = None,
    retries: Retries = None,
    retry_delay: RetryDelay = None,
    retry_on: RetryOn = None,
    after: AfterJobs = None,
    on_failure: OnFailure = "cancel",
    log: Keep = False,
    tag: Tags = None,
    json: Json = False,
) -> None:
    """Submit a job, show its output and result, and end with 0 if it is done, 1 if it ended in error.

    Ctrl-C leaves the job running.
    """
    with options.client() as hero:
        # Output is kept even if nobody asked: a short job has said all before anyone can listen.
        job = hero.submit(
            content(file, text),
            params_type=kind_of(kind, file),
            circle_id=circle,
            topic=topic,
            timeout=timeout,
            priority=priority,
            max_attempts=max_attempts,
            retries=retries,
            retry_delay=retry_delay,
            retry_on=retry_on,
            after=after or (),
            on_failure=on_failure,
            log=log or not json,
            tags=tag or (),
        )
        shown = following.Shown()
        try:
            if not json:
                with following.hint_if_nobody_works(hero, job):
                    for output in hero.follow(job):
                        shown.write(output)
            job = hero.wait(job)
        except KeyboardInterrupt:
            print(f"{job.ref} goes on; herojobs cancel {job.ref} ends it", file=sys.stderr)
            raise
    following.print_outcome(job, json, shown)


COMMANDS: dict[str, Any] = {"run": run, "submit": submit}


def kind_of(kind: str | None, file: str | None) -> str:
    """Return the kind of job that was asked for, or that the file's ending tells."""
    return kind or KINDS.get(Path(file or "").suffix.lower(), "heroscript")


def _unique_until(text: str) -> str | int:
    """Return how long a job is the only one: a word as it stands, a span like 90s as seconds."""
    return times.span(text, "unique_until") if text[:1].isdigit() else text


def content(file: str | None, text: str | None = None) -> str:
    """Return what a command was given: a file's text, that of standard input for `-`, or the text itself."""
    if (file is None) == (text is None):
        common.fail("give one of FILE, - for standard input, and --text", common.USAGE)
    if text is not None:
        return text
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file or "").read_bytes()
    except OSError as e:
        raise InvalidJob("FILE", file, f"can't be read: {e.strerror}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise InvalidJob("FILE", file, f"not UTF-8 at byte {e.start}") from None
