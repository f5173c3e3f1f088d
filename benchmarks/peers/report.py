"""What the comparison found: a table for the terminal, and table and chart for docs/performance.md."""

from __future__ import annotations

import html
import statistics
from collections.abc import Mapping

from benchmarks.peers.environments import ROOT

BEGIN, END = "<!-- peers: made by `make bench-peers` -->", "<!-- peers: end -->"
CHART = ROOT / "docs" / "peers.svg"
PAGE = ROOT / "docs" / "performance.md"
_CHARTED = (
    "submit one by one (jobs/s)",
    "submit in bulk (jobs/s)",
    "drain, synchronous (jobs/s)",
    "drain, asynchronous (jobs/s)",
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
    ran: str,
) -> None:
    """Put table and chart into the documentation, in the place of what was there before."""
    lines = [BEGIN, "", f"Median (lowest to highest) of {ran}.", "", "![chart](peers.svg)", ""]
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
    lines += ["", END]
    page = PAGE.read_text("utf-8")
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2] if rest else "\n"
    PAGE.write_text(before.rstrip() + "\n\n" + "\n".join(lines) + after, "utf-8")
    CHART.write_text(chart(samples), "utf-8")


def chart(samples: Samples) -> str:
    """Return bars of the rates, a group for each figure, as SVG."""
    rows: list[str] = []
    y = 10
    for figure in _CHARTED:
        if figure not in samples:
            continue
        y += 22
        rows.append(f'<text x="10" y="{y}" font-weight="bold">{html.escape(figure)}</text>')
        y += 8
        ordered = _sorted(figure, samples[figure])
        most = max(statistics.median(values) for _, values in ordered)
        for name, values in ordered:
            middle = statistics.median(values)
            width = max(1.0, 420 * middle / most)
            colour = "#c2410c" if name == "herojobs" else "#64748b"
            rows += [
                f'<text x="95" y="{y + 12}" text-anchor="end">{html.escape(name)}</text>',
                f'<rect x="100" y="{y + 2}" width="{width:.1f}" height="12" fill="{colour}"/>',
                f'<text x="{105 + width:.1f}" y="{y + 12}">{_number(middle)}</text>',
            ]
            y += 17
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="620" height="{y + 15}"'
        ' font-family="sans-serif" font-size="11">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(rows) + "\n</svg>\n"
    )


def _sorted(figure: str, by_peer: Mapping[str, list[float]]) -> list[tuple[str, list[float]]]:
    """Return the peers, the best one first: rates are better high, costs and times low."""
    return sorted(by_peer.items(), key=lambda item: statistics.median(item[1]), reverse="jobs/s" in figure)


def _span(values: list[float]) -> str:
    return f"{_number(statistics.median(values))} ({_number(min(values))} to {_number(max(values))})"


def _number(value: float) -> str:
    return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"
