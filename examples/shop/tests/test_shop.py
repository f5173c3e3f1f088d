"""How a program's jobs are tested; see docs/testing.md."""

from __future__ import annotations

import re

import pytest
from shop import actors, orders

from herojobs import WatchDog
from herojobs.testing import FakeClock, InlineHero


def test_an_order_is_packed_now(hero: InlineHero, hero_clock: FakeClock) -> None:
    packing = orders.place(7, "ann@example.org", hero_clock.now)
    hero.assert_submitted(circle_id="shop", topic="packing", params="order:7", tag="order", count=1)
    assert hero.wait(packing).result == "order 7 is packed"


def test_the_customer_is_asked_three_days_later(hero: InlineHero, hero_clock: FakeClock) -> None:
    orders.place(7, "ann@example.org", hero_clock.now)
    hero.run_pending()
    (mail,) = hero.assert_submitted(topic="mail", status="new", params=re.compile(r"to:'ann@"))
    hero_clock.move(days=3)
    assert hero.run_pending() == 1
    assert hero.get(mail).result == "asked ann@example.org about order 7"


def test_without_a_courier_packing_fails(hero: InlineHero, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors, "courier_available", lambda: False)
    failed = hero.run("!!parcel.pack order:1", circle_id="shop")
    assert (failed.status, failed.reason) == ("error", "failed")
    assert "no courier comes today" in failed.error


def test_packing_in_a_real_worker(hero_watchdog: WatchDog, hero: InlineHero) -> None:
    job = hero.submit("!!parcel.pack order:1", circle_id="shop", log=True)
    assert hero.wait(job, timeout=20).result == "order 1 is packed"
    assert hero.log(job) == "packing order 1\n"
