"""Knows when leases may have ended though their WatchDogs live: Redis was away for too long, or its clock was set.

Whoever comes back first must not take over what the others run. For a moment it leaves ended leases alone, in which
every WatchDog extends its own.
"""

from __future__ import annotations

import asyncio
import time

from herojobs.job import is_clock_faked

LONG = 0.5
"""Share of a lease that Redis may be silent, or its clock be set by, before leases can have ended that way."""
HOLD = 2.0
"""Seconds that ended leases are left alone after that: WatchDogs try Redis again every second."""
LEAVE_ALONE = 1
"""A time that is always past."""


class Outages:
    """What one WatchDog sees of them.

    Args:
        lease: how long leases last, in seconds.

    Attributes:
        over: set when Redis is back: leases are to be extended at once.
    """

    def __init__(self, lease: float) -> None:
        self._long = lease * LONG
        self._heard = time.monotonic()
        self._hold_until = 0.0
        self._ahead: float | None = None
        self.over = asyncio.Event()

    def heard(self, server_ms: int = 0) -> None:
        """Note that Redis has answered.

        Args:
            server_ms: its time, unix milliseconds, 0 = it didn't say.
        """
        now = time.monotonic()
        was_out = now - self._heard > self._long
        self._heard = now
        if server_ms:
            ahead = server_ms / 1000 - now
            was_out |= self._ahead is not None and abs(ahead - self._ahead) > self._long
            self._ahead = ahead
        if was_out:
            self._hold_until = now + HOLD
            self.over.set()

    def rescue_until(self) -> int:
        """Return until when, by Redis's clock in unix milliseconds, a claim that is sent now may take over leases.

        One that reaches Redis later was held up by an outage. 0 = whenever.
        """
        now = time.monotonic()
        if now < self._hold_until or now - self._heard > self._long:
            return LEAVE_ALONE
        if self._ahead is None or is_clock_faked():
            return 0
        return int((now + self._ahead + self._long) * 1000)
