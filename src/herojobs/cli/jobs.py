"""Commands about jobs: submit, run, get, wait, list, cancel, retry, delete, history, logs."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from herojobs.cli import common, times
from herojobs.cli.common import Circle, Json, Reference, Topic, options
from herojobs.errors import HeroJobsError, InvalidJob, JobConflict, did_you_mean
from herojobs.job import Job, Reason, known_kinds, now_ms

if TYPE_CHECKING:
    from rich.text import Text as RichText

    from herojobs.client import HeroJobs
    from herojobs.names import Ref

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
LONGEST_ANSWER = 1 << 20
"""Characters of a job's output that are kept, to know an answer that stood there."""

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
            params_type=_kind(kind, file),
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
            params_type=_kind(kind, file),
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
        shown = Shown()
        try:
            if not json:
                with hint_if_nobody_works(hero, job):
                    for output in hero.follow(job):
                        shown.write(output)
            job = hero.wait(job)
        except KeyboardInterrupt:
            print(f"{job.ref} goes on; herojobs cancel {job.ref} ends it", file=sys.stderr)
            raise
    print_outcome(job, json, shown)


def get(ref: Reference, json: Json = False) -> None:
    """Show a job."""
    with options.client() as hero:
        job = hero.get(common.checked_ref(hero, ref))
        progress = hero.progress(job) if job.status == "active" else None
    if json:
        common.print_json(job)
    else:
        _show(job, "" if progress is None else f"{progress.percent:g}% {progress.text}".rstrip())


def wait(
    ref: Reference,
    timeout: Annotated[float | None, typer.Option(help="Seconds to wait at most; default as long as it takes.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show its output and how far it is.")] = False,
    json: Json = False,
) -> None:
    """Wait until a job is over; ends like `run`, or with 5 if it isn't over in time."""
    with options.client() as hero:
        parsed = common.checked_ref(hero, ref)
        shown = Shown()
        followers = _follow(hero, parsed, shown) if follow else []
        job = hero.wait(parsed, timeout)
        for follower in followers:
            follower.join(1)
    print_outcome(job, json, shown)


def list_(
    circle: Circle = None,
    topic: Topic = None,
    status: Annotated[str | None, typer.Option(help="new, active, done or error.")] = None,
    kind: Annotated[str | None, typer.Option("--type", help="The kind of job.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why it ended: done, failed, timeout, cancelled ...")] = None,
    tag: Annotated[str | None, typer.Option(help="A label.")] = None,
    text: Annotated[str | None, typer.Option(help="Words in params, result or error.")] = None,
    since: Annotated[str | None, typer.Option(help="Submitted since: ISO date and time, or an age like 2h.")] = None,
    limit: Annotated[int, typer.Option(help="Most jobs to show, up to 1000.")] = 20,
    before: Annotated[str | None, typer.Option(help="Go on after the page before: the cursor it printed.")] = None,
    json: Json = False,
) -> None:
    """List jobs, the newest first."""
    with options.client() as hero:
        common.check_names(hero, circle, topic)
        reasons = [each.value for each in Reason]
        if reason is not None and reason not in reasons:
            raise InvalidJob("reason", reason, "no such reason", did_you_mean(reason, reasons))
        moment = None if since is None else times.moment(since, -1, "since")
        with common.working("bringing the index up to date ..."):
            found = hero.find(
                circle_id=circle,
                topic=topic,
                status=status,
                kind=kind,
                reason=reason,
                tag=tag,
                text=text,
                since=moment,
                limit=limit,
                before=before,
            )
    if not found.jobs and kind and kind not in known_kinds():
        common.fail(f"no job is of type {kind!r}{common.nearest(kind, known_kinds())}", common.USAGE)
    if json:
        common.print_json(found)
        return
    made = common.table("job", "kind", "state", "submitted", "took", "outcome")
    made.columns[0].min_width = max((len(str(job.ref)) for job in found.jobs), default=0)  # to be copied whole
    for job in found.jobs:
        made.add_row(
            str(job.ref),
            job.params_type,
            common.status_text(job),
            common.when(job.created_ms),
            _took(job),
            _first_line(job.error or job.result),
        )
    out = common.console()
    out.print(made if found.jobs else "no jobs")
    if found.cursor:
        out.print(f"more: --before {found.cursor}")


def cancel(ref: Reference, json: Json = False) -> None:
    """Cancel a job: a waiting one ends at once, a running one is interrupted and waited for."""
    with options.client() as hero:
        job = hero.cancel(common.checked_ref(hero, ref))
        if not job.is_over:
            job = hero.wait(job, timeout=30)
    if json:
        common.print_json(job)
    elif job.reason != "cancelled":
        raise JobConflict(f"{job.ref} ended before: {job.explain_end()}")
    else:
        print(job.error)


def retry(
    ref: Annotated[str | None, typer.Argument(metavar="[REF]", help="The job, as circle/topic/id.")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All that ended in error and meet the conditions below.")
    ] = False,
    circle: Circle = None,
    topic: Topic = None,
    reason: Annotated[
        str | None, typer.Option(help="Why they ended; cancelled and removed ones only if asked for so.")
    ] = None,
    kind: Annotated[str | None, typer.Option("--type", help="The kind of job.")] = None,
    tag: Annotated[str | None, typer.Option(help="A label.")] = None,
    since: Annotated[str | None, typer.Option(help="Submitted since: ISO date and time, or an age like 2h.")] = None,
    json: Json = False,
) -> None:
    """Queue a job again that is over or waits for its next try, or with --all those that ended in error."""
    if (ref is None) is not every:
        common.fail("give REF or --all", common.USAGE)
    conditions = [name for name, value in locals().items() if name in _CONDITIONS and value is not None]
    if conditions and not every:
        common.fail(f"--{conditions[0]} goes with --all", common.USAGE)
    with options.client() as hero:
        if ref is not None:
            job = hero.retry(common.checked_ref(hero, ref))
            common.print_json(job) if json else print(f"{job.ref} is queued again")
            return
        common.check_names(hero, circle, topic)
        moment = None if since is None else times.moment(since, -1, "since")
        with common.working("queueing again ..."):
            queued = hero.retry_many(circle_id=circle, topic=topic, reason=reason, kind=kind, tag=tag, since=moment)
    if json:
        common.print_json({"queued": [str(each) for each in queued]})
    else:
        print("1 job is queued again" if len(queued) == 1 else f"{len(queued):,} jobs are queued again")


