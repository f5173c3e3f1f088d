"""Which queues to claim from next: circles in turn, by their weights, and within a circle its topics in turn.

A queue is *hot* while it may have something to claim: it woke us, its last claim left something waiting, or its next
scheduled job or lease end is due. Only hot queues are asked.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable

from herojobs.names import Queue

QUEUES_AT_ONCE = 32
"""Queues asked in one round trip."""


class Turns:
    """The queues that a WatchDog serves, and whose turn it is.

    Args:
        serves: tells whether a queue is one of ours.
    """

    def __init__(self, serves: Callable[[Queue], bool]) -> None:
        self._serves = serves
        self.on_new: Callable[[], None] = lambda: None
        """Called when a queue becomes known."""
        self.is_paused: Callable[[Queue], bool] | None = None
        """Tells whether a queue's jobs mustn't start: it is never hot then. None: none is paused."""
        self.weight: Callable[[str], int] | None = None
        """Tells a circle's weight: how many jobs it gets for each one of a circle of weight 1. None: all have 1."""
        self._share: dict[str, float] = {}  # jobs by circle, divided by its weight; one that comes back starts at _now
        self._now = 0.0
        self._known: set[Queue] = set()
        self._hot: dict[str, dict[Queue, None]] = {}  # by circle; the first one is next
        self._due: list[tuple[int, Queue]] = []
        self._concurrent: set[Queue] = set()

    def known(self) -> list[Queue]:
        """Return all queues that we serve."""
        return list(self._known)

    def learn(self, queues: Iterable[Queue]) -> None:
        """Take in queues that may be new; new ones are hot."""
        for queue in queues:
            if queue not in self._known and self._serves(queue):
                self.heat(queue)

    def heat(self, queue: Queue) -> None:
        """Note that a queue may have something to claim."""
        if queue not in self._known:
            if not self._serves(queue):
                return
            self._known.add(queue)
            self.on_new()
        if self.is_paused and self.is_paused(queue):
            return
        if queue.circle not in self._hot:
            self._hot[queue.circle] = {}
            self._share[queue.circle] = max(self._now, self._share.get(queue.circle, 0.0))
        self._hot[queue.circle].setdefault(queue)

    def heat_circle(self, circle: str) -> None:
        """Note that every queue of a circle may have something to claim."""
        for queue in self._known:
            if queue.circle == circle:
                self.heat(queue)

    def heed_pauses(self) -> None:
        """Take in that the answers of `is_paused` may have changed: heat and cool queues."""
        self._hot.clear()
        for queue in self._known:
            self.heat(queue)

    def is_hot(self) -> bool:
        """Return whether any queue may have something to claim."""
        return bool(self._hot)

    def note(self, queue: Queue, waiting: int, next_due: int) -> None:
        """Take in what a claim said: ids that still wait, and when the next one is due, in unix milliseconds."""
        if not waiting:
            topics = self._hot.get(queue.circle, {})
            topics.pop(queue, None)
            if not topics:
                self._hot.pop(queue.circle, None)
        if next_due:
            self.expect(queue, next_due)

    def expect(self, queue: Queue, due_ms: int) -> None:
        """Note that something in a queue is due at a time, in unix milliseconds."""
        heapq.heappush(self._due, (due_ms, queue))

    def heat_due(self, now_ms: int) -> bool:
        """Heat the queues in which something is due by now; return whether there was one."""
        found = False
        while self._due and self._due[0][0] <= now_ms:
            self.heat(heapq.heappop(self._due)[1])
            found = True
        return found

    def is_concurrent(self, queue: Queue) -> bool:
        """Return whether what a queue held last was asynchronous."""
        return queue in self._concurrent

    def set_concurrent(self, queue: Queue, concurrent: bool) -> None:
        """Note that what a queue held last was asynchronous: it needs no exclusive worker."""
        if concurrent:
            self._concurrent.add(queue)
        else:
            self._concurrent.discard(queue)

    def wishes(self, room: int, concurrent_room: int) -> list[tuple[Queue, int]]:
        """Return how many jobs to claim from which queues; those of circles that had least of late come first.

        Args:
            room: blocking jobs that the workers can take.
            concurrent_room: asynchronous jobs that they can take.
        """
        left = {False: room, True: concurrent_room}
        chosen: dict[bool, list[Queue]] = {False: [], True: []}
        order = heapq.nsmallest(QUEUES_AT_ONCE, self._hot, key=self._share.__getitem__)
        circles = {circle: list(self._hot[circle]) for circle in order}
        while circles and len(chosen[False]) + len(chosen[True]) < QUEUES_AT_ONCE:
            for circle, topics in list(circles.items()):
                if not topics:
                    del circles[circle]
                    continue
                queue = topics.pop(0)
                sort = queue in self._concurrent
                if left[sort] > 0:
                    left[sort] -= 1
                    chosen[sort].append(queue)
                    self._had_its_turn(queue)
        return [*self._shares(chosen[False], room), *self._shares(chosen[True], concurrent_room)]

    def charge(self, queue: Queue, jobs: int) -> None:
        """Note that a circle got so many jobs."""
        share = self._share.get(queue.circle, self._now)
        self._now = max(self._now, share)
        self._share[queue.circle] = share + jobs / self._weight(queue.circle)

    def _weight(self, circle: str) -> int:
        return self.weight(circle) if self.weight else 1

    def _had_its_turn(self, queue: Queue) -> None:
        """Put a queue at the end of its circle, and the circle at the end of all that had as much."""
        topics = self._hot.pop(queue.circle)
        del topics[queue]
        topics[queue] = None
        self._hot[queue.circle] = topics

    def _shares(self, queues: list[Queue], room: int) -> list[tuple[Queue, int]]:
        """Divide room: among the circles first, by their weights, then among each one's queues."""
        by_circle: dict[str, list[Queue]] = {}
        for queue in queues:
            by_circle.setdefault(queue.circle, []).append(queue)
        weights = sum(map(self._weight, by_circle)) if self.weight else len(by_circle)
        shares = []
        for circle, topics in by_circle.items():
            weight = self._weight(circle)
            circle_room = -(-room * weight // weights)
            weights -= weight
            for nth, queue in enumerate(topics):
                share = -(-circle_room // (len(topics) - nth))
                if share > 0:
                    shares.append((queue, share))
                    circle_room -= share
                    room -= share
        return shares
