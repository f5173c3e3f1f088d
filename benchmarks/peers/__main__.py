"""`python -m benchmarks.peers`, or `make bench-peers`: HeroJobs and its peers side by side.

Every round measures each figure for all peers, one after another, in an order that moves on from round to round, so
that what the machine does meanwhile meets all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from benchmarks.peers import report
from benchmarks.peers.environments import FOLDER, CannotInstall, constants, names, python_of
from benchmarks.peers.measure import Bench, Failed, bench

Samples = dict[str, dict[str, list[float]]]
"""Figures by their name, then by peer."""


def figures(jobs: int) -> dict[str, Callable[[Bench, Path, str], dict[str, float]]]:
    """Return what is measured: each gives one or several named figures."""

    def producer(what: str, count: int, figure: str) -> Callable[[Bench, Path, str], dict[str, float]]:
        def measure(bench: Bench, python: Path, name: str) -> dict[str, float]:
            bench.fresh()
            return {figure: bench.inside(python, name, what, "sync", count)["rate"]}

        return measure

    def drain(kind: str, count: int, figure: str, *, costs: bool) -> Callable[[Bench, Path, str], dict[str, float]]:
        def measure(bench: Bench, python: Path, name: str) -> dict[str, float]:
            drained = bench.drain(python, name, kind, count)
            found = {f"{figure} (jobs/s)": drained.rate}
            if costs:
                found |= {
                    f"{figure}: CPU of the workers (µs a job)": drained.cpu,
                    f"{figure}: CPU of Redis (µs a job)": drained.redis_cpu,
                    f"{figure}: memory of the workers (MB)": drained.memory,
                }
            return found

        return measure

    def trips(bench: Bench, python: Path, name: str) -> dict[str, float]:
        found = bench.trips(python, name, max(50, jobs // 50))
        return {"round trip, p50 (ms)": found["p50"], "round trip, p99 (ms)": found["p99"]}

    return {
        "single": producer("single", max(200, jobs // 10), "submit one by one (jobs/s)"),
        "bulk": producer("bulk", jobs, "submit in bulk (jobs/s)"),
        "sync": drain("sync", jobs, "drain, synchronous", costs=True),
        "async": drain("async", jobs, "drain, asynchronous", costs=True),
        "io": drain("io", max(1000, jobs // 10), "100 ms of waiting, 100 at once", costs=False),
        "cpu": drain("cpu", max(100, jobs // 20), "some ms of computing", costs=False),
        "trips": trips,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="peers, by comma; HeroJobs is always among them (all)")
    parser.add_argument("--figures", default="", help=f"figures, by comma, of {', '.join(figures(1))} (all)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each figure; medians are shown (5)")
    parser.add_argument("--jobs", type=int, default=20_000, help="jobs of a drain (20000)")
    parser.add_argument("--write", action="store_true", help="write table and chart to docs/")
    options = parser.parse_args()
    wanted = set(options.only.split(",")) - {""}
    if unknown := wanted - set(names()):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    measured = {
        name: work
        for name, work in figures(options.jobs).items()
        if not options.figures or name in options.figures.split(",")
    }
    pythons: dict[str, Path] = {}
    faults: dict[str, list[str]] = {}
    for name in names():
        if not wanted or name in wanted or name == "herojobs":
            try:
                pythons[name] = python_of(name)
            except CannotInstall as e:
                faults[name] = [f"not installed: {e}"]
    samples: Samples = {}
    rounds = 0
    with bench() as place, suppress(KeyboardInterrupt):  # what is there by then is told
        for number in range(options.rounds):
            for figure, work in measured.items():
                for name in _turned(list(pythons), number):
                    _one(place, samples, faults, figure, work, pythons[name], name, number)
            rounds += 1
    print(report.text(samples, faults))
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "results.json").write_text(json.dumps({"samples": samples, "faults": faults}, indent=1))
    if options.write:
        about = {name: str(constants(name)["about"]) for name in pythons}
        versions = {name: constants(name).get("PACKAGES", []) for name in pythons}
        machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
        ran = f"{rounds} whole rounds, {options.jobs:,} jobs a drain, {time.strftime('%Y-%m-%d')}, {machine}"
        report.write(samples, faults, about, versions, ran)


def _one(
    place: Bench,
    samples: Samples,
    faults: dict[str, list[str]],
    figure: str,
    work: Callable[[Bench, Path, str], dict[str, float]],
    python: Path,
    name: str,
    number: int,
) -> None:
    """Measure one figure of one peer; what goes wrong is told in the report."""
    try:
        found = work(place, python, name)
    except Failed as e:
        if str(e) not in faults.setdefault(name, []):
            faults[name].append(str(e))
        return
    for title, value in found.items():
        samples.setdefault(title, {}).setdefault(name, []).append(value)
    shown = ", ".join(f"{value:,.1f}" for value in found.values())
    print(f"round {number + 1}  {figure:7} {name:11} {shown}", file=sys.stderr, flush=True)


def _turned(names: list[str], by: int) -> list[str]:
    by %= len(names)
    return names[by:] + names[:by]


if __name__ == "__main__":
    main()
