"""HeroJobs: a job queue whose jobs are text.

from herojobs import HeroJobs, WatchDog

with WatchDog(workers=2), HeroJobs() as hero:
    job = hero.submit("!!fake.return_success message:'hello'", circle_id="demo")
    print(hero.wait(job, timeout=10).result)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from herojobs.client import AsyncHeroJobs, HeroJobs
from herojobs.job import Job, JobStatus, ParamsType, Reason

if TYPE_CHECKING:
    from herojobs.watchdog.watchdog import WatchDog

__version__ = "0.1.0"

__all__ = ["AsyncHeroJobs", "HeroJobs", "Job", "JobStatus", "ParamsType", "Reason", "WatchDog"]


def __getattr__(name: str) -> Any:
    if name == "WatchDog":  # loaded when it is used: a program that only submits needs nothing of it
        from herojobs.watchdog.watchdog import WatchDog

        return WatchDog
    raise AttributeError(f"module 'herojobs' has no attribute {name!r}")
