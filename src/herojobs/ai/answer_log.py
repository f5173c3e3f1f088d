"""Writes what a model says into the job's log while it comes, in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

BATCH_SECONDS = 0.2
BATCH_CHARACTERS = 1024
SHOWN = 300
"""Characters that a line about a tool call shows of arguments and results."""


class AnswerLog:
    """Collects pieces of text and writes them every 200 ms, or as soon as there are 1,024 characters.

    Args:
        write: takes what may be part of a line.
        hide: what must never be written, such as keys.
    """

    def __init__(self, write: Callable[[str], None], hide: Callable[[str], str]) -> None:
        self._write = write
        self._hide = hide
        self._waiting: list[str] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._mid_line = False

    def piece(self, text: str) -> None:
        """Take a piece of an answer."""
        if not text:
            return
        self._waiting.append(text)
        self._size += len(text)
        if self._size >= BATCH_CHARACTERS:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(BATCH_SECONDS, self.flush)

    def line(self, text: str) -> None:
        """Write a line of its own."""
        self.flush()
        text = " ".join(self._hide(text).split())
        self._write(("\n" if self._mid_line else "") + text + "\n")
        self._mid_line = False

    def flush(self) -> None:
        """Write what has collected."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            text = self._hide("".join(self._waiting))
            self._waiting.clear()
            self._size = 0
            self._mid_line = not text.endswith("\n")
            self._write(text)


def shown(text: str) -> str:
    """Return a text cut to what a line of the log shows."""
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"
