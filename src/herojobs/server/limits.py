"""Limits of a session: how many calls it may make a second, and how much memory its messages may take."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Self

from herojobs.jsonrpc import RpcError
from herojobs.jsonrpc.codes import Code

MOST_BUCKETS = 10_000
"""Callers that are remembered; the one that was quiet for longest is forgotten first, its bucket full again."""


MOST_MEMORY = 256 * 1024 * 1024
"""Bytes that the messages of a session may take at once: requests that are read, answers that aren't sent yet."""


class Memory:
    """What the messages of callers take, by caller."""

    def __init__(self) -> None:
        self.most = MOST_MEMORY
        self.taken: dict[str, int] = {}


class Hold:
    """What one message takes, with its answer, until the block ends.

    Args:
        memory: what it is counted in.
    """

    __slots__ = ("_memory", "_size", "_who")

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._who = ""
        self._size = 0

    def take(self, who: str, size: int) -> bool:
        """Count bytes as a caller's; return False if it has no room for them.

        Args:
            who: whose; all that it takes counts as of who was named first: a session may end meanwhile.
            size: how many.
        """
        self._who = self._who or who
        taken = self._memory.taken.get(self._who, 0)
        if taken and taken + size > self._memory.most:
            return False
        self._memory.taken[self._who] = taken + size
        self._size += size
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._size:
            return
        left = self._memory.taken[self._who] - self._size
        if left:
            self._memory.taken[self._who] = left
        else:
            del self._memory.taken[self._who]


def no_room() -> RpcError:
    """Return the error for a caller whose messages take too much."""
    return RpcError(
        Code.LIMIT_EXCEEDED,
        "Limit exceeded: requests and unread answers of this session take too much memory; read them, or send less",
        {"retry_after": 1, "expected": f"at most {MOST_MEMORY:,} bytes at once"},
    )


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
