"""Jobs of kind `heroscript`: a script of actions, each done by an actor (docs/heroscript.md)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from herojobs.errors import WorkerError
from herojobs.heroscript import BoundScript, HeroScriptError, Registry, ScriptCache
from herojobs.job import Job
from herojobs.names import queue_name_fix
from herojobs.processors.base import JobContext, JobFailed
from herojobs.processors.job_actor import JobActor
from herojobs.processors.script_context import ScriptContext
from herojobs.settings import Settings

if TYPE_CHECKING:
    from herojobs.client import HeroJobs


class HeroScriptProcessor:
    """Parses, binds and runs scripts; a repeated one only runs."""

    concurrent = None  # a script whose actions are all asynchronous shares the concurrent worker

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._registry = load_registry(settings)
        self._root = Path(settings.heroscript_include_root) if settings.heroscript_include_root else None
        self._caches: dict[str | None, ScriptCache] = {}
        self._hero: HeroJobs | None = None
        self._ready: tuple[Job, BoundScript] | None = None  # bound to tell whether it is asynchronous; runs next
        for circle, names in settings.circle_actors.items():
            try:
                self._registry.limited(names)
            except ValueError as e:
                raise WorkerError(f"the setting circle_actors, circle {circle}: {e}") from None

    def is_concurrent(self, job: Job) -> bool:
        """Return whether all actions of the script are asynchronous."""
        script = self._bind(job, job.params)
        self._ready = job, script
        return script.is_async

    def run(self, job: Job, context: JobContext) -> str:
        """Run the script in this thread."""
        return self.run_text(job.params, job, context)

    def run_text(self, text: str, job: Job, context: JobContext) -> str:
        """Run any script as the given job would run it."""
        script = self._taken(job) if text is job.params else self._bind(job, text)
        script_context = ScriptContext(context, self.client)
        try:
            return script.run(script_context, mark=not script.shareable)
        except HeroScriptError as e:
            raise JobFailed(str(e), e.result) from e.__cause__

    async def run_async(self, job: Job, context: JobContext) -> str:
        """Run the script on the event loop."""
        script = self._taken(job)
        script_context = ScriptContext(context, self.client)
        try:
            return await script.run_async(script_context, mark=not script.shareable)
        except HeroScriptError as e:
            raise JobFailed(str(e), e.result) from e.__cause__

    def client(self) -> HeroJobs:
        """Return the worker's client, opened when the first job asks for it."""
        if self._hero is None:
            from herojobs.client import HeroJobs  # here: few scripts need one, and it takes a while to import

            self._hero = HeroJobs(settings=self._settings)
        return self._hero

    def registry(self, circle: str) -> Registry:
        """Return the actors that scripts of a circle, its name fixed, may name."""
        return self._cache(circle).registry

    def _cache(self, circle: str) -> ScriptCache:
        limited = circle if circle in self._settings.circle_actors else None
        cache = self._caches.get(limited)
        if cache is None:
            registry = self._registry.limited(self._settings.circle_actors[limited]) if limited else self._registry
            cache = self._caches[limited] = ScriptCache(registry, include_root=self._root)
        return cache

    def _taken(self, job: Job) -> BoundScript:
        ready, self._ready = self._ready, None
        return ready[1] if ready is not None and ready[0] is job else self._bind(job, job.params)

    def _bind(self, job: Job, text: str) -> BoundScript:
        try:
            return self._cache(queue_name_fix(job.circle_id)).get(text)
        except HeroScriptError as e:
            raise JobFailed(str(e)) from None


def load_registry(settings: Settings) -> Registry:
    """Return all actors: built in, of installed distributions, and of the modules that the settings name.

    Raises:
        WorkerError: a module doesn't import, holds no actor, or has an actor whose name is taken.
    """
    try:
        registry = Registry(JobActor, entry_points=True)
        for module in settings.actors:
            try:
                registry.add(module)
            except ImportError as e:
                raise WorkerError(f"the actors in {module!r} can't be imported: {e}") from e
            except (TypeError, ValueError) as e:
                raise WorkerError(f"the actors in {module!r}: {e}") from e
    except WorkerError:
        raise
    except Exception as e:  # a user's module may raise anything while it is imported
        raise WorkerError(f"actors can't be loaded: {type(e).__name__}: {e}") from e
    return registry
