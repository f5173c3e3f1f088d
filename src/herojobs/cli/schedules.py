"""Commands about schedules: add, list, show, pause, resume, run, remove."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from herojobs.cli import common
from herojobs.cli.common import Json, options
from herojobs.cli.submitting import (
    CircleOr,
    File,
    Keep,
    Kind,
    MaxAttempts,
    Priority,
    Tags,
    Text,
    Timeout,
    TopicOr,
    content,
    kind_of,
)
from herojobs.job import DEFAULT_MAX_ATTEMPTS, Job

if TYPE_CHECKING:
    from herojobs.schedules import Schedule

app = typer.Typer(help="Jobs that are made again and again.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule.")]
InCircle = Annotated[
    str | None, typer.Option("--circle", "-c", help="Its circle; needed only if several have a schedule of this name.")
]
Next = Annotated[int, typer.Option("--next", "-n", min=1, max=1000, help="How many of the next runs to show.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits, '.', '_' and '-'.")],
    when: Annotated[str, typer.Argument(metavar="WHEN", help="'*/5 * * * *', @daily, '@every 90s' ...")],
    file: File = None,
    text: Text = None,
    kind: Kind = None,
    circle: CircleOr = "default",
    topic: TopicOr = "default",
    tz: Annotated[str, typer.Option(help="Time zone of WHEN, like Europe/Paris.")] = "UTC",
    missed: Annotated[str, typer.Option(help="Runs missed while no WatchDog ran: skip, once or all.")] = "once",
    no_overlap: Annotated[
        bool, typer.Option("--no-overlap", help="Pass over a run while the job of an earlier one isn't over.")
    ] = False,
    timeout: Timeout = 0,
    priority: Priority = 0,
    max_attempts: MaxAttempts = None,
    log: Keep = False,
    tag: Tags = None,
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of one of the same name.")] = False,
    json: Json = False,
) -> None:
    """Have a job made whenever WHEN says, and print the next runs."""
    job = Job(
        params=content(file, text),
        params_type=kind_of(kind, file),
        circle_id=circle,
        topic=topic,
        timeout=timeout,
        priority=priority,
        max_attempts=DEFAULT_MAX_ATTEMPTS if max_attempts is None else max_attempts,
        log=log,
        tags=tag or [],
        unique_key=f"schedule:{name}" if no_overlap else "",
    )
    with options.client() as hero:
        schedule = hero.schedules.add(name, when, job, tz=tz, missed=missed, replace=replace)
    if json:
        common.print_json(_fields(schedule, 3))
        return
    print(f"schedule {schedule.name} of circle {schedule.circle}; its next runs ({schedule.tz}):")
    _print_runs(schedule, 3)


@app.command("list")
def list_(circle: common.Circle = None, json: Json = False) -> None:
    """List the schedules with their next and latest run."""
    with options.client() as hero:
        found = hero.schedules.list(circle)
    if json:
        common.print_json([_fields(each, 1) for each in found])
        return
    made = common.table("circle", "name", "when", "zone", "state", "next run", "latest job")
    for each in found:
        made.add_row(
            each.circle,
            each.name,
            each.when,
            each.tz,
            _state(each),
            "" if each.paused else _moment(each, each.next_ms),
            each.last_ref,
        )
    common.console().print(made if found else "no schedules yet; `herojobs schedule add` makes one")


@app.command()
def show(name: Name, circle: InCircle = None, count: Next = 5, json: Json = False) -> None:
    """Show a schedule and its next runs."""
    with options.client() as hero:
        schedule = hero.schedules.get(name, circle)
    if json:
        common.print_json(_fields(schedule, count))
        return
    rows = {
        "schedule": schedule.name,
        "circle": schedule.circle,
        "topic": schedule.job.topic,
        "when": schedule.when,
        "zone": schedule.tz,
        "missed runs": schedule.missed.value,
        "state": _state(schedule),
        "jobs made": f"{schedule.made:,}" + (f", {schedule.skipped:,} runs skipped" if schedule.skipped else ""),
        "latest run": _moment(schedule, schedule.last_ms) if schedule.last_ms else "",
        "latest job": schedule.last_ref,
        "kind": schedule.job.params_type,
    }
    made = common.table("", "")
    made.show_header = False
    for key, value in rows.items():
        if value:
            made.add_row(key, value)
    out = common.console()
    out.print(made)
    out.print("[bold]params[/]")
    print(common.shown(schedule.job.params))
    out.print("[bold]next runs[/]" + (" once it is resumed" if schedule.paused else ""))
    _print_runs(schedule, count)


@app.command()
def pause(name: Name, circle: InCircle = None, json: Json = False) -> None:
    """Make no jobs until it is resumed."""
    with options.client() as hero:
        schedule = hero.schedules.pause(name, circle)
    _tell(schedule, f"schedule {schedule.name} is paused", json)


@app.command()
def resume(name: Name, circle: InCircle = None, json: Json = False) -> None:
    """Make jobs again, from the next run on; those of the pause aren't made up for."""
    with options.client() as hero:
        schedule = hero.schedules.resume(name, circle)
    _tell(schedule, f"schedule {schedule.name} runs next at {_moment(schedule, schedule.next_ms)}", json)


@app.command()
def run(name: Name, circle: InCircle = None, json: Json = False) -> None:
    """Submit its job now, beside its regular runs, and print the job's reference."""
    with options.client() as hero:
        job = hero.schedules.run(name, circle)
    if json:
        common.print_json(job)
    else:
        print(job.ref)


@app.command()
def remove(name: Name, circle: InCircle = None, json: Json = False) -> None:
    """Remove a schedule; the jobs that it has made stay."""
    with options.client() as hero:
        schedule = hero.schedules.remove(name, circle)
    _tell(schedule, f"schedule {schedule.name} is removed", json)


def _tell(schedule: Schedule, text: str, json: bool) -> None:
    if json:
        common.print_json(_fields(schedule, 1))
    else:
        print(text)


def _print_runs(schedule: Schedule, count: int) -> None:
    for tick in schedule.upcoming(count):
        print(f"  {_moment(schedule, tick)}")


def _state(schedule: Schedule) -> str:
    if schedule.paused:
        return "paused"
    return f"failing: {schedule.error}" if schedule.error else "on"


def _moment(schedule: Schedule, ms: int) -> str:
    """Return a tick as the schedule's own zone has it, with the offset, which tells summer from winter."""
    return schedule.timetable.local(ms).strftime("%a %Y-%m-%d %H:%M:%S %z")


def _fields(schedule: Schedule, runs: int) -> dict[str, Any]:
    fields: dict[str, Any] = common.masked(schedule)
    del fields["id"], fields["taken_ms"]
    fields["next_runs"] = schedule.upcoming(runs)
    return fields
