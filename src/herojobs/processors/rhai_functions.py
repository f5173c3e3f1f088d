"""The functions that every Rhai script of a job can call, and how users add their own."""

from __future__ import annotations

import importlib
import inspect
import os
import time
from collections.abc import Callable
from contextvars import ContextVar
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import msgspec

from herojobs.errors import HeroJobsError, WorkerError
from herojobs.names import Ref, queue_name_fix
from herojobs.processors.base import JobContext
from herojobs.processors.heroscript import HeroScriptProcessor
from herojobs.processors.parents import shown_parents
from herojobs.processors.script_context import ScriptContext
from herojobs.processors.threads import in_passing
from herojobs.settings import Settings

if TYPE_CHECKING:
    from herojobs.processors.ai import AIProcessor
    from herojobs.processors.openrpc_local import LocalMethods

GROUP = "herojobs.rhai"
"""Entry points by which other distributions offer functions: a module each."""

CURRENT: ContextVar[JobContext] = ContextVar("CURRENT")
"""The job whose script runs."""

HAND_ON: ContextVar[Callable[[], None]] = ContextVar("HAND_ON")
"""Hands on what the script has printed so far, so that lines stay in order."""

MAX_WAIT = 3600.0


class JobFunctions:
    """The standard functions; each is a method whose name is the function's.

    Args:
        settings: the settings in force.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._scripts: HeroScriptProcessor | None = None
        self._ai: AIProcessor | None = None
        self._methods: LocalMethods | None = None

    def job(self) -> dict[str, Any]:
        """The running job: job_id, circle_id, topic, session_key (masked), attempt, ref."""
        context = CURRENT.get()
        job = context.job
        return {
            "job_id": job.job_id,
            "circle_id": job.circle_id,
            "topic": job.topic,
            "session_key": job.masked().session_key,
            "attempt": job.attempts,
            "ref": context.ref,
        }

    def log(self, text: Any) -> None:
        """Write a line to the job's log."""
        HAND_ON.get()()
        CURRENT.get().log(text)

    def progress(self, percent: float, text: str = "") -> None:
        """Tell how far the script is."""
        CURRENT.get().progress(percent, text)

    def parents(self) -> list[dict[str, Any]]:
        """The jobs that this one came after: ref, status, result, error of each."""
        return shown_parents(CURRENT.get().parents)

    def save_checkpoint(self, state: Any) -> None:
        """Keep a value that the job's next attempt gets."""
        CURRENT.get().save_checkpoint(state)

    def load_checkpoint(self) -> Any:
        """The value that an attempt before this one saved last, () if none."""
        return CURRENT.get().load_checkpoint()

    def heroscript(self, text: str) -> str:
        """Run a HeroScript with the actors of the job's circle; returns its results, one a line."""
        context = CURRENT.get()
        return self._processor().run_text(text, context.job, context)

    def rpc(self, service: str, method: str, params: Any = None) -> Any:
        """Call a method of a service; with an empty service one of this process, an actor's action among them."""
        from herojobs.openrpc.caller import Caller  # here: HTTP and schemas take a while to import
        from herojobs.processors.openrpc_local import JobCallContext, LocalMethods

        context = CURRENT.get()
        job = context.job
        if self._methods is None:
            self._methods = LocalMethods(self._settings)
        local = self._methods
        deadline = time.monotonic() + (job.timeout or self._settings.default_timeout)
        circle = queue_name_fix(job.circle_id)
        HAND_ON.get()()
        call_context = JobCallContext(context.ref, circle, context.log, deadline, job=job, job_context=context)

        async def call() -> Any:
            caller = Caller(self._settings, local)
            try:
                return await caller.call(service, method, params, call_context)
            finally:
                await caller.close()

        return in_passing(call(), context)

    def ai(self, prompt: str, options: Any = None) -> Any:
        """Ask a model as part of this job; options are those of AI jobs. With a schema it returns what fits it."""
        from herojobs.processors.ai import AIProcessor  # here: few scripts ask models

        context = CURRENT.get()
        if self._ai is None:
            self._ai = AIProcessor(self._settings)
        HAND_ON.get()()
        asked = msgspec.json.encode({"prompt": prompt, **(options or {})}).decode()
        answer = self._ai.answer(asked, context.job, context)
        return msgspec.json.decode(answer) if options and options.get("schema") else answer

    def submit(self, params_type: str, params: str, options: Any = None) -> str:
        """Submit another job and return its reference; options: circle_id, topic, timeout, at, after, on_failure."""
        options = options or {}
        unknown = set(options) - {"circle_id", "topic", "timeout", "at", "after", "on_failure"}
        if unknown:
            raise ValueError(
                f"submit: no option {sorted(unknown)[0]!r}; "
                "the options are after, at, circle_id, on_failure, timeout, topic"
            )
        return str(self._context().submit(params, params_type=params_type, **options).ref)

    def wait(self, ref: str, seconds: float) -> dict[str, Any]:
        """Wait until another job is over and return it; an error if it isn't by then."""
        context = self._context()
        queue = Ref.parse(ref).queue
        own = Ref.parse(context.ref).queue
        if queue.circle != own.circle and own.circle not in self._settings.cross_circle:
            raise HeroJobsError(f"a job of circle {own.circle} may not look at circle {queue.circle}")
        job = context.client.wait(ref, timeout=min(float(seconds), MAX_WAIT))
        shown: dict[str, Any] = msgspec.to_builtins(job)
        del shown["sessionkey"]
        return shown

    def env(self, name: str) -> str:
        """An environment variable that the setting `rhai_env` allows."""
        if name not in self._settings.rhai_env:
            raise PermissionError(f"env: the setting rhai_env doesn't list {name!r}")
        return os.environ.get(name, "")

    def _processor(self) -> HeroScriptProcessor:
        if self._scripts is None:
            self._scripts = HeroScriptProcessor(self._settings)
        return self._scripts

    def _context(self) -> ScriptContext:
        return ScriptContext(CURRENT.get(), self._processor().client)


def all_functions(settings: Settings) -> dict[str, Callable[..., Any]]:
    """Return the functions of job scripts by name: the standard ones, plug-ins' and those that the settings name.

    Raises:
        WorkerError: a module doesn't import, or has no functions.
    """
    standard = JobFunctions(settings)
    return {
        name: method for name, method in inspect.getmembers(standard, inspect.ismethod) if not name.startswith("_")
    } | user_functions(settings)


def user_functions(settings: Settings) -> dict[str, Callable[..., Any]]:
    """Return the functions of plug-ins and of the modules that the settings name; raises as `all_functions`."""
    functions: dict[str, Callable[..., Any]] = {}
    for point in entry_points(group=GROUP):
        functions |= _functions_of(point.load(), point.value)
    for name in settings.rhai_functions:
        try:
            module = importlib.import_module(name)
        except Exception as e:  # a user's module may raise anything while it is imported
            raise WorkerError(f"the Rhai functions in {name!r} can't be imported: {type(e).__name__}: {e}") from e
        functions |= _functions_of(module, name)
    return functions


def _functions_of(module: Any, name: str) -> dict[str, Callable[..., Any]]:
    named: dict[str, Callable[..., Any]] | None = getattr(module, "rhai_functions", None)
    if named is not None:
        return named
    found: dict[str, Callable[..., Any]] = {
        key: value
        for key, value in vars(module).items()
        if inspect.isfunction(value) and not key.startswith("_") and value.__module__ == module.__name__
    }
    if not found:
        raise WorkerError(f"the module {name!r} has no function for Rhai scripts")
    return found
