"""Interleaves actors step by step: each waits before every call of Redis or OurDB until its turn, which chance decides.

What runs between two such calls can't be interrupted by another actor, so the orders of these calls are all that
there are. A seed gives the same order again.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

STORE = ("add_many", "put_many", "put_at", "tip", "tips", "get", "get_many", "delete")


class Steps:
    """Runs actors in an order that a seed decides; one at a time."""

    def __init__(self) -> None:
        self._random = random.Random()
        self._turns: dict[int, threading.Semaphore] = {}
        self._back = threading.Semaphore(0)
        self._of = threading.local()

    def run(self, seed: int, *actors: Callable[[], Any]) -> list[Any]:
        """Run actors to their ends; return what each returned or raised."""
        self._random.seed(seed)
        answers: list[Any] = [None] * len(actors)
        alive = dict.fromkeys(range(len(actors)))
        self._turns = {place: threading.Semaphore(0) for place in alive}

        def act(place: int) -> None:
            self._of.place = place
            self._turns[place].acquire()
            try:
                answers[place] = actors[place]()
            except Exception as e:
                answers[place] = e
            alive.pop(place)
            self._back.release()

        threads = [threading.Thread(target=act, args=(place,)) for place in alive]
        for thread in threads:
            thread.start()
        while alive:
            self._turns[self._random.choice([*alive])].release()
            self._back.acquire()
        for thread in threads:
            thread.join()
        return answers

    def pause(self) -> None:
        """Let others go first, if this is an actor."""
        place = getattr(self._of, "place", None)
        if place is not None:
            self._back.release()
            self._turns[place].acquire()

    def watch(self, redis: Any, store: Any, before: Callable[[], None] | None = None) -> None:
        """Have every call of a transport and of a store be a step."""
        pause = before or self.pause
        exchange = redis.exchange

        async def exchanged(*args: Any, **kwargs: Any) -> Any:
            pause()
            return await exchange(*args, **kwargs)

        redis.exchange = exchanged
        depth = threading.local()
        for name in STORE:
            setattr(store, name, _stepped(getattr(store, name), pause, depth))


def _stepped(method: Callable[..., Any], pause: Callable[[], None], depth: threading.local) -> Callable[..., Any]:
    def stepped(*args: Any, **kwargs: Any) -> Any:
        if getattr(depth, "inside", False):  # a step is a whole call of the store, what it calls itself included
            return method(*args, **kwargs)
        pause()
        depth.inside = True
        try:
            return method(*args, **kwargs)
        finally:
            depth.inside = False

    return stepped
