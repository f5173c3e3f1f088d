"""Commands that look after jobs: get, wait, list, cancel, retry, duplicate, delete, history, logs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from herojobs.cli import common, following, times
from herojobs.cli.common import Circle, Json, Reference, Topic, options
from herojobs.errors import InvalidJob, JobConflict, did_you_mean
from herojobs.job import Job, Reason, known_kinds

if TYPE_CHECKING:
    from rich.text import Text as RichText


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
        shown = following.Shown()
        followers = following.follow(hero, parsed, shown) if follow else []
        job = hero.wait(parsed, timeout)
        for follower in followers:
            follower.join(1)
    following.print_outcome(job, json, shown)


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
