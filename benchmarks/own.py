"""HeroJobs' own figures for docs/performance.md: `python -m benchmarks.own --write`; `herojobs bench` has the same."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time

from benchmarks import page
from herojobs.bench import measure


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.own", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="runs of each figure; medians are shown (5)")
    parser.add_argument("--jobs", type=int, default=20_000, help="jobs of a drain (20000)")
    parser.add_argument("--write", action="store_true", help="write the table to docs/")
    options = parser.parse_args()
    figures = measure(options.runs, options.jobs, lambda number: print(f"run {number}", file=sys.stderr, flush=True))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    lines = [
        f"Medians of {options.runs} runs, {options.jobs:,} jobs a drain, {time.strftime('%Y-%m-%d')}, {machine}.",
        "",
        "| figure | median | lowest | highest |",
        "|---|---:|---:|---:|",
    ]
    for name, *values in figures:
        shown = " | ".join(f"{value:,.2f}" if value < 100 else f"{value:,.0f}" for value in values)
        lines.append(f"| {name.strip()} | {shown} |")
    print("\n".join(lines))
    if options.write:
        page.put("own", lines)


if __name__ == "__main__":
    main()
