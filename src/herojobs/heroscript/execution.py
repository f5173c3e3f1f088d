"""Running a bound script, action after action (HeroScript 12.1)."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from herojobs.heroscript.action import Action
from herojobs.heroscript.actors import ActionError
from herojobs.heroscript.context import Context
from herojobs.heroscript.errors import HeroScriptError
from herojobs.heroscript.handler import Handler, injected_by_init
from herojobs.heroscript.playbook import PlayBook
from herojobs.heroscript.registry import Registry


def _other_json(value: object) -> str:
    if isinstance(value, os.PathLike):
        return str(value)
    raise ActionError(f"its result, of type {type(value).__name__}, is neither text nor JSON")


_json = msgspec.json.Encoder(enc_hook=_other_json)
_kept = threading.local()


class Runner(Protocol):
    """What a step needs of whoever runs it."""

    instances: dict[type, Any]

    def inject(self, cls: type, action: Action) -> object:
        """Return what a parameter annotated with `cls` gets."""


class Step:
    """One action with its handler and converted values; never changes, so that many runs can share it."""

    __slots__ = ("action", "args", "fresh", "function", "handler", "injected", "is_async", "maker", "owner", "values")

    def __init__(
        self,
        action: Action,
        handler: Handler,
        values: dict[str, Any],
        fresh: list[tuple[str, Callable[[], Any]]],
        args: list[Any],
    ) -> None:
        self.action = action
        self.handler = handler
        self.function = handler.function
        self.is_async = handler.is_async
        self.values = values
        self.fresh = fresh
        self.args = args
        self.injected = tuple(handler.injected.items())
        # A class gets an instance for each run, made at its first action; a registered instance serves all.
        self.maker = handler.owner if isinstance(handler.owner, type) else None
        self.owner = handler.owner

    def call(self, runner: Runner) -> Any:
        """Call the function."""
        values = self.values
        if self.fresh or self.injected or self.args:
            values = dict(values)
            for name, make in self.fresh:
                values[name] = make()
            for name, cls in self.injected:
                values[name] = runner.inject(cls, self.action)
            if self.args:
                return self._call_with_args(runner, values)
        if self.owner is None:
            return self.function(**values)
        return self.function(self._instance(runner), **values)

    def _call_with_args(self, runner: Runner, values: dict[str, Any]) -> Any:
        # What stands before *args in the signature can only be given by position then.
        handler = self.handler
        before = [values.pop(name) if name in values else handler.defaults[name] for name in handler.positional]
        if self.owner is not None:
            before.insert(0, self._instance(runner))
        return self.function(*before, *self.args, **values)

    def _instance(self, runner: Runner) -> Any:
        maker = self.maker
        if maker is None:
            return self.owner
        instance = runner.instances.get(maker)
        if instance is None:
            values = {name: runner.inject(cls, self.action) for name, cls in injected_by_init(maker)}
            instance = runner.instances[maker] = maker(**values)
        return instance


def result_text(value: object) -> str:
    """Return a handler's result as text: text as it is, all else as compact JSON."""
    if isinstance(value, str):
        return str(value)
    return _json.encode(value).decode()


