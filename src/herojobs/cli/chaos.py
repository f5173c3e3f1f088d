"""`herojobs chaos`: kill, stop, wipe and fill, and see whether every job still ends, once."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from herojobs.cli import common
from herojobs.cli.common import Json

Faults = Annotated[
    list[str] | None,
    typer.Option("--fault", "-f", help="A kind of fault (all); repeatable; `none`, or -KIND to leave one out."),
]


def chaos(
    jobs: Annotated[int, typer.Option(min=1, help="Jobs to submit.")] = 2000,
    fault: Faults = None,
    seed: Annotated[int, typer.Option(help="For all choices.")] = 1,
    rate: Annotated[float, typer.Option(min=1, help="Jobs a second.")] = 200,
    seconds: Annotated[
        float,
        typer.Option(min=0.0001, help="How long blocking jobs run, on average; asynchronous ones ten times that."),
    ] = 0.01,
    every: Annotated[float, typer.Option(min=0, help="Seconds from one fault to the next.")] = 1,
    lease: Annotated[float, typer.Option(min=1, help="The WatchDogs' setting, in seconds.")] = 2,
    watchdogs: Annotated[int, typer.Option(min=1, help="WatchDogs.")] = 2,
    workers: Annotated[int, typer.Option(min=1, help="Exclusive workers of each WatchDog.")] = 2,
    producers: Annotated[int, typer.Option(min=1, help="Processes that submit.")] = 2,
    schedules: Annotated[int, typer.Option(min=0, help="Schedules that tick meanwhile, most every second.")] = 3,
    hangs: Annotated[int, typer.Option(min=0, help="One in so many jobs never ends by itself; 0: none.")] = 200,
    second_starts: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of jobs that may start again though no fault cut them off."),
    ] = 0.005,
    keep: Annotated[Path | None, typer.Option(help="A new folder for the logs, which stay.")] = None,
    json: Json = False,
) -> None:
    """Do faults to a HeroJobs of its own, with its own Redis; ends with 1 if a promise broke or a time wasn't kept.

    Kinds: worker-kill, worker-pause, watchdog-kill, watchdog-pause, producer-kill, redis-kill, redis-wipe,
    redis-slow, redis-hang, redis-away, disk-full, clock-jump, torn-files.
    """
    from herojobs.chaos.run import choose, run
    from herojobs.chaos.stage import Plan

    plan = Plan(
        jobs=jobs,
        rate=rate,
        seconds=seconds,
        hang_every=hangs,
        watchdogs=watchdogs,
        workers=workers,
        producers=producers,
        schedules=schedules,
        lease=lease,
        faults=choose(fault or []),
        every=every,
        second_starts=second_starts,
        seed=seed,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end what was started, as after Ctrl-C
    with common.working("starting ...") as status:
        verdict = run(plan, keep, status.update if sys.stderr.isatty() else lambda _: None)
    if json:
        common.print_json(verdict)
    else:
        out = common.console()
        table = common.table("what", "found")
        for what, found in rows(verdict):
            table.add_row(what, found)
        out.print(table)
        faults = ", ".join(f"{count} {name}" for name, count in sorted(verdict.faults.items()))
        out.print(f"faults: {faults or 'none'}")
        for promise in verdict.broken:
            out.print(f"[red]broken[/]  {promise}")
        for time in verdict.late:
            out.print(f"[yellow]late[/]    {time}")
    if verdict.broken or verdict.late:
        raise typer.Exit(common.JOB_FAILED)


def rows(verdict: Any) -> list[tuple[str, str]]:
    """Return a verdict as lines of a table."""

    def times(spread: Any) -> str:
        if not spread.tries:
            return "-"
        return f"p50 {spread.p50:.2f} s, p99 {spread.p99:.2f} s, most {spread.most:.2f} s ({spread.tries:,})"

    def share(count: int) -> str:
        return f"{count:,} ({count / max(1, verdict.jobs):.2%})"

    return [
        ("jobs", f"{verdict.jobs:,} in {verdict.seconds:.0f} s, seed {verdict.seed}"),
        ("lost", f"{len(verdict.lost):,}"),
        ("wrong ends", f"{sum(verdict.wrong_ends.values()):,}"),
        ("second finishes accepted", f"{verdict.second_finishes:,}"),
        ("ends without a start", f"{len(verdict.groundless):,}"),
        (
            "ticks without a job, with two",
            f"{len(verdict.ticks_missed):,}, {len(verdict.ticks_doubled):,} of {verdict.ticks:,}",
        ),
        ("second starts of jobs that faults cut off", share(verdict.interrupted)),
        ("other second starts", share(verdict.second_starts - verdict.interrupted)),
        ("runs again after a WatchDog's SIGKILL", times(verdict.rescue_watchdog)),
        ("runs again after a worker's SIGKILL", times(verdict.rescue_worker)),
        ("ended over its timeout", times(verdict.overrun)),
        ("WatchDogs started again", f"{verdict.revived:,}"),
        ("keys left in Redis", f"{verdict.keys_left:,}"),
        ("processes left", f"{verdict.processes_left:,}"),
    ]


COMMANDS: dict[str, Any] = {"chaos": chaos}
