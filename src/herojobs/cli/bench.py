"""`herojobs bench`: how fast this machine is with HeroJobs."""

from __future__ import annotations

import os
import platform
from typing import Annotated, Any

import typer

from herojobs.cli import common
from herojobs.cli.common import Json


def bench(
    runs: Annotated[int, typer.Option(min=1, help="Runs of each figure; the median is shown.")] = 3,
    jobs: Annotated[int, typer.Option(min=10, help="Jobs of a drain.")] = 20_000,
    json: Json = False,
) -> None:
    """Measure submissions, drains, round trips and OurDB here, in a home of its own; takes a minute or two."""
    from herojobs.bench import measure

    with common.working("measuring") as status:
        figures = measure(runs, jobs, lambda number: status.update(f"measuring, run {number} of {runs}"))
    if json:
        common.print_json([figure._asdict() for figure in figures])
        return
    found = common.table("figure", "median", "lowest", "highest")
    for name, *values in figures:
        found.add_row(name, *(f"{value:,.2f}" if value < 100 else f"{value:,.0f}" for value in values))
    out = common.console()
    out.print(f"HeroJobs on {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    out.print(found)


COMMANDS: dict[str, Any] = {"bench": bench}
