"""Limits: how many calls a session may make a second, by a token bucket for each."""

from __future__ import annotations

import time
from collections import OrderedDict

from herojobs.jsonrpc import RpcError
from herojobs.jsonrpc.codes import Code

MOST_BUCKETS = 10_000
"""Callers that are remembered; the one that was quiet for longest is forgotten first, its bucket full again."""


class Limiter:
    """Lets callers make so many calls a second.

    Args:
        rate: calls a second; 0 = no limit.
        burst: calls that may come at once after a quiet time.
        clock: monotonic seconds.
    """

    def __init__(self, rate: float, burst: int, clock: object = None) -> None:
        self._rate = rate
        self._burst = max(burst, 1)
        self._clock = clock if callable(clock) else time.monotonic
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, who: str, number: int) -> None:
        """Count calls.

        Args:
            who: whose.
            number: how many; more than `burst` are let through only from a full bucket.

        Raises:
            RpcError: too many; `data.retry_after` tells when to come again, in seconds.
        """
        if not self._rate:
            return
        now = self._clock()
        left, then = self._buckets.pop(who, (float(self._burst), now))
        left = min(self._burst, left + (now - then) * self._rate)
        needed = min(number, self._burst)
        if left < needed:
            self._buckets[who] = left, now
            wait = round((needed - left) / self._rate + 0.0005, 3)
            raise RpcError(
                Code.LIMIT_EXCEEDED,
                f"Limit exceeded: {self._rate:g} calls a second; come again in {wait:g} s",
                {"retry_after": wait, "expected": f"at most {self._rate:g} calls a second"},
            )
        self._buckets[who] = left - number, now
        if len(self._buckets) > MOST_BUCKETS:
            self._buckets.popitem(last=False)