_CONDITIONS = frozenset({"circle", "topic", "reason", "kind", "tag", "since"})


def duplicate(
    ref: Reference,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Change a field: timeout=60, params=..., topic=..."),
    ] = None,
    json: Json = False,
) -> None:
    """Submit a copy of a job, with changes, and print its reference."""
    with options.client() as hero:
        job = hero.duplicate(common.checked_ref(hero, ref), **dict(map(_change, changes or ())))
    common.print_json(job) if json else print(job.ref)


def _change(text: str) -> tuple[str, Any]:
    """Return the field and value of `field=value`: JSON, except where the field is text."""
    import msgspec

    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidJob("--set", text, "no value", "field=value, like timeout=60")
    if isinstance(getattr(Job(), name, None), str):
        return name, value
    try:
        return name, msgspec.json.decode(value)
    except msgspec.DecodeError:
        return name, value  # refused with what is right, or a word in a list


def delete(ref: Reference, json: Json = False) -> None:
    """Remove a job for good, with its history and log."""
    with options.client() as hero:
        parsed = common.checked_ref(hero, ref)
        hero.delete(parsed)
    if json:
        common.print_json({"deleted": str(parsed)})
    else:
        print(f"{parsed} is deleted")


def history(ref: Reference, json: Json = False) -> None:
    """Show every state that a job went through, the oldest first."""
    with options.client() as hero:
        versions = hero.history(common.checked_ref(hero, ref))
    if json:
        common.print_json(versions)
        return
    made = common.table("version", "state", "attempt", "started", "took", "outcome")
    for number, job in enumerate(versions, 1):
        made.add_row(
            str(number),
            common.status_text(job),
            str(job.attempts or ""),
            common.when(job.started_ms),
            _took(job),
            _first_line(job.error or job.result),
        )
    common.console().print(made)


def logs(
    ref: Reference,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job is over.")] = False,
) -> None:
    """Print a job's output: what was kept, and with -f what comes."""
    with options.client() as hero:
        parsed = common.checked_ref(hero, ref)
        if not follow:
            sys.stdout.write(hero.log(parsed))
            if not hero.get(parsed).log:
                print(f"the output of {parsed} isn't kept; submit with --log", file=sys.stderr)
            return
        for output in hero.follow(parsed):
            sys.stdout.write(output)
            sys.stdout.flush()


COMMANDS: dict[str, Any] = {
    "run": run,
    "submit": submit,
    "get": get,
    "wait": wait,
    "list": list_,
    "cancel": cancel,
    "retry": retry,
    "duplicate": duplicate,
    "delete": delete,
    "history": history,
    "logs": logs,
}


def _kind(kind: str | None, file: str | None) -> str:
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


@contextmanager
def hint_if_nobody_works(hero: HeroJobs, job: Job) -> Iterator[None]:
    """Say what the job may wait for if it hasn't started when the block has run for a moment."""

    def look() -> None:
        if hero.get(job).status != "new":
            return
        names = {job.queue.circle, str(job.queue)}
        reason = next((f"{name} is paused (herojobs resume {name})" for name in hero.paused() if name in names), None)
        print(
            f"{job.ref} waits: {reason or 'does a WatchDog run? (herojobs dev, in another terminal)'}", file=sys.stderr
        )

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


def _follow(hero: HeroJobs, ref: Ref, shown: Shown) -> list[threading.Thread]:
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


def _show(job: Job, progress: str = "") -> None:
    out = common.console()
    made = common.table("", "")
    made.show_header = False
    times = {"submitted": job.created_ms, "started": job.started_ms, "ended": job.ended_ms}
    rows = {
        "job": str(job.ref),
        "state": common.status_text(job),
        "kind": job.params_type,
        "timeout": f"{job.timeout} s" if job.timeout else "default",
        "attempts": f"{job.attempts} of {job.most_attempts}" if job.attempts else "",
        "retries": f"{job.retried} of {job.retries or 'the setting'}" if job.retried else "",
        "next try": common.when(job.time_scheduled * 1000) if job.reason == Reason.RETRYING else "",
        **{name: common.when(value) for name, value in times.items()},
        "progress": progress,
        "took": _took(job),
        "tags": ", ".join(job.tags),
        "parent": job.parent,
        "comes after": ", ".join(each.ref for each in job.after),
    }
    for name, value in rows.items():
        if value:
            made.add_row(name, value)
    out.print(made)
    for name, text in (("params", job.params), ("result", job.result), ("error", job.error)):
        if text:
            out.print(f"[bold]{name}[/]")
            print(common.shown(text))


def _took(job: Job) -> str:
    if not (job.started_ms and job.ended_ms):
        return ""
    return f"{(job.ended_ms - job.started_ms) / 1000:.3f} s"


def _first_line(text: str) -> RichText:
    from rich.text import Text

    line = text.strip().partition("\n")[0]
    return Text(common.shown(line if len(line) <= 100 else line[:97] + "..."), no_wrap=True, overflow="ellipsis")
