"""The one exception of this package, made by the native module."""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False  # importing typing for this would take most of the package's import time
if TYPE_CHECKING:
    from typing import Any


class Frame(namedtuple("Frame", ("function", "source", "line", "column"))):
    """One call that led to an error.

    Attributes:
        function (str): Name of the function, "closure", or "module PATH" for an import.
        source (str): Module that the call is in, "" for the script itself.
        line (int | None): Line of the call, from 1; None where Rhai doesn't tell.
        column (int | None): Column of the call in characters, from 1.
    """

    __slots__ = ()


class RhaiError(Exception):
    """A script that doesn't parse, failed, or was ended.

    As text it reads like ``script:3:9: Variable not found: x``, then the line with a caret, then a line
    for each call that led there.

    Attributes:
        kind: Rhai's error variant in snake case (``parsing``, ``variable_not_found``, ``runtime``,
            ``stack_overflow`` and so on), or ``terminated``, ``memory``, ``panic``, ``conversion``.
        message: What went wrong, without the place.
        line: Line in ``source``, from 1; None where there is none.
        column: Column in characters, from 1.
        source: Module that it happened in, "" for the script itself.
        value: What was thrown by ``throw``, as Python's value.
        frames: The calls that led there, outermost first.
        reason: What ``Run.stop`` was given, "timeout" after a deadline, else "".
    """

    def __init__(
        self,
        text: str,
        kind: str = "runtime",
        message: str = "",
        line: int | None = None,
        column: int | None = None,
        source: str = "",
        value: Any = None,
        frames: tuple[Frame, ...] = (),
        reason: str = "",
    ) -> None:
        # All of them as args, so that the error can be pickled.
        super().__init__(text, kind, message, line, column, source, value, frames, reason)
        self.kind = kind
        self.message = message or text
        self.line = line
        self.column = column
        self.source = source
        self.value = value
        self.frames = frames
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[0])
