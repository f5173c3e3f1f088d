"""Tools that a model may call: what they are, which of them a job has, and a call's way. Imports nothing heavy."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from herojobs.ai.answer_log import AnswerLog, shown
from herojobs.ai.failures import AIFailure
from herojobs.ai.prompt import refuse
from herojobs.ai_settings import AISettings, of_circle
from herojobs.errors import did_you_mean

LONGEST_NAME = 64
MOST_RESULT = 16 * 1024
"""Characters of a result that go back to the model."""

_ODD = re.compile(r"[^A-Za-z0-9_-]+")


class ToolError(Exception):
    """A call failed for a reason that the model may mend or report; its text goes to the model."""


@dataclass(frozen=True, slots=True)
class Tool:
    """Something that a model may call.

    Attributes:
        name: as the model and the settings know it, at most 64 of `[A-Za-z0-9_-]`.
        description: what it does.
        schema: JSON Schema of its arguments, an object.
        call: does it, and raises `ToolError` or anything else where it fails.
    """

    name: str
    description: str
    schema: dict[str, Any]
    call: Callable[[dict[str, Any]], Awaitable[Any]]


def tool_name(*parts: str) -> str:
    """Return the name of a tool that is made of these parts."""
    return _ODD.sub("_", "_".join(parts))[:LONGEST_NAME]


def allowed(ai: AISettings, circle: str, wanted: Sequence[str], tools: Iterable[Tool]) -> list[Tool]:
    """Return the tools that a job has: those that it asks for and that its circle may use.

    Args:
        ai: the settings.
        circle: the job's circle, its name fixed.
        wanted: the job's patterns.
        tools: all that there are.

    Raises:
        AIFailure: a pattern of the job's matches no tool, or none that the circle may use.
    """
    everything: dict[str, Tool] = {}
    for tool in tools:
        everything.setdefault(tool.name, tool)  # names that were cut may meet; the first one has it
    patterns = of_circle(ai.tools, circle) or ()
    usable = {name for name in everything if any(fnmatchcase(name, pattern) for pattern in patterns)}
    found: dict[str, Tool] = {}
    for pattern in wanted:
        names = [name for name in everything if fnmatchcase(name, pattern)]
        if not names:
            raise AIFailure("invalid_params", f"tools: there is no tool {pattern!r}; {_right(pattern, usable)}")
        if not usable.intersection(names):
            raise AIFailure(
                "invalid_params",
                f"tools: jobs of circle {circle} may not use {pattern!r}; the setting ai.tools.{circle} allows tools",
            )
        found |= {name: everything[name] for name in names if name in usable}
    return list(found.values())


class ToolCalls:
    """The calls of one job: each is checked, made, and told in the log.

    Args:
        tools: the tools that the job has.
        log: where calls are told.
        hide: removes what no model and no log may see.
    """

    def __init__(self, tools: Sequence[Tool], log: AnswerLog, hide: Callable[[str], str]) -> None:
        self.tools = {tool.name: tool for tool in tools}
        self.made = 0
        self.last_error = ""
        self._log = log
        self._hide = hide
        self._checks: dict[str, Any] = {}

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        """Make a call and return its result as text.

        Raises:
            ToolError: it failed; the text is for the model.
        """
        try:
            return await self._call(self.tools[name], arguments)
        except ToolError as e:
            self.last_error = f"{name}: {e}"
            raise

    def tell_refused(self, name: str) -> None:
        """Tell that a model wants to call a tool that the job doesn't have."""
        self._log.line(f"[tool {name}: refused, the job has no such tool]")

    async def _call(self, tool: Tool, arguments: dict[str, Any]) -> str:
        began = time.monotonic()
        given = msgspec.json.encode(arguments, enc_hook=str).decode()
        self._log.line(f"[tool {tool.name} {shown(given)}]")
        try:
            self._check(tool, arguments)
            self.made += 1
            result = _text(await tool.call(arguments))
        except Exception as e:
            problem = self._hide(str(e) if isinstance(e, ToolError) else f"{type(e).__name__}: {e}")
            self._log.line(f"[tool {tool.name}: failed after {time.monotonic() - began:.2f} s: {shown(problem)}]")
            raise ToolError(problem) from e
        result = self._hide(result)
        self._log.line(f"[tool {tool.name}: done in {time.monotonic() - began:.2f} s: {shown(result)}]")
        if len(result) > MOST_RESULT:
            result = f"{result[:MOST_RESULT]}\n(cut: the result has {len(result):,} characters)"
        return result

    def _check(self, tool: Tool, arguments: dict[str, Any]) -> None:
        import jsonschema_rs  # here: few jobs have tools

        check = self._checks.get(tool.name)
        if check is None:
            check = self._checks[tool.name] = jsonschema_rs.validator_for(tool.schema, retriever=refuse)
        faults = [faults_of(error) for error, _ in zip(check.iter_errors(arguments), range(5), strict=False)]
        if faults:
            raise ToolError(f"wrong arguments: {'; '.join(faults)}")


def faults_of(error: Any) -> str:
    """Return what a validator found, with its place."""
    place = "/".join(str(part) for part in error.instance_path)
    return f"{place}: {error.message}" if place else str(error.message)


def _text(result: Any) -> str:
    return result if isinstance(result, str) else msgspec.json.encode(result, enc_hook=str).decode()


def _right(pattern: str, usable: Iterable[str]) -> str:
    return did_you_mean(pattern, usable) or "the circle may use none; the setting ai.tools allows tools"
