"""How an AI job fails: one error with a kind that programs can read."""

from __future__ import annotations

from typing import Any, Literal

Kind = Literal[
    "not_configured",
    "auth",
    "rate_limited",
    "unavailable",
    "timeout",
    "content_filter",
    "context_length",
    "bad_output",
    "budget",
    "tool_failed",
    "invalid_params",
]


class AIFailure(Exception):
    """An AI job can't go on.

    Attributes:
        kind: what sort of failure it is, for programs.
        text: what happened and what to do, one line.
        status: the provider's HTTP status, 0 = none.
        again: whether the same request may succeed when it is sent again.
        elsewhere: whether another model may succeed.
        wait: seconds that the provider asked to wait, None = it didn't say.
        more: further members of `Job.error_detail`.
    """

    def __init__(
        self,
        kind: Kind,
        text: str,
        *,
        status: int = 0,
        again: bool = False,
        elsewhere: bool = False,
        wait: float | None = None,
        more: dict[str, Any] | None = None,
    ) -> None:
        self.kind = kind
        self.text = " ".join(text.split())
        self.status = status
        self.again = again
        self.elsewhere = elsewhere or again
        self.wait = wait
        self.more = more or {}
        super().__init__(self.text)
