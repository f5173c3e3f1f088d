"""What a model may call: HeroScript actions, OpenRPC methods, Rhai's functions, jobs (docs/ai.md)."""

from __future__ import annotations

import asyncio
import inspect
import time
import typing
from collections.abc import Awaitable, Callable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from herojobs.ai.failures import AIFailure
from herojobs.ai.tools import Tool, ToolError, tool_name
from herojobs.errors import HeroJobsError, RpcError
from herojobs.heroscript import Money, Registry, Size
from herojobs.heroscript.handler import Handler
from herojobs.job import Job
from herojobs.jsonrpc.methods import Method
from herojobs.openrpc import MethodInfo, method_schema
from herojobs.processors.base import JobContext
from herojobs.processors.openrpc_local import JobCallContext, LocalMethods
from herojobs.processors.rhai_functions import user_functions
from herojobs.processors.threads import in_thread
from herojobs.settings import Settings

if TYPE_CHECKING:
    from herojobs.client import HeroJobs
    from herojobs.openrpc.caller import Caller

Call = Callable[[dict[str, Any]], Awaitable[Any]]

AS_TEXT = (datetime, date, timedelta, Decimal, Path, Money, Size)
"""Kinds of parameters that an action reads from text in more ways than one."""

JOBS: dict[str, tuple[str, str, dict[str, Any], list[str]]] = {
    "job_submit": (
        "job.submit",
        "Submit a job to a queue of this circle. Returns the job with its reference (circle/topic/jobid).",
        {
            "params": {"type": "string", "description": "the script, call or prompt"},
            "params_type": {"type": "string", "enum": ["heroscript", "rhaiscript", "openrpc", "ai"]},
            "topic": {"type": "string", "description": "the queue; this job's own if not given"},
            "timeout": {"type": "integer", "minimum": 1, "description": "seconds it may run"},
        },
        ["params"],
    ),
    "job_get": (
        "job.get",
        "Look at a job: its status, result or error.",
        {"ref": {"type": "string", "description": "its reference, circle/topic/id"}},
        ["ref"],
    ),
}


class JobTools:
    """The tools of a worker's AI jobs. A call has the rights of the job's circle, and no more.

    Args:
        settings: the settings in force.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._methods: LocalMethods | None = None
        self._functions: dict[str, Callable[..., Any]] | None = None
        self._callers: dict[asyncio.AbstractEventLoop, Caller] = {}

    def client(self) -> HeroJobs:
        """Return the worker's client; may block while it connects."""
        return self._local().scripts.client()

    async def all(self, job: Job, context: JobContext) -> list[Tool]:
        """Return all tools that there are for a job.

        Raises:
            AIFailure: methods or functions that the settings name can't be loaded.
        """
        circle = context.ref.partition("/")[0]
        deadline = time.monotonic() + (job.timeout or self._settings.default_timeout)
        call_context = JobCallContext(context.ref, circle, context.log, deadline, job=job, job_context=context)
        try:
            await asyncio.to_thread(self._load)
            caller = self._caller_here()
            methods = await caller.methods(circle, call_context)
        except HeroJobsError as e:
            raise AIFailure("not_configured", f"tools: {e}") from None

        def calling(service: str, method: str) -> Call:
            async def call(arguments: dict[str, Any]) -> Any:
                try:
                    return await caller.call(service, method, arguments, call_context)
                except RpcError as e:
                    raise ToolError(str(e)) from e

            return call

        found = [
            Tool(name, text, _object(properties, required), calling("", method))
            for name, (method, text, properties, required) in JOBS.items()
        ]
        for handler in _handlers(self._local().registry(circle)):
            name = tool_name("hero", handler.actor, handler.name)
            found.append(Tool(name, handler.doc, action_schema(handler), calling("", handler.full_name)))
        for info in methods:
            name = tool_name("rpc", *filter(None, (info.service, info.name)))
            found.append(Tool(name, info.summary, _rpc_schema(info), calling(info.service, info.name)))
        for name, function in (self._functions or {}).items():
            found.append(_function_tool(name, function))
        return found

    async def close(self) -> None:
        """Close the running loop's connections."""
        caller = self._callers.pop(asyncio.get_running_loop(), None)
        if caller is not None:
            await caller.close()

    def _load(self) -> None:
        self._local()
        if self._functions is None:
            self._functions = user_functions(self._settings)

    def _local(self) -> LocalMethods:
        if self._methods is None:
            self._methods = LocalMethods(self._settings, threads=True)
        return self._methods

    def _caller_here(self) -> Caller:
        from herojobs.openrpc.caller import Caller  # here: HTTP and schemas take a while to import

        loop = asyncio.get_running_loop()
        if loop not in self._callers:
            self._callers = {each: caller for each, caller in self._callers.items() if not each.is_closed()}
            self._callers[loop] = Caller(self._settings, self._local())
        return self._callers[loop]


def action_schema(handler: Handler) -> dict[str, Any]:
    """Return the JSON Schema of an action's params."""
    hints = typing.get_type_hints(handler.function, include_extras=True)
    properties: dict[str, Any] = {}
    kinds: dict[str, Any] = {}
    for key, parameter in handler.parameters.items():
        kind = hints.get(parameter.name, str)
        if _is_plain(kind):
            kinds[key] = kind
        else:
            properties[key] = {"type": "string", "description": parameter.converter.label}
    schemas, defs = msgspec.json.schema_components(kinds.values(), ref_template="#/$defs/{name}")
    properties |= dict(zip(kinds, schemas, strict=True))
    required = [parameter.key for parameter in handler.required]
    schema = _object({key: properties[key] for key in handler.parameters}, required)
    schema["additionalProperties"] = handler.rest is not None
    return schema | ({"$defs": defs} if defs else {})


def _is_plain(kind: Any) -> bool:
    """Return whether JSON has this kind of value."""
    if any(one in AS_TEXT for one in (kind, *typing.get_args(kind))):
        return False
    try:
        msgspec.json.schema(kind)
    except (TypeError, RuntimeError):
        return False
    return True


def _handlers(registry: Registry) -> Iterator[Handler]:
    for actor in registry:
        yield from (handler for handler in actor.actions.values() if not handler.directive)


def _rpc_schema(info: MethodInfo) -> dict[str, Any]:
    return {"type": "object", **_with_defs(info.schema)}


def _function_tool(name: str, function: Callable[..., Any]) -> Tool:
    """Return the tool that a function for Rhai scripts is."""
    method = Method(name, function)

    async def call(arguments: dict[str, Any]) -> Any:
        values = method.bind(msgspec.json.encode(arguments))
        if inspect.iscoroutinefunction(function):
            return await function(**values)
        return await in_thread(lambda: function(**values))

    text = inspect.getdoc(function) or ""
    return Tool(tool_name("rhai", name.replace("::", "_")), text, _with_defs(method_schema(method)), call)


def _with_defs(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema whose shared parts stand where providers look for them."""
    components = schema.get("components")
    if not components:
        return schema
    text = msgspec.json.encode(schema).decode().replace("#/components/schemas/", "#/$defs/")
    moved: dict[str, Any] = msgspec.json.decode(text)
    return moved | {"$defs": moved.pop("components").get("schemas", {})}


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
