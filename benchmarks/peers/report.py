"""What the comparison found: a table for the terminal, and table and chart for docs/performance.md."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from benchmarks import page
from benchmarks.charts import bars

CHART = page.DOCS / "peers.svg"
_CHARTED = (
    "submit one by one (jobs/s)",
    "submit in bulk (jobs/s)",
    "drain, synchronous (jobs/s)",
    "drain, asynchronous (jobs/s)",
    "100 ms of waiting, 100 at once (jobs/s)",
    "some ms of computing (jobs/s)",
    "round trip, p50 (ms)",
)

Samples = Mapping[str, Mapping[str, list[float]]]


def text(samples: Samples, faults: Mapping[str, list[str]]) -> str:
    """Return the figures as lines: median, range and how many times HeroJobs' own."""
    lines = []
    for figure, by_peer in samples.items():
        lines.append(f"\n{figure}")
        ours = by_peer.get("herojobs")
        for name, values in _sorted(figure, by_peer):
            ratio = f"{statistics.median(values) / statistics.median(ours):6.2f} x" if ours else ""
            lines.append(f"  {name:12}{_span(values):>32} {ratio}")
    for name, texts in faults.items():
        lines += [f"{name}: {each}" for each in texts]
    return "\n".join(lines)


def write(
    samples: Samples,
    faults: Mapping[str, list[str]],
    about: Mapping[str, str],
    versions: Mapping[str, object],
    fewer: Mapping[str, int],
    ran: str,
) -> None:
    """Put table and chart into the documentation, in the place of what was there before.

    Args:
        samples: figures by title, then by peer.
        faults: what couldn't be measured, by peer.
        about: how each peer was run.
        versions: its packages.
        fewer: jobs of a drain, of those peers that ran fewer than the others.
        ran: what was run, when and where.
    """
    lines = [f"Median (lowest to highest) of {ran}."]
    if fewer:
        counts = ", ".join(f"{name} {count:,}" for name, count in fewer.items())
        lines += ["", f"Slow peers drained fewer jobs: {counts}."]
    lines += ["", "![Rates and round trips, side by side](peers.svg)", ""]
    peers = list(about)
    for figure, by_peer in samples.items():
        lines += [f"**{figure}**", "", "| | median | range | x HeroJobs |", "|---|---:|---:|---:|"]
        ours = by_peer.get("herojobs", [])
        for name, values in _sorted(figure, by_peer):
            ratio = f"{statistics.median(values) / statistics.median(ours):.2f}" if ours else ""
            lines.append(
                f"| {name} | {_number(statistics.median(values))} | {_number(min(values))} to {_number(max(values))}"
                f" | {ratio} |"
            )
        lines.append("")
    lines += ["Settings, as each one's documentation advises for speed:", ""]
    for name in peers:
        packages = versions.get(name) or []
        assert isinstance(packages, list)
        lines.append(f"- {about[name]}" + (f" ({', '.join(packages)})" if packages else ""))
    if faults:
        lines += ["", "What couldn't be measured:", ""]
        lines += [f"- {name}: {each}" for name, texts in faults.items() for each in texts]
    page.put("peers", lines)
    CHART.write_text(chart(samples), "utf-8")


def chart(samples: Samples) -> str:
    """Return bars of the rates and of the round trip, a group for each figure, as SVG."""
    groups = {
        figure: [(name, statistics.median(values)) for name, values in _sorted(figure, samples[figure])]
        for figure in _CHARTED
        if figure in samples
    }
    return bars(groups, "herojobs")


def _sorted(figure: str, by_peer: Mapping[str, list[float]]) -> list[tuple[str, list[float]]]:
    """Return the peers, the best one first: rates are better high, costs and times low."""
    return sorted(by_peer.items(), key=lambda item: statistics.median(item[1]), reverse="jobs/s" in figure)


def _span(values: list[float]) -> str:
    return f"{_number(statistics.median(values))} ({_number(min(values))} to {_number(max(values))})"


def _number(value: float) -> str:
    return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"
