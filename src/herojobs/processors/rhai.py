"""Jobs of kind `rhaiscript`: a script for the Rhai engine, in the distribution `herojobs-rhai` (docs/rhai.md)."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from herojobs.job import Job
from herojobs.names import queue_name_fix
from herojobs.processors.base import JobContext, JobFailed, JobInterrupted
from herojobs.processors.rhai_functions import CURRENT, HAND_ON, all_functions
from herojobs.settings import Settings

if TYPE_CHECKING:
    import herojobs_rhai

DRAIN = 0.2
"""Seconds between two looks for what a running script has printed."""


class RhaiProcessor:
    """Runs Rhai scripts; those that were compiled lately aren't compiled again."""

    concurrent = False

    def __init__(self, settings: Settings) -> None:
        import herojobs_rhai  # here: the engine is an extra of its own

        self._settings = settings
        self._error = herojobs_rhai.RhaiError
        self._limits = herojobs_rhai.Limits(
            memory=settings.rhai_memory * 1024 * 1024, max_output=max(settings.log_max, 1000)
        )
        self._make = herojobs_rhai.RhaiEngine
        self._functions = all_functions(settings)
        self._engines: dict[str, herojobs_rhai.RhaiEngine] = {}

    def engine(self, circle: str) -> herojobs_rhai.RhaiEngine:
        """Return the engine for a circle's scripts; circles differ in the folder that they import from."""
        folder = self._settings.rhai_modules.get(circle) or self._settings.rhai_modules.get("*", "")
        engine = self._engines.get(folder)
        if engine is None:
            try:
                engine = self._make(self._functions, folder or None, self._limits)
            except ValueError as e:
                raise JobFailed(f"the Rhai engine can't be set up: {e}") from None
            self._engines[folder] = engine
        return engine

    def is_concurrent(self, job: Job) -> bool:
        """Return False: scripts run in a thread of their own."""
        return False

    def run(self, job: Job, context: JobContext) -> str:
        """Run a script and return its value as text."""
        token = CURRENT.set(context)
        try:
            run = self.engine(queue_name_fix(job.circle_id)).run(job.params)
            context.on_interrupt = run.stop
            context.checkpoint()  # an order may have come before there was a run to stop
            with _Drain(run, context):
                value = run.result()
        except self._error as e:
            raise self._failure(e, context) from e.__cause__
        finally:
            context.on_interrupt = None
            CURRENT.reset(token)
        return result_text(value, context)

    async def run_async(self, job: Job, context: JobContext) -> str:
        """Not used: scripts aren't asynchronous."""
        return self.run(job, context)

    def _failure(self, error: herojobs_rhai.RhaiError, context: JobContext) -> BaseException:
        if error.kind == "terminated" and context.interrupted_by:
            return JobInterrupted(context.interrupted_by)
        if error.kind == "memory":
            return MemoryError(str(error))
        return JobFailed(str(error))


class _Drain:
    """Hands on what a script prints while it runs, from a thread of its own once it has run for a moment."""

    def __init__(self, run: herojobs_rhai.Run, context: JobContext) -> None:
        self._run = run
        self._context = context
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="herojobs-rhai-output", daemon=True)

    def __enter__(self) -> None:
        HAND_ON.set(self._hand_on)
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        self._hand_on()

    def _loop(self) -> None:
        while not self._over.wait(DRAIN):
            self._hand_on()

    def _hand_on(self) -> None:
        text = self._run.drain_output()
        if text:
            self._context.log(text.removesuffix("\n"))


def result_text(value: object, context: JobContext) -> str:
    """Return a script's value as a job's result: text as it is, nothing as "", everything else as JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if any(not math.isfinite(number) for number in _floats(value)):
        context.log("warning: NaN and infinity stand as null in the result")
    try:
        return msgspec.json.encode(value).decode()
    except TypeError:
        raise JobFailed(
            f"the script's value is a {type(value).__name__} or holds one, which has no form as text"
        ) from None


def _floats(value: object) -> Iterator[float]:
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, float):
            yield each
        elif isinstance(each, list):
            waiting.extend(each)
        elif isinstance(each, dict):
            waiting.extend(each.values())
