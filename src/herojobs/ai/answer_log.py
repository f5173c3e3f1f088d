"""Writes what a model says into the job's log while it comes, in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from herojobs.ai.masking import KeyMask

BATCH_SECONDS = 0.2
BATCH_CHARACTERS = 1024
SHOWN = 300
"""Characters that a line about a tool call shows of arguments and results."""


class AnswerLog:
    """Collects pieces of text and writes them every 200 ms, or as soon as there are 1,024 characters.

    Args:
        write: takes what may be part of a line.
        mask: takes out what must never be written.
    """

    def __init__(self, write: Callable[[str], None], mask: KeyMask) -> None:
        self._write = write
        self._mask = mask
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
            self._pass_on()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(BATCH_SECONDS, self._pass_on)

    def line(self, text: str) -> None:
        """Write a line of its own."""
        self.flush()
        text = " ".join(self._mask.hide(text).split())
        self._write(("\n" if self._mid_line else "") + text + "\n")
        self._mid_line = False

    def flush(self) -> None:
        """Write all that has collected."""
        self._pass_on(whole=True)

    def _pass_on(self, *, whole: bool = False) -> None:
        """Write what has collected, but for an end that may be the beginning of a key whose rest is to come."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        text = self._mask.hide("".join(self._waiting))
        cut = len(text) if whole else len(text) - self._mask.begun(text)
        self._waiting = [text[cut:]] if cut < len(text) else []
        self._size = len(text) - cut
        if cut:
            self._mid_line = text[cut - 1] != "\n"
            self._write(text[:cut])


def shown(text: str) -> str:
    """Return a text cut to what a line of the log shows."""
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"
