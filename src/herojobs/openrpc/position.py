"""Where something stands in a JSON text, for errors."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

_SPACE = re.compile(r"[ \t\r\n]*")
_BYTE = re.compile(r"\(byte (\d+)\)")
_decode = json.JSONDecoder(strict=False).raw_decode


def place_of_fault(text: str, problem: str) -> tuple[int, int]:
    """Return line and column of what msgspec found wrong in a JSON text; its end if the text is cut short.

    Args:
        text: the JSON text.
        problem: what msgspec said, which may name the byte.
    """
    found = _BYTE.search(problem)
    if not found:
        return line_and_column(text, len(text.rstrip()))
    before = text.encode("utf-8", "surrogatepass")[: int(found[1])]
    return line_and_column(text, len(before.decode("utf-8", "ignore")))


def place_of(text: str, path: Sequence[str | int]) -> tuple[int, int]:
    """Return line and column where the value at a path begins, in a text that is JSON.

    Args:
        text: the JSON text.
        path: names of members and numbers of elements, from the outside in; of what doesn't exist the parent counts.
    """
    at = _skip(text, 0)
    for step in path:
        inside = _member(text, at, step)
        if inside is None:
            break
        at = inside
    return line_and_column(text, at)


def line_and_column(text: str, at: int) -> tuple[int, int]:
    """Return line and column, both from 1, of a character."""
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)


def _member(text: str, at: int, step: str | int) -> int | None:
    """Return where a member's or element's value begins, None if there is none; the last one of a name counts."""
    close = {"{": "}", "[": "]"}.get(text[at : at + 1])
    if close is None or isinstance(step, int) != (close == "]"):
        return None
    found: int | None = None
    number = 0
    at = _skip(text, at + 1)
    while text[at] != close:
        name: Any = number
        if close == "}":
            name, at = _decode(text, at)
            at = _skip(text, _skip(text, at) + 1)
        if name == step:
            found = at
        _, at = _decode(text, at)
        at = _skip(text, at)
        if text[at] == ",":
            at = _skip(text, at + 1)
        number += 1
    return found


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None
    return match.end()
