"""Calls of all queues in one round trip, so that a queue in trouble stops itself alone.

Redis refuses a call where a foreign program has put a key of another type in the place of one of ours, say. The calls
of such a queue are then held, and sent rarely, until they succeed; what Redis said to the others counts.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any, Final

from herojobs.errors import RedisUnavailable
from herojobs.live.call import Call
from herojobs.live.redis import AsyncRedis
from herojobs.names import Queue

log = logging.getLogger("herojobs.watchdog")

PAUSE = 5.0
"""Seconds between two tries of the calls of a queue that Redis has refused."""
HELD: Final = object()
"""Stands for the reply to a call that Redis refused, or that wasn't sent since its queue is in trouble."""


class Apart:
    """Runs calls; see the module.

    Args:
        redis: the connection.
    """

    def __init__(self, redis: AsyncRedis) -> None:
        self._redis = redis
        self._next_try: dict[Queue, float] = {}

    def is_due(self) -> bool:
        """Return whether calls that were held may be tried again."""
        return bool(self._next_try) and min(self._next_try.values()) <= time.monotonic()

    async def run_many(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Run calls; return their results in order, `HELD` for those that didn't go through.

        Raises:
            RedisUnavailable: Redis can't be reached.
        """
        now = time.monotonic()
        sent = [place for place, call in enumerate(calls) if self._next_try.get(call.queue, now) <= now]
        replies: list[Any] = [HELD] * len(calls)
        refused: set[Queue] = set()
        for place, answer in zip(sent, await self._redis.try_many([calls[place] for place in sent]), strict=True):
            if not isinstance(answer, RedisUnavailable):
                replies[place] = answer
                continue
            queue = calls[place].queue
            refused.add(queue)
            if queue not in self._next_try:
                log.error("the queue %s waits, the others go on: %s", queue, answer)
            self._next_try[queue] = now + PAUSE
        for queue in {calls[place].queue for place in sent} - refused:
            if self._next_try.pop(queue, None) is not None:
                log.info("the queue %s goes on", queue)
        return replies