class BoundScript:
    """A script that is ready to run, again and again: a plan that never changes.

    Attributes:
        playbook: the parsed script.
        actions: its actions, with included ones in their places.
        steps: what is run.
        is_async: whether all actions are asynchronous, so that the script may share a thread with others.
        reads_files: whether it was put together from files, so that binding it again may give another script.
        shareable: whether one plan may serve many runs: no file went into it, and no action sees the playbook's state.
    """

    def __init__(
        self,
        playbook: PlayBook,
        steps: tuple[Step, ...],
        actions: tuple[Action, ...],
        registry: Registry,
        *,
        reads_files: bool = False,
    ) -> None:
        self.playbook = playbook
        self.steps = steps
        self.actions = actions
        self.registry = registry
        self.reads_files = reads_files
        self.is_async = bool(steps) and all(step.is_async for step in steps)
        state: tuple[type, ...] = (Action, PlayBook)
        sees_state = any(issubclass(cls, state) for step in steps for _, cls in step.injected)
        self.shareable = not reads_files and not sees_state

    def run(
        self, context: Context | None = None, loop: asyncio.AbstractEventLoop | None = None, *, mark: bool = True
    ) -> str:
        """Run the actions one after another in this thread; return their results joined by line breaks.

        Args:
            context: what actions may ask the runner; a plain one if None.
            loop: the loop that asynchronous actions run in; if None one that is made once for the thread and kept.
            mark: whether to set `done` and `result` of the actions; not when several runs share this plan.

        Whoever interrupts a running script by an exception should derive it from KeyboardInterrupt: asyncio keeps
        any other to itself if it comes while a callback runs.

        Raises:
            HeroScriptError: an action failed (code `failed`); the error it raised is the cause.
        """
        run = _Run(self, context)
        results = run.results
        first = True
        for step in self.steps:
            if first:
                first = False
            else:
                run.context.checkpoint()
            try:
                value = step.call(run)
                if step.is_async or (value is not None and type(value) is not str and inspect.isawaitable(value)):
                    value = _complete(value, loop)
                if value is not None:
                    results.append(value if type(value) is str else result_text(value))
            except Exception as error:
                raise run.failed(step, error) from error
            if mark:
                _mark(step.action, None if value is None else results[-1])
        return "\n".join(results)

    async def run_async(self, context: Context | None = None, *, mark: bool = True) -> str:
        """As `run`, in the running loop; synchronous actions run in a thread."""
        run = _Run(self, context)
        results = run.results
        first = True
        for step in self.steps:
            if first:
                first = False
            else:
                run.context.checkpoint()
            try:
                if step.is_async:
                    value = await step.call(run)
                else:
                    value = await asyncio.to_thread(step.call, run)
                    if inspect.isawaitable(value):
                        value = await value
                if value is not None:
                    results.append(value if type(value) is str else result_text(value))
            except Exception as error:
                raise run.failed(step, error) from error
            if mark:
                _mark(step.action, None if value is None else results[-1])
        return "\n".join(results)


class _Run:
    """What belongs to one run of a plan: the context, the actors' instances, the results so far."""

    __slots__ = ("bound", "context", "instances", "results")

    def __init__(self, bound: BoundScript, context: Context | None) -> None:
        self.bound = bound
        self.context = Context() if context is None else context
        self.instances: dict[type, Any] = {}
        self.results: list[str] = []
        self.context.results = self.results

    def inject(self, cls: type, action: Action) -> object:
        """Return what a parameter annotated with `cls` gets."""
        if issubclass(cls, Context):
            if not isinstance(self.context, cls):
                raise ActionError(f"it needs a {cls.__name__}, and runs with a {type(self.context).__name__}")
            return self.context
        if issubclass(cls, Action):
            return action
        if issubclass(cls, PlayBook):
            return self.bound.playbook
        if issubclass(cls, Registry):
            return self.bound.registry
        raise ActionError(f"nothing gives it a {cls.__name__}")

    def failed(self, step: Step, error: Exception) -> HeroScriptError:
        """Return the error that ends the script."""
        if isinstance(error, HeroScriptError):
            message = error.message
        elif isinstance(error, ActionError):
            message = str(error)
        else:
            message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        failure = step.action.error("failed", f"{step.handler.full_name}: {message}")
        failure.action = step.handler.full_name
        failure.result = "\n".join(self.results)
        return failure


def _mark(action: Action, text: str | None) -> None:
    action.done = True
    if text is not None:
        action.result.set("result", text)


def _complete(awaitable: Awaitable[Any], loop: asyncio.AbstractEventLoop | None) -> Any:
    """Run an awaitable to its end in a loop that isn't running."""
    if asyncio._get_running_loop() is not None:
        if inspect.iscoroutine(awaitable):
            awaitable.close()
        raise RuntimeError("a loop runs in this thread already; use run_async")
    if loop is None:
        loop = getattr(_kept, "loop", None)
        if loop is None or loop.is_closed():
            loop = _kept.loop = asyncio.new_event_loop()
    task = asyncio.ensure_future(awaitable, loop=loop)
    try:
        return loop.run_until_complete(task)
    except BaseException:
        # Whoever interrupts this thread leaves the task half done: let its finally blocks run, or it would go on
        # when the loop is used next.
        if not task.done() and not loop.is_closed():
            task.cancel()
            loop.run_until_complete(asyncio.wait([task]))
        raise
