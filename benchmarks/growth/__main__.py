"""What a job costs as history, topics and queue grow: `python -m benchmarks.growth`.

The same steps are timed with a thousand jobs in one topic's history, ten thousand, and so on; then with a job in each
of ever more topics; then with ever more jobs queued in Redis. Each figure is CPU time, the
best of several rounds. Ten million jobs in history need 6 GB of disk for a while.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from benchmarks import page
from benchmarks.charts import Axis, curves
from benchmarks.growth import history, queued, topics
from benchmarks.growth.timing import Grown

KEPT = page.RESULTS / "growth.json"


def kept() -> dict[str, Grown]:
    """Return what was measured before."""
    return {name: Grown(*each) for name, each in json.loads(KEPT.read_text()).items()} if KEPT.exists() else {}


def table(grown: Grown) -> list[str]:
    """Return a table in Markdown."""
    lines = [
        f"| {grown.what} |" + "".join(f" {count:,} |" for count in grown.counts),
        "|---|" + "---:|" * len(grown.counts),
    ]
    for step, figures in grown.steps.items():
        shown = _bytes if step == queued.MEMORY else _time
        lines.append(f"| {step} |" + "".join(f" {shown(figure)} |" for figure in figures))
    return lines


def charts(grown: Grown) -> dict[str, str]:
    """Return charts by file name."""
    name = grown.what.split()[0] if grown.what != "jobs in history" else "history"
    ticks = Axis(grown.what, [f"{count:,}" for count in grown.counts])
    times = {step: line for step, line in grown.steps.items() if step != queued.MEMORY}
    found = {f"growth-{name}.svg": curves(f"Cost as {grown.what} grow", ticks, "µs of CPU, logarithmic", times)}
    if queued.MEMORY in grown.steps:
        memory = {"a queued job": grown.steps[queued.MEMORY]}
        found["growth-memory.svg"] = curves("Redis memory of a queued job", ticks, "bytes", memory)
    return found


def write(found: dict[str, Grown]) -> None:
    """Put tables and charts into the documentation."""
    lines = []
    for grown in found.values():
        for name, drawn in charts(grown).items():
            (page.DOCS / name).write_text(drawn, "utf-8")
            lines += [f"![Cost as {grown.what} grow]({name})", ""]
        lines += [*table(grown), ""]
    page.put("growth", lines[:-1])


def _time(microseconds: float) -> str:
    return f"{microseconds:.3g} µs" if microseconds < 1_000 else f"{microseconds / 1_000:.3g} ms"


def _bytes(count: float) -> str:
    return f"{count:,.0f} B"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--history", type=int, default=1_000_000, help="most jobs in history (1000000), 0 = left out")
    parser.add_argument("--topics", type=int, default=1_000, help="most topics (1000), 0 = left out")
    parser.add_argument("--queued", type=int, default=100_000, help="most queued jobs (100000), 0 = left out")
    parser.add_argument("--write", action="store_true", help="write tables and charts to docs/; what is left out stays")
    options = parser.parse_args()
    for name, most in (("history", options.history), ("topics", options.topics), ("queued", options.queued)):
        if not most:
            continue
        began = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="hj") as folder:
            home = Path(folder)
            if name == "queued":
                grown = queued.measure(most)
            else:
                grown = (history if name == "history" else topics).measure(home, most)
        print("\n".join([*table(grown), f"\n{time.perf_counter() - began:.0f} s\n"]), flush=True)
        KEPT.parent.mkdir(exist_ok=True)
        KEPT.write_text(json.dumps(kept() | {name: grown}))
    if options.write:
        before = kept()
        write({name: before[name] for name in ("history", "topics", "queued") if name in before})


if __name__ == "__main__":
    main()
