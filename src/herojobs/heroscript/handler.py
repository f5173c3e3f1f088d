"""An action as its function declares it: parameters, what is injected, help."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from herojobs.heroscript.action import Action
from herojobs.heroscript.actors import ActionMark
from herojobs.heroscript.context import Context
from herojobs.heroscript.converters import Converter, converter_for
from herojobs.heroscript.names import name_fix

INJECTED = "Context", "Action", "PlayBook", "Registry", "Binder"
"""Classes whose instances a parameter gets from the runner, never from the script."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter that a script may set.

    Attributes:
        name: its name in Python.
        key: its fixed name.
        converter: how its text is read.
        default: what it is if not given; `inspect.Parameter.empty` if it must be given.
    """

    name: str
    key: str
    converter: Converter
    default: Any

    @property
    def required(self) -> bool:
        """Whether a script must give it."""
        return self.default is inspect.Parameter.empty


class Handler:
    """A function that does an action.

    Attributes:
        actor: name of its actor.
        name: name of the action.
        function: the function; a method is called with its actor's instance first.
        owner: the actor's class, or its instance if the registry was given one; None for a plain function.
        parameters: by fixed name, aliases not included.
        keys: parameter for each key that sets it, aliases included.
        positional: names of parameters that `*args` come after, in order.
        rest: converter of `**rest`; None if there is none.
        args: converter of `*args`; None if there is none.
        injected: name of a parameter to the class that it gets an instance of.
        is_async: whether it is a coroutine function.

    Raises:
        TypeError: a parameter's annotation can't be read from text.
    """

    def __init__(self, actor: str, mark: ActionMark, function: Callable[..., Any], owner: object) -> None:
        self.actor = actor
        self.name = mark.name
        self.full_name = f"{actor}.{mark.name}"
        self.types = mark.types
        self.directive = mark.directive
        self.function = function
        self.owner = owner
        self.doc = inspect.getdoc(function) or ""
        self.is_async = inspect.iscoroutinefunction(function)
        self.parameters: dict[str, Parameter] = {}
        self.positional: list[str] = []
        self.rest: Converter | None = None
        self.args: Converter | None = None
        self.injected: dict[str, type] = {}
        self._read_signature()
        self.keys = dict(self.parameters)
        for alias, key in mark.aliases.items():
            if key not in self.parameters:
                raise TypeError(f"{self.full_name}: the alias {alias!r} is for {key!r}, which is no parameter")
            self.keys[alias] = self.parameters[key]
        self.defaults = {one.name: one.default for one in self.parameters.values() if not one.required}
        self.required = [parameter for parameter in self.parameters.values() if parameter.required]

    def _read_signature(self) -> None:
        parameters = list(inspect.signature(self.function).parameters.values())
        hints = typing.get_type_hints(self.function, include_extras=True)
        for parameter in parameters[1:] if self.owner is not None else parameters:
            annotation = hints.get(parameter.name, str)
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise TypeError(f"{self.full_name}: parameter {parameter.name!r} can't be positional-only")
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
                self.positional.append(parameter.name)
            if isinstance(annotation, type) and _is_injected(annotation):
                self.injected[parameter.name] = annotation
                continue
            try:
                converter = converter_for(annotation)
            except TypeError as error:
                raise TypeError(f"{self.full_name}: parameter {parameter.name!r}: {error}") from None
            if parameter.kind is parameter.VAR_POSITIONAL:
                self.args = converter
            elif parameter.kind is parameter.VAR_KEYWORD:
                self.rest = converter
            else:
                key = name_fix(parameter.name)
                self.parameters[key] = Parameter(parameter.name, key, converter, parameter.default)

    @property
    def signature(self) -> str:
        """The action as a script would write it, with kinds and defaults."""
        parts = [self.full_name]
        for parameter in self.parameters.values():
            if parameter.required:
                parts.append(f"{parameter.key}:({parameter.converter.label})")
            else:
                parts.append(f"[{parameter.key}:{_shown(parameter.default)}]")
        if self.args is not None:
            parts.append("[values …]")
        if self.rest is not None:
            parts.append("[any:value …]")
        return " ".join(parts)

    @property
    def summary(self) -> str:
        """The first line of its docs."""
        return self.doc.split("\n", 1)[0]


def _is_injected(annotation: type) -> bool:
    return issubclass(annotation, Context | Action) or any(
        base.__name__ in INJECTED and base.__module__.startswith("herojobs.heroscript.") for base in annotation.__mro__
    )


@lru_cache(maxsize=1024)
def injected_by_init(cls: type) -> tuple[tuple[str, type], ...]:
    """Return the parameters of an actor's `__init__` that get an object from the runner."""
    if cls.__init__ is object.__init__:  # type: ignore[misc]  # compared, not called
        return ()
    hints = typing.get_type_hints(cls.__init__)  # type: ignore[misc]  # read, not called
    return tuple(
        (name, hint)
        for name, hint in hints.items()
        if isinstance(hint, type) and name != "return" and _is_injected(hint)
    )


def _shown(default: object) -> str:
    if default is None:
        return "…"
    if isinstance(default, bool):
        return str(default).lower()
    text = str(getattr(default, "value", default))
    return f"'{text}'" if not text or " " in text else text
