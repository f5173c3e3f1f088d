"""What a circle may use in a day. Imports nothing heavy.

Each request reserves what it may use before it is sent, so that jobs which run at once don't pass a limit together.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Callable
from typing import Protocol

from herojobs.ai.budget import Budget, Rate
from herojobs.ai.failures import AIFailure
from herojobs.ai.models import Model
from herojobs.live.usage import Limits, Need, Used

FIRST_LOOK, LONGEST_LOOK = 0.05, 1.0
"""Seconds between two looks whether others have given back what they reserved; doubled each time."""
SLACK = 5.0
"""Seconds beyond the job's own time for which a reservation lasts that nobody gives back."""


class Sums(Protocol):
    """What keeps the sums of circles: `LoopServing`."""

    async def spent_today(self, circle: str) -> Used:
        """Return what a circle has used today."""
        ...

    async def count(self, circle: str, model: Model, used: Used, request: str) -> None:
        """Add to a circle's sums of today; give back what a request has reserved."""
        ...

    async def hold(self, circle: str, request: str, need: Need, limits: Limits, seconds: float) -> tuple[bool, int]:
        """Reserve; return whether there was room, and how many others have reserved something."""
        ...

    async def give_back(self, circle: str, request: str) -> None:
        """Give back what a request has reserved."""
        ...


class Day:
    """The share of one job in its circle's day.

    Args:
        sums: keeps them.
        circle: the job's circle, its name fixed.
        budget: the job's limits.
        seconds: seconds that the job has.
        tell: writes a line into the job's log.
    """

    def __init__(self, sums: Sums, circle: str, budget: Budget, seconds: float, tell: Callable[[str], None]) -> None:
        self._sums = sums
        self._circle = circle
        self._budget = budget
        self._lasts = seconds + SLACK
        self._tell = tell
        self._request = secrets.token_hex(8)
        self._holds = False

    async def answer(self, wanted: int, used: Used, rate: Rate | None, sent: int) -> int:
        """Return the most tokens that the next answer may have; wait where others have reserved what is left.

        Arguments and errors are those of `Budget.answer`.
        """
        if not self._budget.counts_days:
            return self._budget.answer(wanted, used, Used(), rate, sent)
        daily = self._budget.daily
        limits = Limits(daily.tokens, int(daily.cost * 1e6))
        pause = FIRST_LOOK
        while True:
            today = await self._sums.spent_today(self._circle)
            most = self._budget.answer(wanted, used, today, rate, sent)
            cost = 0 if rate is None else math.floor(sent * rate.input + most * rate.output)
            granted, others = await self._sums.hold(
                self._circle, self._request, Need(sent + most, cost), limits, self._lasts
            )
            if granted:
                self._holds = True
                return most
            if others:
                if pause == FIRST_LOOK:
                    self._tell(
                        f"[requests under way may use up what circle {self._circle} has today; waiting for them]"
                    )
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_LOOK)

    async def count(self, model: Model, used: Used) -> None:
        """Add what a request used to the circle's sums.

        Raises:
            AIFailure: they can't be kept, and a limit needs them.
        """
        try:
            await self._sums.count(self._circle, model, used, self._request)
            self._holds = False
        except AIFailure as e:
            if self._budget.counts_days:
                raise
            self._tell(f"[{e.text}]")  # the job has its answer, and no limit needs the sum

    async def give_back(self) -> None:
        """Give back what is reserved for a request that used nothing; what can't be given back ends by itself."""
        if self._holds:
            self._holds = False
            try:
                await self._sums.give_back(self._circle, self._request)
            except AIFailure as e:
                self._tell(f"[{e.text}]")
