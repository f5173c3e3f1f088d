"""What a call knows of the job that makes it, and what can be known of a method."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

ALL = "*"
"""In the place of a circle: an administrator's, who sees the services of all circles; no circle can be called so."""


@dataclass(slots=True)
class CallContext:
    """Who calls. A Python method whose first parameter is annotated with this class gets it.

    Attributes:
        ref: reference of the job, `circle/topic/id`; the ids of its calls are made of it.
        circle: its circle, name fixed: it decides which services there are. `ALL`: an administrator,
            who sees all.
        write: takes a line for the job's log.
        deadline: monotonic time when it must be over: no further attempt begins after it.
        made: how many calls it has made so far; ids and idempotency keys go on from there.
    """

    ref: str
    circle: str
    write: Callable[[str], object] = field(default=lambda text: None)
    deadline: float = math.inf
    made: int = field(default=0, init=False)

    def log(self, text: object) -> None:
        """Write a line to the job's log."""
        self.write(str(text))

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()


class MethodInfo(NamedTuple):
    """A method that a circle may call.

    Attributes:
        service: the service's name; empty for a Python method of this process.
        name: the method's name.
        summary: what it does.
        schema: JSON Schema of its params by name, `components` for `$ref`s included.
        idempotent: whether calling it twice does no more than calling it once.
    """

    service: str
    name: str
    summary: str
    schema: dict[str, Any]
    idempotent: bool
