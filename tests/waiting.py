"""Waiting in tests: for what happens, with a limit that only a test that fails ever reaches."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], seconds: float = 60, every: float = 0.01) -> T:
    """Return what a condition gives, once that is true.

    Args:
        condition: is asked again and again.
        seconds: until it fails: generous, since a busy machine is no fault.
        every: seconds between two questions.
    """
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it didn't happen"
        time.sleep(every)
    return found
