"""An action as its function declares it: parameters, what is injected, help."""

from __future__ import annotations

import enum
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from herojobs.heroscript.actors import ActionMark
from herojobs.heroscript.converters import Converter, converter_for
from herojobs.heroscript.injected import Injected
from herojobs.heroscript.names import name_fix


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
        self.python_names = frozenset(parameter.name for parameter in parameters)
        try:
            hints = typing.get_type_hints(self.function, include_extras=True)
        except NameError as error:
            raise TypeError(f"{self.full_name}: an annotation can't be read: {error}") from None
        for parameter in parameters[1:] if self.owner is not None else parameters:
            annotation = hints.get(parameter.name, str)
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise TypeError(f"{self.full_name}: parameter {parameter.name!r} can't be positional-only")
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
                self.positional.append(parameter.name)
            injected = _injected(annotation)
            if injected is not None:
                self.injected[parameter.name] = injected
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
                # from_ and id_ are how Python spells names it keeps for itself.
                key = name_fix(parameter.name.removesuffix("_"))
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


def _injected(annotation: object) -> type | None:
    """Return the class that a parameter gets an instance of: the annotation, or the one in `X | None`."""
    for one in (annotation, *typing.get_args(annotation)):
        if isinstance(one, type) and issubclass(one, Injected):
            return one
    return None


@lru_cache(maxsize=1024)
def injected_by_init(cls: type) -> tuple[tuple[str, type], ...]:
    """Return the parameters of an actor's `__init__` that get an object from the runner.

    Raises:
        TypeError: it needs something else.
    """
    init = inspect.getattr_static(cls, "__init__")
    if init is object.__init__:
        return ()
    hints = typing.get_type_hints(init)
    injected = []
    for parameter in list(inspect.signature(init).parameters.values())[1:]:
        wanted = _injected(hints.get(parameter.name))
        if wanted is not None:
            injected.append((parameter.name, wanted))
        elif parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            raise TypeError(
                f"{cls.__qualname__}.__init__ needs {parameter.name!r}; give the registry an instance instead"
            )
    return tuple(injected)


def _shown(default: object) -> str:
    if default is None:
        return "…"
    if isinstance(default, bool):
        return str(default).lower()
    text = name_fix(default.name) if isinstance(default, enum.Enum) else str(default)
    return f"'{text}'" if not text or " " in text else text
