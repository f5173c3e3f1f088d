"""The text of a script: made uniform before it is read, and where a position is in the text as submitted."""

from __future__ import annotations

import re
from bisect import bisect_right

from herojobs.heroscript.errors import HeroScriptError

MAX_SIZE = 16 * 1024 * 1024
"""Longest script in bytes unless the caller says otherwise."""

SPACE = " \t\n"
"""The language's white space; any other character, however invisible, is text."""

_MARGIN = re.compile(r"^([ \t]*+)(?=[^ \t\n])", re.MULTILINE)


def width(indent: str) -> int:
    """Return the columns of leading white space; a tab counts as four (HeroScript 2)."""
    return len(indent) + 3 * indent.count("\t")


def dedent(lines: list[str]) -> list[str]:
    """Return the lines without their common indentation; leading tabs become four spaces each."""
    wide = []
    common = -1
    for line in lines:
        rest = line.lstrip(" \t")
        indent = line[: len(line) - len(rest)].replace("\t", "    ")
        if rest and (common < 0 or len(indent) < common):
            common = len(indent)
        wide.append(indent + rest)
    return [line[common:] for line in wide] if common > 0 else wide


class Source:
    """A text that is parsed. Positions are indexes into `text`; `locate` gives line and column as submitted.

    Args:
        text: the text as submitted.
        path: the file it is from, for error messages; empty if it is from no file.
        max_size: longest text in bytes.

    Raises:
        HeroScriptError: the text is too long.
    """

    __slots__ = ("_original", "_starts", "path", "text")

    def __init__(self, text: str, path: str = "", max_size: int = MAX_SIZE) -> None:
        self.path = path
        self._starts: tuple[list[int], list[int]] | None = None
        # A character has at most 3 bytes per UTF-16 unit, so most texts needn't be encoded to know they fit.
        if len(text) * 4 > max_size:
            size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
            if size > max_size:
                message = f"the script has {size:,} bytes; the limit is {max_size:,}"
                raise HeroScriptError(1, 1, "syntax", message, path=path)
        if text.startswith("\ufeff"):
            text = text[1:]
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        self._original = text
        first = _MARGIN.search(text)
        if first is not None and first[1]:
            margin = min(width(found[1]) for found in _MARGIN.finditer(text))
            if margin:
                text = "\n".join(_cut(line, margin) for line in text.split("\n"))
        self.text = text

    def locate(self, position: int) -> tuple[int, int]:
        """Return line and column, from 1, of a position, in the text as submitted."""
        if self._starts is None:
            self._starts = (_line_starts(self.text), _line_starts(self._original))
        starts, originals = self._starts
        line = bisect_right(starts, position) - 1
        column = position - starts[line]
        if self.text is not self._original:
            length = (starts[line + 1] if line + 1 < len(starts) else len(self.text) + 1) - starts[line]
            was = (originals[line + 1] if line + 1 < len(originals) else len(self._original) + 1) - originals[line]
            column = max(0, column + was - length)
        return line + 1, column + 1

    def line_start(self, line: int) -> int:
        """Return the position of the first character of a line, counted from 1."""
        self.locate(0)
        assert self._starts is not None
        return self._starts[0][line - 1]

    def error(self, position: int, code: str, message: str) -> HeroScriptError:
        """Return an error at a position."""
        line, column = self.locate(position)
        return HeroScriptError(line, column, code, message, path=self.path)


def _cut(line: str, margin: int) -> str:
    rest = line.lstrip(" \t")
    return line[: len(line) - len(rest)].replace("\t", "    ")[margin:] + rest


def _line_starts(text: str) -> list[int]:
    return [0, *(found.end() for found in re.finditer("\n", text))]
