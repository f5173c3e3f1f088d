"""Retention in the background."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from herojobs import HeroJobs, WatchDog
from herojobs.errors import JobNotFound
from herojobs.settings import load
from herojobs.store import JobStore
from herojobs.watchdog.upkeep import Upkeep


def test_a_watchdog_deletes_what_is_past_its_retention(
    hero: HeroJobs, start: Callable[..., WatchDog], given: dict[str, Any]
) -> None:
    start(retention=1e-7, circle_retention={"kept": 0}, upkeep_interval=0.3)
    gone = hero.submit("!!core.echo content:x", circle_id="gone")
    kept = hero.submit("!!core.echo content:x", circle_id="kept")
    assert hero.wait(kept, timeout=30).result == "x"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            hero.get(gone)
        except JobNotFound:
            break
        time.sleep(0.05)
    else:
        pytest.fail("it is still there")
    assert hero.get(kept).result == "x"


async def test_nothing_is_started_where_nothing_is_to_be_done(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load({}, home=given["home"])
    store = JobStore(settings)
    upkeep = Upkeep(settings, store)
    monkeypatch.setattr(upkeep, "_start", lambda: pytest.fail("started"))
    await upkeep.step()
    store.close()


async def test_of_several_watchdogs_one_does_it_an_interval(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load({}, **given, retention=1.0)
    (settings.home / "var").mkdir(parents=True)
    store = JobStore(settings)
    await Upkeep(settings, store).step()
    other = Upkeep(settings, store)
    monkeypatch.setattr(other, "_start", lambda: pytest.fail("started"))
    await other.step()
    store.close()
