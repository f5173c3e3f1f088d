"""The command about jobs that come after others."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from herojobs.cli import common
from herojobs.cli.common import Json, Reference, options


def flow(
    ref: Reference,
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel all of them that aren't over.")] = False,
    json: Json = False,
) -> None:
    """Show all jobs that hang together with one, by what they come after."""
    with options.client() as hero:
        parsed = common.checked_ref(hero, ref)
        cancelled = hero.cancel_flow(parsed) if cancel else []
        found = hero.flow(parsed)
    if json:
        common.print_json({"cancelled": [str(job.ref) for job in cancelled], "jobs": found} if cancel else found)
        return
    made = common.table("job", "state", "comes after", "outcome")
    for job in found:
        before = ", ".join(
            each.ref + (f" ({each.on_failure})" if each.on_failure != "cancel" else "") for each in job.after
        )
        made.add_row(
            str(job.ref), common.status_text(job), before, common.shown((job.error or job.result).partition("\n")[0])
        )
    common.console().print(made)
    if cancel:
        print(f"{len(cancelled)} cancelled")


COMMANDS: dict[str, Any] = {"flow": flow}
