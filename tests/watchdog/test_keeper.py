"""What the WatchDog looks after in the background, with everything around it played."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from herojobs.live.calls import Extended
from herojobs.names import Queue
from herojobs.settings import Settings
from herojobs.watchdog.keeper import Leases

QUEUE = Queue.of("c", "t")


class Around:
    """A pool that holds runs, and a Redis that knows nothing of their leases any more."""

    def __init__(self, settles: bool) -> None:
        self.held = [SimpleNamespace(id=1, token="x", queue=QUEUE, abandoned=False, ref="c/t/1")]
        self.pool = self.calls = self.throttle = self
        self.abandoned: list[int] = []
        self._settles = settles

    def all_held(self) -> list[Any]:
        return list(self.held)

    def hold(self) -> list[Any]:
        return []

    def abandon(self, run: Any) -> None:
        self.abandoned.append(run.id)

    async def run_many(self, calls: list[Any]) -> list[Any]:
        if self._settles:
            self.held.clear()  # its end was told while the answer was on its way
        return [Extended(lost=[1], cancelled=[], missing=[])]


@pytest.mark.parametrize("settles", [True, False])
async def test_a_run_that_ends_meanwhile_is_no_lost_lease(settles: bool, caplog: pytest.LogCaptureFixture) -> None:
    around = Around(settles)
    with caplog.at_level(logging.WARNING):
        await Leases(around, around, Settings()).step()  # type: ignore[arg-type]
    assert around.abandoned == ([] if settles else [1])
    assert ("lost" in caplog.text) is not settles
