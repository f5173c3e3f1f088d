"""Which processor runs which kind of job: a built-in one, or a plug-in's (entry points `herojobs.processors`)."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points

from herojobs.errors import UnknownKind, WorkerError
from herojobs.job import PROCESSORS_GROUP, Job, ParamsType, known_kinds
from herojobs.processors.base import JobContext, JobFailed, Processor
from herojobs.settings import Settings

_BUILT_IN = {
    ParamsType.HEROSCRIPT.value: "herojobs.processors.heroscript:HeroScriptProcessor",
    ParamsType.RHAISCRIPT.value: "herojobs.processors.rhai:RhaiProcessor",
    ParamsType.OPENRPC.value: "herojobs.processors.openrpc:OpenRpcProcessor",
    ParamsType.AI.value: "herojobs.processors.ai:AIProcessor",
}

_EXTRAS = {
    "herojobs_rhai": "Rhai scripts need the Rhai engine, which isn't installed here: pip install 'herojobs[rhai]'"
    " (from a checkout: `make rhai`, which needs Rust's cargo)",
}


class Unavailable:
    """Stands for a kind that can't be run here: its jobs end with the reason."""

    concurrent = False

    def __init__(self, why: str) -> None:
        self.why = why

    def is_concurrent(self, job: Job) -> bool:
        """Return False: there is nothing to run."""
        return False

    def run(self, job: Job, context: JobContext) -> str:
        """Raise `JobFailed` with the reason."""
        raise JobFailed(self.why)

    async def run_async(self, job: Job, context: JobContext) -> str:
        """Raise `JobFailed` with the reason."""
        raise JobFailed(self.why)


class Processors:
    """The processors of a worker, each made when the first job of its kind comes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._made: dict[str, Processor | Unavailable] = {}

    def get(self, kind: str) -> Processor | Unavailable:
        """Return the processor of a kind; for a kind that can't be run, one whose jobs end saying why."""
        processor = self._made.get(kind)
        if processor is None:
            processor = self._made[kind] = self._make(kind)
        return processor

    def close(self) -> None:
        """Have those that hold connections close them."""
        for processor in self._made.values():
            if (close := getattr(processor, "close", None)) is not None:
                close()

    def _make(self, kind: str) -> Processor | Unavailable:
        target = _BUILT_IN.get(kind)
        if target is not None:
            module, _, name = target.partition(":")
            found = getattr(importlib.import_module(module), name)
        else:
            points = [point for point in entry_points(group=PROCESSORS_GROUP) if point.name == kind]
            if not points:
                return Unavailable(str(UnknownKind(kind, known_kinds())))
            try:
                found = points[0].load()
            except Exception as e:
                raise WorkerError(f"the plug-in for jobs of kind {kind!r} doesn't load: {e!r}") from e
        try:
            processor: Processor = found(self._settings)
        except ModuleNotFoundError as e:
            if e.name in _EXTRAS:
                return Unavailable(_EXTRAS[e.name])
            raise
        return processor


CONCURRENT_KINDS = frozenset({ParamsType.OPENRPC.value, ParamsType.AI.value})
"""Kinds that a WatchDog sends to the concurrent worker first; it learns of others from the workers."""
