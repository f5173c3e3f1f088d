"""A lone job leaves at once: every step of its way is woken by the one before it, none waits for somebody to look."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis as redis_py

from herojobs import HeroJobs, WatchDog
from herojobs.watchdog import watchdog as module
from waiting import until

NEVER = 3600.0


@pytest.mark.parametrize("script", ["!!core.echo content:x", "!!fake.sleep seconds:0.01"])
def test_a_lone_job_goes_its_way_though_nobody_looks_for_it(
    hero: HeroJobs, start: Callable[..., WatchDog], redis_url: str, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    """The first one of a new queue, and later ones, with the WatchDog idle."""
    looks: list[Any] = []
    find_queues = module.Lookout.step

    async def first_looks_only(self: Any) -> None:
        looks.append(self)
        await find_queues(self)

    with monkeypatch.context() as patched:
        patched.setattr(module, "LOOK", NEVER)
        patched.setattr(module, "TICK", NEVER)
        patched.setattr(module.Lookout, "step", first_looks_only)
        start()
        with redis_py.Redis.from_url(redis_url) as redis:  # nobody looks: it must hear of the first queue
            until(redis.pubsub_numpat)
        for circle in ("a", "a", "b", "a"):
            assert hero.wait(hero.submit(script, circle_id=circle), 60).status == "done"
        assert len(looks) == 1
