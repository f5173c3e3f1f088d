"""Hooks in Python: functions of modules that the setting `hooks` or entry points `herojobs.hooks` name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from herojobs.errors import SettingsError
from herojobs.job import Job, decode
from herojobs.settings import HOOK_EVENTS

GROUP = "herojobs.hooks"
PREFIX = "hooks:"
"""Begins the names of such targets in the outbox; the module's name follows."""

Function = Callable[[Job], object]


class HookModule:
    """The hooks of one module: its functions `on_job_<event>`, and `on_job_end`, called for `done` and `error`.

    Each gets the job as it was then.

    Attributes:
        target: its name in the outbox.
        events: what it wants to hear of.
    """

    def __init__(self, name: str, module: Any) -> None:
        self.target = PREFIX + name
        self._functions: dict[str, list[Function]] = {}
        for event in HOOK_EVENTS:
            wanted = [f"on_job_{event}", *(["on_job_end"] if event in ("done", "error") else [])]
            found = [function for each in wanted if callable(function := getattr(module, each, None))]
            if found:
                self._functions[event] = found
        self.events = tuple(self._functions)
        if not self.events:
            raise SettingsError(f"hooks: the module {name!r} has no function like on_job_end(job)")

    def call(self, event: str, data: bytes) -> None:
        """Call the functions for an event; whatever one raises is raised."""
        for function in self._functions.get(event, ()):
            function(decode(data))


def hook_modules(names: tuple[str, ...]) -> list[HookModule]:
    """Return the hooks of modules by name, and those of installed distributions.

    Raises:
        SettingsError: a module doesn't import, or has no hooks.
    """
    found = []
    for name in names:
        try:
            module = importlib.import_module(name)
        except Exception as e:  # a user's module may raise anything while it is imported
            raise SettingsError(f"hooks: the module {name!r} can't be imported: {type(e).__name__}: {e}") from e
        found.append(HookModule(name, module))
    return found + [HookModule(point.value, point.load()) for point in entry_points(group=GROUP)]


def any_hooks(names: tuple[str, ...]) -> bool:
    """Return whether there are any, without importing them."""
    return bool(names) or bool(entry_points(group=GROUP))
