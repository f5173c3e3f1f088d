"""The one exception of the language."""

from __future__ import annotations

import re

_TOKEN = re.compile(r"'''|\"\"\"|'[^'\n]*'?|\"[^\"\n]*\"?|[^\s]+")

_WIDEST = 160
"""Most characters of a line that are shown."""

CODES = (
    "syntax",
    "no_actions",
    "unknown_actor",
    "unknown_action",
    "unknown_param",
    "missing_param",
    "unexpected_arg",
    "bad_value",
    "failed",
)
"""What `HeroScriptError.code` may be (HeroScript 11)."""


def shortened(text: str, most: int = 60) -> str:
    """Return a text for a message: on one line, cut if it is long."""
    text = text.replace("\n", "\\n")
    return text if len(text) <= most else text[: most - 3] + "..."


class HeroScriptError(Exception):
    """Something is wrong with a script, or one of its actions failed.

    Attributes:
        line: line in the text as submitted, from 1; 0 when there is no text (params made by a program).
        column: column in that line, from 1.
        code: one of `CODES`.
        message: what is wrong and what would be right, without the position.
        path: the file the position is in, for a text that was included or read from a folder; else empty.
        further: how many more problems were found; only the first is told.
        action: `actor.action` when an action failed, else empty.
        result: results of the actions before the failed one, joined by line breaks.
    """

    # Tracebacks name it as programs import it.
    __module__ = "herojobs.heroscript"

    def __init__(
        self,
        line: int,
        column: int,
        code: str,
        message: str,
        *,
        path: str = "",
        further: int = 0,
        action: str = "",
        result: str = "",
    ) -> None:
        super().__init__(line, column, code, message)
        self.line = line
        self.column = column
        self.code = code
        self.message = message
        self.path = path
        self.further = further
        self.action = action
        self.result = result

    def __str__(self) -> str:
        place = f"line {self.line}, column {self.column}: " if self.line else ""
        if self.path:
            place = f"{self.path}, {place}"
        more = f" (and {self.further} more problem{'s' if self.further > 1 else ''})" if self.further else ""
        return f"{place}{self.message}{more}"

    def show(self, source: str) -> str:
        """Return the error with the line it is in and the offending text underlined.

        Args:
            source: the text as submitted.
        """
        lines = source.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if not 1 <= self.line <= len(lines):
            return str(self)
        # Tabs become one space each, so that the mark stands below the text whatever the terminal's tab stops are.
        text = lines[self.line - 1].replace("\t", " ").rstrip()
        start = min(self.column - 1, len(text))
        if len(text) > _WIDEST:
            cut = max(0, start - _WIDEST // 2)
            text, start = text[cut : cut + _WIDEST], start - cut
        found = _TOKEN.match(text, start)
        width = max(1, found.end() - start if found else 1)
        number = str(self.line)
        return f"{self}\n  {number} | {text}\n  {' ' * len(number)} | {' ' * start}{'^' * width}"
