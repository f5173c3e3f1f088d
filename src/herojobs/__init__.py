"""HeroJobs: a job queue whose jobs are text.

from herojobs import HeroJobs, WatchDog

with WatchDog(workers=2), HeroJobs() as hero:
    job = hero.submit("!!fake.return_success message:'hello'", circle_id="demo")
    print(hero.wait(job, timeout=10).result)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from herojobs.client import AsyncHeroJobs, HeroJobs
    from herojobs.job import After, Job, JobStatus, ParamsType, Reason
    from herojobs.watchdog.inline import InlineWatchDog
    from herojobs.watchdog.watchdog import WatchDog

__version__ = "0.1.0"

__all__ = [
    "After",
    "AsyncHeroJobs",
    "HeroJobs",
    "InlineWatchDog",
    "Job",
    "JobStatus",
    "ParamsType",
    "Reason",
    "WatchDog",
]

_LATER = {
    "After": "herojobs.job",
    "Job": "herojobs.job",
    "JobStatus": "herojobs.job",
    "ParamsType": "herojobs.job",
    "Reason": "herojobs.job",
    "HeroJobs": "herojobs.client",
    "AsyncHeroJobs": "herojobs.client",
    "WatchDog": "herojobs.watchdog.watchdog",
    "InlineWatchDog": "herojobs.watchdog.inline",
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    # Loaded when they are used: redis-py takes a while to import, and workers and pytest never need it.
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module 'herojobs' has no attribute {name!r}")
