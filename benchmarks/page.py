"""The parts of docs/performance.md that benchmarks write, each between two marks of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "performance.md"
RESULTS = Path(__file__).parents[1] / ".bench"
"""Where benchmarks keep what they found, so that they can go on or draw it again."""


def put(part: str, lines: Sequence[str], page: Path = PAGE) -> None:
    """Write a part of the page in the place of what was there; at its end if there was none."""
    begin, end = f"<!-- {part}: made by a benchmark -->", f"<!-- {part}: end -->"
    text = page.read_text("utf-8")
    before, found, rest = text.partition(begin)
    after = rest.partition(end)[2] if found else "\n"
    page.write_text("\n".join([before.rstrip(), "", begin, "", *lines, "", end]) + after, "utf-8")
