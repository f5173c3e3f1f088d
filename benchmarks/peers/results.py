"""What was measured so far, kept in a file after every measurement, so that a run can go on after an interruption."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.page import RESULTS

FILE = RESULTS / "peers.json"
QUICK_FILE = RESULTS / "peers-quick.json"
Samples = dict[str, dict[str, list[float]]]
"""Figures by their title, then by peer."""


class Taken(NamedTuple):
    """One measurement.

    Attributes:
        number: of the round, from 0.
        figure: its short name.
        peer: whose.
        values: what it gave, by title; empty if it failed.
        fault: why it failed the first time, if it did.
        seconds: how long it took altogether.
    """

    number: int
    figure: str
    peer: str
    values: dict[str, float]
    fault: str
    seconds: float


class Results:
    """The measurements of a run.

    Args:
        settings: what it was asked to do; only a run of the same settings goes on.
        resume: go on with what the file has.
        file: where they are kept.
    """

    def __init__(self, settings: dict[str, Any], resume: bool, file: Path = FILE) -> None:
        self._file = file
        self._settings = settings
        before = json.loads(file.read_text()) if file.exists() else {}
        earlier = [Taken(*each) for each in before.get("taken", [])]
        alike = earlier if before.get("settings", {}).get("jobs") == settings["jobs"] else []
        self._lasted = {(each.figure, each.peer): each.seconds for each in alike}
        self.taken = earlier if resume and before.get("settings") == settings else []

    def add(self, taken: Taken) -> None:
        """Keep a measurement."""
        self.taken.append(taken)
        self._lasted[taken.figure, taken.peer] = taken.seconds
        self._file.parent.mkdir(exist_ok=True)
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps({"settings": self._settings, "taken": self.taken}, indent=0))
        os.replace(new, self._file)

    def has(self, number: int, figure: str, peer: str) -> bool:
        """Return whether a measurement was taken."""
        return any((each.number, each.figure, each.peer) == (number, figure, peer) for each in self.taken)

    def lasts(self, figure: str, peer: str, otherwise: float) -> float:
        """Return how many seconds a measurement takes, by the last one of its kind."""
        seconds: float = self._lasted.get((figure, peer), otherwise)
        return seconds

    def samples(self) -> Samples:
        """Return the figures."""
        found: Samples = {}
        for each in self.taken:
            for title, value in each.values.items():
                found.setdefault(title, {}).setdefault(each.peer, []).append(value)
        return found

    def faults(self) -> dict[str, list[str]]:
        """Return what went wrong, by peer."""
        found: dict[str, list[str]] = {}
        for each in self.taken:
            if each.fault:
                what = "measured again" if each.values else "not measured"
                text = f"round {each.number + 1}, {each.fault}; {what}"
                found.setdefault(each.peer, []).append(text)
        return found
