"""The sending process of real WatchDogs."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest

from herojobs import HeroJobs, WatchDog
from herojobs.hooks.outbox import outbox_path
from herojobs.watchdog import notifier
from hooks.receiver import Receiver


def senders() -> list[psutil.Process]:
    return [each for each in psutil.Process().children() if "herojobs.hooks" in each.cmdline()]


def test_a_killed_sender_loses_nothing_and_two_watchdogs_have_one(
    tmp_path: Path, redis_url: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier, "LOOK", 0.1)
    given = {
        "home": tmp_path / "home",
        "redis_url": redis_url,
        "workers": 1,
        "webhooks": {"w": {"url": receiver.url, "private": True}},
    }
    with WatchDog(**given), WatchDog(**given), HeroJobs(**given) as hero:
        first = hero.submit("!!core.echo", circle_id="before")
        receiver_ready(hero, receiver)
        (sender,) = senders()
        receiver.answer = lambda _: 500
        jobs = hero.submit_many({"params": "!!core.echo", "circle_id": "c"} for _ in range(40))
        for job in jobs:
            hero.wait(job, 60)
        receiver.wait_for(lambda: len(receiver.requests) > 3)
        sender.send_signal(signal.SIGKILL)
        receiver.answer = lambda _: 200
        receiver.wait_for(lambda: {told["ref"] for told in receiver.got} >= {str(job.ref) for job in jobs}, 40)
        assert len(senders()) == 1
        assert first
    assert not senders()


def receiver_ready(hero: HeroJobs, receiver: Receiver) -> None:
    """Return once the sender follows the databases: it tells what happens from then on."""
    import time

    while not outbox_path(hero.settings.home).exists():
        time.sleep(0.05)
    for _ in range(100):
        hero.wait(hero.submit("!!core.echo", circle_id="probe"), 60)
        with receiver.arrived:
            if receiver.arrived.wait_for(lambda: receiver.got, 0.5):
                return
    raise AssertionError("the sender tells nothing")
