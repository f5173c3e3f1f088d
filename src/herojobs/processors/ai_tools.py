"""What a model may call: HeroScript actions, OpenRPC methods, Rhai's functions, jobs (docs/ai.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from herojobs.ai.tools import Tool
from herojobs.job import Job
from herojobs.processors.base import JobContext
from herojobs.processors.heroscript import HeroScriptProcessor
from herojobs.settings import Settings

if TYPE_CHECKING:
    from herojobs.client import HeroJobs


class JobTools:
    """The tools of a worker's AI jobs.

    Args:
        settings: the settings in force.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._scripts: HeroScriptProcessor | None = None

    def client(self) -> HeroJobs:
        """Return the worker's client; may block while it connects."""
        return self._processor().client()

    def all(self, job: Job, context: JobContext) -> list[Tool]:
        """Return all tools that there are, for one job."""
        return []

    def _processor(self) -> HeroScriptProcessor:
        if self._scripts is None:
            self._scripts = HeroScriptProcessor(self._settings)
        return self._scripts
