"""What a running action may ask of whoever runs it."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from herojobs.heroscript.injected import Injected

_logger = logging.getLogger("herojobs.heroscript")


class Context(Injected):
    """Given to every action that has a parameter annotated with this class or a subclass of it.

    This one serves a script that runs by itself, in a test or a program. Whoever runs scripts for others makes a
    subclass that reports to them.

    Attributes:
        extra: what the runner tells besides, by name.
        results: texts of the actions that have finished, in order; set when the script starts.
    """

    def __init__(self, extra: Mapping[str, object] | None = None) -> None:
        self.extra: Mapping[str, object] = extra or {}
        self.results: list[str] = []

    def log(self, message: str, level: str = "info") -> None:
        """Tell something that happened.

        Args:
            message: one line or more.
            level: `debug`, `info`, `warning` or `error`.
        """
        _logger.log(logging.getLevelNamesMapping().get(level.upper(), logging.INFO), "%s", message)

    def progress(self, done: float, total: float = 1.0, message: str = "") -> None:
        """Tell how far the action is.

        Args:
            done: what is done, in the unit of `total`.
            total: what there is to do.
            message: what is being done.
        """

    @property
    def cancelled(self) -> bool:
        """Whether the script was asked to stop; a long action looks now and then."""
        return False

    def checkpoint(self) -> None:
        """Called between two actions; raises whatever ends the script if it was asked to stop."""
