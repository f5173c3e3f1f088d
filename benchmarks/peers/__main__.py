"""`python -m benchmarks.peers`, or `make bench-peers`: HeroJobs and its peers side by side.

Every round measures each figure for all peers, one after another, in an order that moves on from round to round, so
that what the machine does meanwhile meets all of them.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.peers import report
from benchmarks.peers.environments import CannotInstall, constants, is_installed, names, python_of
from benchmarks.peers.figures import Measure, figures, has, of_drain
from benchmarks.peers.measure import Bench, Failed, bench
from benchmarks.peers.results import FILE, QUICK_FILE, Results, Taken

USUAL = 5.0
"""Seconds that a measurement takes as long as nothing is known of it."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="peers, by comma; HeroJobs is always among them (all)")
    parser.add_argument("--installed", action="store_true", help="only peers whose environments are there")
    parser.add_argument("--figures", default="", help=f"figures, by comma, of {', '.join(figures(1))} (all)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each figure; medians are shown (5)")
    parser.add_argument("--jobs", type=int, default=20_000, help="jobs of a drain, fewer for slow peers (20000)")
    parser.add_argument(
        "--minutes",
        type=float,
        default=0,
        help="begin no further round that wouldn't end within these, and end then (none)",
    )
    parser.add_argument("--resume", action="store_true", help="go on with a run of the same settings")
    parser.add_argument("--write", action="store_true", help="write tables and chart to docs/")
    parser.add_argument("--quick", action="store_true", help="what is installed, once, the main figures, 5,000 jobs")
    options = parser.parse_args()
    if options.quick:
        options.installed, options.rounds, options.jobs, options.figures = True, 1, 5_000, "single,sync,async,trips"
    wanted, asked = set(options.only.split(",")) - {""}, set(options.figures.split(",")) - {""}
    if unknown := wanted - set(names()):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    if unknown := asked - set(figures(1)):
        parser.error(f"no such figure: {', '.join(sorted(unknown))}; there are {', '.join(figures(1))}")
    pythons, missing = _pythons(wanted, options.installed)
    measured = {name: work for name, work in figures(options.jobs).items() if not asked or name in asked}
    settings = {"peers": sorted(pythons), "figures": sorted(measured), "rounds": options.rounds, "jobs": options.jobs}
    results = Results(settings, options.resume, QUICK_FILE if options.quick else FILE)
    if options.installed and not any(constants(name)["PACKAGES"] for name in pythons):
        print(
            "No other queue is installed to be measured beside HeroJobs: `make bench-peers` installs and measures them."
        )
        return
    if options.quick:
        print("HeroJobs beside its peers, in one run:", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with bench() as place, suppress(KeyboardInterrupt):  # what is there by then is told
        _run(place, results, measured, pythons, options.rounds, options.minutes * 60)
    faults = missing | results.faults()
    print(report.text(results.samples(), faults))
    if options.write:
        about = {name: str(constants(name)["about"]) for name in pythons}
        versions = {name: constants(name).get("PACKAGES", []) for name in pythons}
        fewer = {name: count for name in pythons if (count := of_drain(name, options.jobs)) < options.jobs}
        machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
        ran = f"{options.rounds} rounds, {options.jobs:,} jobs a drain, {time.strftime('%Y-%m-%d')}, {machine}"
        report.write(results.samples(), faults, about, versions, fewer, ran)


def _pythons(wanted: set[str], installed: bool) -> tuple[dict[str, Path], dict[str, list[str]]]:
    """Return the interpreters of the peers, and why some have none."""
    pythons: dict[str, Path] = {}
    missing: dict[str, list[str]] = {}
    for name in names():
        if (wanted and name not in wanted and name != "herojobs") or (installed and not is_installed(name)):
            continue
        try:
            pythons[name] = python_of(name)
        except CannotInstall as e:
            missing[name] = [f"not installed: {e}"]
    return pythons, missing


def _run(
    place: Bench, results: Results, measured: dict[str, Measure], pythons: dict[str, Path], rounds: int, limit: float
) -> None:
    """Take what is missing, round by round, and tell how long it will take.

    Args:
        place: where.
        results: where to.
        measured: the figures.
        pythons: the interpreters of the peers.
        rounds: how many.
        limit: seconds to end within: a further round that wouldn't isn't begun; 0 = none.
    """
    began = time.monotonic()
    pairs = [(figure, name) for figure in measured for name in pythons if has(place, pythons[name], name, figure)]

    def missing(number: int) -> list[tuple[str, str]]:
        turned = [pairs[(at + number) % len(pairs)] for at in range(len(pairs))]
        ordered = sorted(turned, key=lambda pair: list(measured).index(pair[0]))
        return [pair for pair in ordered if not results.has(number, *pair)]

    def expected(number: int) -> float:
        return sum(results.lasts(*pair, USUAL) for pair in missing(number))

    _tell(f"{len(pairs)} measurements a round, {rounds} rounds: about {_minutes(sum(map(expected, range(rounds))))}")
    for number in range(rounds):
        left = sum(map(expected, range(number, rounds)))
        spent = time.monotonic() - began
        if limit and number and spent + expected(number) > limit:
            _tell(f"after {_minutes(spent)}: no time for round {number + 1}")
            return
        _tell(f"round {number + 1} after {_minutes(spent)}, about {_minutes(left)} to go")
        for figure, name in missing(number):
            if limit and time.monotonic() - began > limit:
                _tell(f"after {_minutes(limit)}: no time for the rest of round {number + 1}")
                return
            _one(place, results, measured[figure], pythons[name], number, figure, name)


def _one(place: Bench, results: Results, work: Measure, python: Path, number: int, figure: str, name: str) -> None:
    """Measure one figure of one peer, a second time if it failed; both is told."""
    began = time.monotonic()
    fault, values = "", {}
    for _ in range(2):
        try:
            values = dict(work(place, python, name))
            break
        except Failed as e:
            fault = fault or f"{figure}: {e}"
    results.add(Taken(number, figure, name, values, fault, time.monotonic() - began))
    shown = ", ".join(f"{value:,.2f}" for value in values.values()) or fault
    _tell(f"round {number + 1}  {figure:7} {name:13} {shown}")


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} minutes"


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
