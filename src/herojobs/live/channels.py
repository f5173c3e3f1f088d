"""Who listens to a channel of Redis, and which messages each gets."""

from __future__ import annotations

import re
from collections import deque
from typing import Protocol

MOST_KEPT = 10_000
"""Messages that a subscription holds for a slow reader; the oldest go first."""
LINGER = 2.0
"""Seconds that a channel stays subscribed to when nobody listens: most often somebody does again soon."""
PAUSE = 0.5
"""Seconds between two tries to subscribe again."""
SHORTEST = 0.002
"""Seconds that a read takes at least, so that one with no timeout finds what has arrived already."""
TIMEOUT = 5.0
"""Seconds that Redis may take to confirm a subscription."""

_END = re.compile(rb'\{"id":(\d+),"event":"(?:done|error|removed|deleted|dead)"')


class Subscription(Protocol):
    """The messages of one channel, or the ends of one job, from now on.

    It never fails for want of Redis: it then hears nothing, and subscribes again when it can. Whoever waits looks at
    the job itself every now and then, since what was published meanwhile is gone.
    """

    async def next(self, timeout: float) -> str | None:
        """Return the next message, None if none came within `timeout` seconds.

        Where it is about the end of a job, a message says that it is worth a look.
        """


class Listening(Protocol):
    """What a channel hands its messages to."""

    def put(self, message: bytes) -> None:
        """Hand over a message."""


def ended_ids(message: bytes) -> list[bytes]:
    """Return the ids, as they stand, of jobs whose end a message with events (`herojobs.live.events`) tells."""
    return _END.findall(message)


class Channel:
    """A channel that is subscribed to.

    Attributes:
        confirmed: whether Redis has confirmed it.
        left: when the last one who listened went, by the monotonic clock; it counts while nobody listens.
    """

    __slots__ = ("_all", "_by_id", "confirmed", "left")

    def __init__(self) -> None:
        self._all: list[Listening] = []
        self._by_id: dict[bytes, list[Listening]] = {}
        self.confirmed = False
        self.left = 0.0

    @property
    def is_used(self) -> bool:
        """Whether anybody listens."""
        return bool(self._all or self._by_id)

    def add(self, listening: Listening, id: int | None) -> None:
        """Have somebody get all messages, or those that tell the end of a job."""
        if id is None:
            self._all.append(listening)
        else:
            self._by_id.setdefault(b"%d" % id, []).append(listening)

    def remove(self, listening: Listening, id: int | None, now: float) -> None:
        """Undo `add`."""
        if id is None:
            self._all.remove(listening)
        else:
            key = b"%d" % id
            self._by_id[key].remove(listening)
            if not self._by_id[key]:
                del self._by_id[key]
        self.left = now

    def confirm(self) -> None:
        """Note that Redis has confirmed it; who waits for a job looks, since its end may have been missed before."""
        self.confirmed = True
        for listening in [each for group in self._by_id.values() for each in group]:
            listening.put(b"")

    def hand_out(self, message: bytes) -> None:
        """Give a message to whom it concerns."""
        for listening in self._all:
            listening.put(message)
        if self._by_id:
            for id in ended_ids(message):
                for listening in self._by_id.get(id, ()):
                    listening.put(message)


def keep() -> deque[bytes]:
    """Return what a subscription holds its messages in."""
    return deque(maxlen=MOST_KEPT)
