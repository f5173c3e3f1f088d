"""`herojobs prune`: delete jobs that have been over for long."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from herojobs.cli import common, times
from herojobs.cli.common import Circle, Json, Topic, options


def prune(
    circle: Circle = None,
    topic: Topic = None,
    older_than: Annotated[
        str | None,
        typer.Option(metavar="SPAN", help="Jobs over for longer than this, like 12h or 30d; else as the settings say."),
    ] = None,
    status: Annotated[str | None, typer.Option(help="Only jobs that ended like this: done or error.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and delete nothing.")] = False,
    json: Json = False,
) -> None:
    """Delete jobs that have been over for long, with their history and logs, and give the disk back.

    Without --older-than the settings retention, circle_retention and those of logs tell what is deleted.
    """
    seconds = None if older_than is None else times.span(older_than, "older-than")
    with options.client() as hero:
        common.check_names(hero, circle, topic)
        if seconds is None and not hero.is_remote and not hero.settings.has_retention:
            common.fail("no retention is set: give --older-than, or set HEROJOBS_RETENTION (days)", common.USAGE)
        with common.working("pruning ..."):
            done = hero.prune(circle_id=circle, topic=topic, older_than=seconds, status=status, dry_run=dry_run)
    if json:
        common.print_json({**done._asdict(), "dry_run": dry_run})
        return
    verb = "would be" if dry_run else "were"
    print(f"{done.jobs:,} jobs {verb} deleted" + (f", and {done.logs:,} logs of others" if done.logs else ""))
    if done.compacted:
        print(f"{done.compacted:,} databases were compacted")


COMMANDS: dict[str, Any] = {"prune": prune}
