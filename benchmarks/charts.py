"""Charts as SVG, readable on light and on dark pages: curves over powers of ten, and bars."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

COLOURS = ("#c2410c", "#2563eb", "#15803d", "#9333ea", "#b45309", "#0e7490", "#be185d", "#4d7c0f", "#57534e")
DARK_COLOURS = ("#fb923c", "#60a5fa", "#4ade80", "#c084fc", "#fbbf24", "#22d3ee", "#f472b6", "#a3e635", "#a8a29e")
DASHES = ("", "6 3", "2 3")
_LEFT, _TOP, _PLOT_WIDTH, _PLOT_HEIGHT, _RIGHT = 70, 44, 400, 300, 260
_BAR_WIDTH = 420
_APART = 15
"""Pixels between two labels, one below the other."""


class Axis(NamedTuple):
    """What runs along an axis."""

    label: str
    ticks: Sequence[str]


def curves(title: str, x: Axis, y: str, lines: Mapping[str, Sequence[float]]) -> str:
    """Return curves on a logarithmic scale, each labelled at its right end.

    Args:
        title: what is shown.
        x: one tick for each value of a line, at equal distances.
        y: label of the vertical axis, with its unit.
        lines: the values by name, each above 0.
    """
    values = [value for line in lines.values() for value in line]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)) + 1e-9)

    def across(number: int) -> float:
        return _LEFT + _PLOT_WIDTH * number / max(1, len(x.ticks) - 1)

    def down(value: float) -> float:
        return _TOP + _PLOT_HEIGHT * (high - math.log10(value)) / (high - low)

    bottom = _TOP + _PLOT_HEIGHT
    parts = [_text(_LEFT, 22, title, "bold")]
    for power in range(low, high + 1):
        at = down(10.0**power)
        parts.append(f'<path class="grid" d="M{_LEFT} {at:.1f}h{_PLOT_WIDTH}"/>')
        parts.append(_text(_LEFT - 8, at + 4, f"{10.0**power:,.6g}", anchor="end"))
    for number, tick in enumerate(x.ticks):
        parts.append(f'<path class="grid" d="M{across(number):.1f} {_TOP}v{_PLOT_HEIGHT}"/>')
        parts.append(_text(across(number), bottom + 18, tick, anchor="middle"))
    parts.append(_text(_LEFT + _PLOT_WIDTH / 2, bottom + 38, x.label, anchor="middle"))
    middle = _TOP + _PLOT_HEIGHT / 2
    parts.append(f'<text transform="rotate(-90 16 {middle})" x="16" y="{middle}" text-anchor="middle">{y}</text>')
    labels = _spread({name: down(line[-1]) for name, line in lines.items()}, _TOP, bottom)
    for number, (name, line) in enumerate(lines.items()):
        points = " ".join(f"{across(at):.1f},{down(value):.1f}" for at, value in enumerate(line))
        colour, dash = f"c{number % len(COLOURS)}", DASHES[(number + number // len(COLOURS)) % len(DASHES)]
        parts.append(f'<polyline class="line {colour}" points="{points}" stroke-dasharray="{dash}"/>')
        parts += [f'<circle class="dot {colour}" cx="{point[0]}" cy="{point[1]}" r="2.5"/>'
                  for point in (each.split(",") for each in points.split())]  # fmt: skip
        right, at = _LEFT + _PLOT_WIDTH, labels[name]
        parts.append(f'<path class="thin {colour}" d="M{right + 4} {down(line[-1]):.1f}L{right + 16} {at:.1f}"/>')
        parts.append(_text(right + 20, at + 4, name))
    return _page(_LEFT + _PLOT_WIDTH + _RIGHT, bottom + 52, parts)


def bars(groups: Mapping[str, Sequence[tuple[str, float]]], ours: str) -> str:
    """Return bars, a group below the other, each on a scale of its own that begins at 0.

    Args:
        groups: named values in the order they are shown, by the title of the group.
        ours: the name that is told apart.
    """
    parts: list[str] = []
    y = 10.0
    for title, values in groups.items():
        y += 22
        parts.append(_text(10, y, title, "bold"))
        y += 8
        most = max(value for _, value in values)
        for name, value in values:
            width = max(1.0, _BAR_WIDTH * value / most)
            kind = "c0" if name == ours else "other"
            parts += [
                _text(115, y + 12, name, anchor="end"),
                f'<rect class="bar {kind}" x="120" y="{y + 2:g}" width="{width:.1f}" height="12"/>',
                _text(125 + width, y + 12, f"{value:,.2f}" if value < 100 else f"{value:,.0f}"),
            ]
            y += 17
    return _page(640, y + 15, parts)


def _spread(wanted: Mapping[str, float], top: float, bottom: float) -> dict[str, float]:
    """Move labels apart, as little as needed, in the order they come."""
    order = sorted(wanted, key=wanted.__getitem__)
    placed = dict.fromkeys(order, top)
    before = top - _APART
    for name in order:
        before = placed[name] = max(wanted[name], before + _APART)
    after = bottom + _APART
    for name in reversed(order):
        after = placed[name] = min(placed[name], after - _APART)
    return placed


def _text(x: float, y: float, text: str, weight: str = "normal", anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{html.escape(text, quote=False)}</text>"
    )


def _page(width: float, height: float, parts: Sequence[str]) -> str:
    def paint(colours: Sequence[str]) -> str:
        return "".join(
            f".line.c{n},.thin.c{n}{{stroke:{colour}}}.dot.c{n},.bar.c{n}{{fill:{colour}}}"
            for n, colour in enumerate(colours)
        )

    style = (
        "svg{background:#fff}text{fill:#1c1917}.grid{stroke:#e7e5e4}.line,.thin{fill:none}.line{stroke-width:2}"
        f".other{{fill:#94a3b8}}{paint(COLOURS)}"
        "@media(prefers-color-scheme:dark){svg{background:#0d1117}text{fill:#e7e5e4}.grid{stroke:#2b313b}"
        f".other{{fill:#64748b}}{paint(DARK_COLOURS)}}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}"'
        f' height="{height:g}" font-family="sans-serif" font-size="11">\n<style>{style}</style>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )
