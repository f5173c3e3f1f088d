"""How long something takes, and what a series of such figures is."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

ROUNDS = 9


class Grown(NamedTuple):
    """What every step costs as something grows.

    Attributes:
        what: what grows.
        counts: how much of it there was.
        steps: CPU microseconds of each step, one for each count.
    """

    what: str
    counts: list[int]
    steps: dict[str, list[float]]


def by_step(rows: Sequence[dict[str, float]]) -> dict[str, list[float]]:
    """Return rows of figures by name, one row a count, as a list for each name."""
    return {name: [row[name] for row in rows] for name in rows[0]}


def powers(first: int, most: int) -> list[int]:
    """Return the powers of ten from one number to another."""
    found = [first]
    while found[-1] * 10 <= most:
        found.append(found[-1] * 10)
    return found


def best(
    action: Callable[[], object],
    each: int = 1,
    between: Callable[[], object] = lambda: None,
    seconds: float = 0.0,
    clock: Callable[[], float] = time.process_time,
) -> float:
    """Return microseconds of CPU for one of `each` things that an action does: the best of several rounds.

    CPU time, since on a machine that does other things, too, the time that passes tells of those.

    Args:
        action: what is timed.
        each: how many things it does.
        between: what is done before every further round, untimed.
        seconds: how long rounds go on at least.
        clock: gives the CPU seconds that were used.
    """
    times: list[float] = []
    until = time.perf_counter() + seconds
    while len(times) < ROUNDS or time.perf_counter() < until:
        if times:
            between()
        begun = clock()
        action()
        times.append(clock() - begun)
    return min(times) / each * 1e6
