"""Runs of all faults together, short; `make chaos` makes a long one."""

from __future__ import annotations

import os

import pytest

from herojobs.chaos.faults import FAULTS
from herojobs.chaos.run import choose, run
from herojobs.chaos.stage import Plan
from herojobs.errors import SettingsError

SEED = int(os.environ.get("HEROJOBS_CHAOS_SEED", "1"))
"""The seed of the run in these tests. Another one finds other things."""


@pytest.mark.timeout(300)
def test_promises_hold_under_all_faults() -> None:
    quick = tuple(fault for fault in FAULTS if fault not in ("redis-hang", "watchdog-pause"))  # these take long
    verdict = run(Plan(jobs=500, rate=100, faults=quick, every=0.2, second_starts=0.03, seed=SEED))
    assert not verdict.broken, verdict
    assert verdict.jobs >= 500
    assert len(verdict.faults) >= 6
    assert verdict.ticks


@pytest.mark.timeout(120)
def test_without_faults_nothing_starts_twice() -> None:
    verdict = run(Plan(jobs=150, rate=200, hang_every=30, seed=SEED))
    assert not verdict.broken, verdict
    assert (verdict.second_starts, verdict.faults) == (0, {})
    assert verdict.overrun.tries


def test_faults_are_chosen_by_name() -> None:
    assert choose([]) == choose(["all"]) == tuple(FAULTS)
    assert choose(["none"]) == ()
    assert choose(["redis-wipe", "disk-full"]) == ("redis-wipe", "disk-full")
    assert choose(["-disk-full"]) == tuple(fault for fault in FAULTS if fault != "disk-full")
    with pytest.raises(SettingsError, match="no fault is called 'disk-ful'; did you mean 'disk-full'"):
        choose(["disk-ful"])
