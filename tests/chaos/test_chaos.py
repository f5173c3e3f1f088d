"""A run of all faults together: short here, longer with HEROJOBS_CHAOS_SECONDS."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from chaos.driver import Chaos
from herojobs import HeroJobs
from herojobs.live import embedded

SECONDS = float(os.environ.get("HEROJOBS_CHAOS_SECONDS", "12"))
SEED = int(os.environ.get("HEROJOBS_CHAOS_SEED", "1"))


@pytest.mark.timeout(SECONDS * 4 + 120)
def test_no_acknowledged_job_is_lost_and_none_ends_twice(tmp_path: Path) -> None:
    chaos = Chaos(tmp_path, embedded.find_program(), watchdogs=2, seed=SEED)
    try:
        with HeroJobs(home=chaos.home, redis_url=chaos.redis.url) as hero:
            until = time.monotonic() + SECONDS
            fault_at = time.monotonic() + 2
            faults = chaos.faults()
            while time.monotonic() < until:
                chaos.submit(hero, 20)
                time.sleep(0.05)
                if time.monotonic() > fault_at:
                    if not faults:
                        faults = chaos.faults()
                    faults.pop(chaos.rng.randrange(len(faults)))()
                    fault_at = time.monotonic() + 0.7
        chaos.wait_until_over(SECONDS + 60)
        verdict = chaos.verdict()
    finally:
        chaos.close()
    print(verdict)
    assert verdict.jobs > 500
    assert not verdict.lost
    assert not verdict.second_ends
    assert not verdict.groundless_ends
    assert not verdict.never_started
    assert set(verdict.states) == {"done done"}
