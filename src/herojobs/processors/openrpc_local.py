"""Methods that an OpenRPC job calls without a service: Python functions, our own API for the job's circle, actors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from herojobs.errors import RpcError
from herojobs.heroscript import HeroScriptError, PlayBook, Registry, bind
from herojobs.heroscript.execution import BoundScript
from herojobs.heroscript.params import Param
from herojobs.job import Job
from herojobs.jsonrpc.codes import Code
from herojobs.openrpc import CallContext, MethodInfo, PythonMethods, load_methods
from herojobs.openrpc.document import invalid_params
from herojobs.processors.base import JobContext
from herojobs.processors.heroscript import HeroScriptProcessor
from herojobs.processors.openrpc_api import API, ApiCall, Client
from herojobs.processors.script_context import ScriptContext
from herojobs.processors.threads import in_thread
from herojobs.settings import Settings


@dataclass(slots=True, kw_only=True)
class JobCallContext(CallContext):
    """A call's context with the job that makes it."""

    job: Job
    job_context: JobContext


class LocalMethods:
    """Finds a name among the Python methods first, then in our own API, then among the actors.

    Args:
        settings: the settings in force.
        threads: whether plain functions run in threads, as they must on the event loop of others.

    Attributes:
        scripts: runs the actors' actions.

    Raises:
        WorkerError: a module that the settings name can't be loaded.
    """

    def __init__(self, settings: Settings, *, threads: bool = False) -> None:
        self._settings = settings
        # Plain functions that an OpenRPC job calls never get to the concurrent worker, so they need no thread.
        self._threads = threads
        self._python = PythonMethods(load_methods(settings.openrpc_methods), threads=threads)
        self.scripts = HeroScriptProcessor(settings)
        self._client = Client(settings)

    def names(self, circle: str) -> list[str]:
        """Return the names of what a circle's jobs may call."""
        actors = [f"{actor.name}.{name}" for actor in self.registry(circle) for name in actor.actions]
        return [*dict.fromkeys([*self._python.names(circle), *(method.name for method in API), *actors])]

    def infos(self, circle: str) -> Iterable[MethodInfo]:
        """Return the Python methods."""
        return self._python.infos(circle)

    def is_async(self, name: str, circle: str) -> bool:
        """Return whether a method doesn't block the event loop."""
        if name in self._python.names(circle):
            return self._python.is_async(name, circle)
        if API.get(name) is not None:
            return True
        actor, _, action = name.partition(".")
        found = self.registry(circle).actors.get(actor)
        handler = found.actions.get(action) if found is not None else None
        return handler is None or handler.is_async

    async def call(self, method: str, params: bytes | None, context: CallContext) -> bytes:
        """Call a method and return its result as JSON; raise `RpcError`."""
        if method in self._python.names(context.circle):
            return await self._python.call(method, params, context)
        assert isinstance(context, JobCallContext)
        if API.get(method) is not None:
            api = ApiCall(context.job, context.ref, context.circle, self._client.here(), self._settings)
            return await api.call(method, params)
        return await self._act(method, params, context)

    def check(self, method: str, params: bytes | None, circle: str) -> None:
        """Raise `RpcError` if params don't fit a method."""
        if method in self._python.names(circle):
            self._python.check(method, params, circle)
        elif (found := API.get(method)) is not None:
            found.bind(params)
        else:
            self._script(method, params, self.registry(circle))

    def close(self) -> None:
        """Close the clients of loops that aren't running."""
        self._client.close()

    def registry(self, circle: str) -> Registry:
        """Return the actors that a circle's jobs may name."""
        return self.scripts.registry(circle)

    async def _act(self, method: str, params: bytes | None, context: JobCallContext) -> bytes:
        """Have an actor do an action; its result is text."""
        script = self._script(method, params, self.registry(context.circle))
        script_context = ScriptContext(context.job_context, self.scripts.client)
        try:
            if script.is_async:
                return msgspec.json.encode(await script.run_async(script_context, mark=False))
            if self._threads:
                return msgspec.json.encode(await in_thread(lambda: _run_plain(script, script_context)))
            return msgspec.json.encode(_run_plain(script, script_context))
        except HeroScriptError as e:
            raise RpcError(Code.INTERNAL_ERROR, f"Internal error: {e.message}") from e.__cause__

    def _script(self, method: str, params: bytes | None, registry: Registry) -> BoundScript:
        values: Any = {} if params is None else msgspec.json.decode(params)
        if isinstance(values, list):
            if values:
                raise invalid_params(
                    [{"param": "", "path": "$", "got": "an array", "expected": "params by name: actors have no order"}]
                )
            values = {}
        playbook = PlayBook.parse(f"!!{method}", strict=True)
        given = playbook.actions[0].params
        for name, value in values.items():
            if value is None:
                continue
            try:
                given.set(name, _text(value))
            except ValueError as e:
                raise invalid_params([{"param": name, "path": f"$.{name}", "got": "it", "expected": str(e)}]) from None
            if isinstance(value, list):
                key = next(reversed(given.table))
                given.table[key] = Param(key, _text(value), [_text(item) for item in value])
        try:
            return bind(playbook, registry)
        except HeroScriptError as e:
            raise RpcError(Code.INVALID_PARAMS, f"Invalid params: {e.message}") from None


def _run_plain(script: BoundScript, context: ScriptContext) -> str:
    return script.run(context, mark=False)


def _text(value: Any) -> str:
    """Return a JSON value as a script would write it."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
