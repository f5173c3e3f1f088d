"""Holds claims back where circles or topics have limits; costs nothing where none has.

A topic's limit is looked at by the claim script itself. A circle's is held by slots (see `herojobs.live.limits`): each
run of it has one, from before its claim until its end is told to Redis. Of limited queues no more is claimed than
there are idle workers, so that what counts as running does run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple

from herojobs.limits import Bound, Limits
from herojobs.live.call import Call
from herojobs.live.limits import free_slots, keep_slots, slot, take_slots
from herojobs.names import Queue
from herojobs.watchdog.apart import HELD
from herojobs.watchdog.fair import Turns
from herojobs.watchdog.runs import Run


class Wish(NamedTuple):
    """A claim to make: up to `n` jobs of a queue within its `bound`, for which there are `slots` of its circle."""

    queue: Queue
    n: int
    bound: Bound | None = None
    slots: tuple[str, ...] = ()


class Throttle:
    """Applies limits to what a WatchDog claims.

    Args:
        turns: told when a limited queue may have something again.
        lease_ms: how long slots last, in milliseconds.
        token: makes a token that was never there.
    """

    def __init__(self, turns: Turns, lease_ms: int, token: Callable[[], str]) -> None:
        self._turns = turns
        self._lease_ms = lease_ms
        self._token = token
        self._limits = Limits({}, {})
        self._held: dict[str, tuple[str, Run]] = {}  # circle and run by slot
        self._releases: list[Call[Any]] = []

    def set_limits(self, limits: Limits) -> None:
        """Heed these limits from now on. What runs already isn't stopped."""
        self._limits = limits
        self._turns.weight = limits.weight if limits else None

    @property
    def has_limits(self) -> bool:
        """Whether anything is limited."""
        return bool(self._limits)

    async def narrow(
        self,
        wishes: Sequence[tuple[Queue, int]],
        idle: Callable[[Queue], int],
        run_many: Callable[[Sequence[Call[Any]]], Awaitable[list[Any]]],
    ) -> list[Wish]:
        """Return what of some wishes may be claimed.

        Args:
            wishes: queues and how many jobs there is room for.
            idle: tells how many workers are idle that could run a queue's jobs.
            run_many: makes calls, in one round trip.
        """
        if not self._limits:
            return [Wish(*wish) for wish in wishes]
        passed: list[Wish] = []
        circles: dict[str, list[Wish]] = {}
        for queue, n in wishes:
            topic, circle = self._limits.of_topic(queue), self._limits.of_circle(queue.circle)
            if topic or circle:
                n = min(n, max(1, idle(queue)))
            wish = Wish(queue, min(n, topic.jobs) if topic and topic.jobs else n, topic)
            if circle:
                circles.setdefault(queue.circle, []).append(wish)
            else:
                passed.append(wish)
        return passed + (await self._within_circles(circles, run_many) if circles else [])

    async def _within_circles(
        self, circles: dict[str, list[Wish]], run_many: Callable[[Sequence[Call[Any]]], Awaitable[list[Any]]]
    ) -> list[Wish]:
        tokens = {circle: self._token() for circle in circles}
        calls = []
        for circle, wishes in circles.items():
            bound = self._limits.of_circle(circle)
            assert bound
            calls.append(take_slots(circle, sum(wish.n for wish in wishes), bound, self._lease_ms, tokens[circle]))
        passed = []
        releases = len(self._releases)  # first, so that what is free now can be taken
        answers = await run_many(self._releases + calls)
        del self._releases[:releases]
        for (circle, wishes), granted in zip(circles.items(), answers[releases:], strict=True):
            count, next_due = (0, 0) if granted is HELD else granted
            taken = 0
            for wish in wishes:
                n = min(wish.n, count - taken)
                if n > 0:
                    slots = tuple(slot(tokens[circle], taken + i + 1) for i in range(n))
                    passed.append(wish._replace(n=n, slots=slots))
                    taken += n
                else:
                    self._turns.note(wish.queue, 0, next_due)
        return passed

    def note(self, wish: Wish, runs: Sequence[Run]) -> None:
        """Give slots to what was claimed; the others go back."""
        for name, run in zip(wish.slots, runs, strict=False):
            self._held[name] = (wish.queue.circle, run)
        if left := wish.slots[len(runs) :]:
            self._releases.append(free_slots(wish.queue.circle, left, len(left)))

    def ended(self, runs: Iterable[Run]) -> None:
        """Take in that runs are over or go back: others may start in their stead."""
        if self._limits:
            for run in runs:
                if self._limits.of_topic(run.queue):
                    self._turns.heat(run.queue)

    def free(self, held: Callable[[], Iterable[Run]]) -> None:
        """Give back the slots of runs that aren't held any more."""
        if not self._held:
            return
        still = set(held())
        gone: dict[str, list[str]] = {}
        for name, (circle, run) in self._held.items():
            if run not in still:
                gone.setdefault(circle, []).append(name)
        for circle, names in gone.items():
            for name in names:
                del self._held[name]
            self._releases.append(free_slots(circle, names))
            self._turns.heat_circle(circle)

    def unsent(self) -> list[Call[Any]]:
        """Return the calls that give slots back and weren't made along with others."""
        releases, self._releases = self._releases, []
        return releases

    def hold(self, *, make: bool = False) -> list[Call[Any]]:
        """Return the calls that make all slots last; with `make` also those that Redis has forgotten."""
        circles: dict[str, list[str]] = {}
        for name, (circle, _) in self._held.items():
            circles.setdefault(circle, []).append(name)
        return [keep_slots(circle, names, self._lease_ms, make=make) for circle, names in circles.items()]
