"""Declaring actors: two decorators for classes, methods and functions (HeroScript 12.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, overload

from herojobs.heroscript.action import TYPES, ActionType
from herojobs.heroscript.names import name_fix, snake_case

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound=type)

ACTOR_MARK = "__heroscript_actor__"
ACTION_MARK = "__heroscript_action__"


class ActionError(Exception):
    """Raise it in an action to fail with just this message."""

    __module__ = "herojobs.heroscript"


@dataclass(frozen=True, slots=True)
class ActionMark:
    """What `action` says about a function.

    Attributes:
        actor: the actor of a plain function; empty for a method.
        name: the action's fixed name.
        types: types of actions it takes.
        aliases: other key to parameter.
        directive: whether it acts when the script is bound and does nothing when it runs.
    """

    actor: str
    name: str
    types: tuple[ActionType, ...] = TYPES
    aliases: Mapping[str, str] = field(default_factory=dict)
    directive: bool = False


@overload
def actor(target: C) -> C: ...


@overload
def actor(target: str) -> Callable[[C], C]: ...


def actor(target: C | str) -> C | Callable[[C], C]:
    """Mark a class as an actor: `@actor`, or `@actor("other_name")`.

    Without a name it gets the class's in snake case: `ParcelDepot` is `parcel_depot`. One instance is made for each
    script that uses it, so that `self` holds state between the actions of one script and never leaks into another;
    an `__init__` may take a Context and nothing else without a default.
    """
    if isinstance(target, str):
        name = name_fix(target)
        if not name or "." in name:
            raise ValueError(f"{target!r} can't be the name of an actor; use letters, digits and _")
        return lambda cls: _mark_actor(cls, name)
    return _mark_actor(target, snake_case(target.__name__))


def _mark_actor(cls: C, name: str) -> C:
    if not isinstance(cls, type):
        raise TypeError(f"@actor marks classes; mark the function {cls!r} with @action")
    setattr(cls, ACTOR_MARK, name)
    return cls


@overload
def action(target: F) -> F: ...


@overload
def action(
    target: str = ...,
    *,
    types: Sequence[ActionType] = ...,
    aliases: Mapping[str, str] | None = ...,
) -> Callable[[F], F]: ...


def action(
    target: F | str = "",
    *,
    types: Sequence[ActionType] = TYPES,
    aliases: Mapping[str, str] | None = None,
) -> F | Callable[[F], F]:
    """Mark a method of an actor, or a plain function, as an action: `@action` or `@action("other_name")`.

    A plain function is named `"actor.name"`; without an actor it belongs to `core`, as `!!name` does in a script.
    It may be `async def`. Its parameters are the action's params, read by their annotations.

    Args:
        target: the name, if it isn't the function's.
        types: types of actions it takes; others are an error.
        aliases: other names for parameters: `{"colour": "color"}`.
    """
    if callable(target):
        return _mark_action(target, "", types, aliases or {}, directive=False)
    name = target
    return lambda function: _mark_action(function, name, types, aliases or {}, directive=False)


def directive(function: F) -> F:
    """Mark a method that acts while the script is bound, before anything runs (variables, includes)."""
    return _mark_action(function, "", TYPES, {}, directive=True)


def _mark_action(
    function: F, name: str, types: Sequence[ActionType], aliases: Mapping[str, str], *, directive: bool
) -> F:
    actor_name, dot, action_name = name.rpartition(".")
    action_name = name_fix(action_name) if action_name else snake_case(function.__name__)
    actor_name = name_fix(actor_name)
    if not action_name or (dot and not actor_name) or "." in actor_name:
        raise ValueError(f"{name!r} can't be the name of an action; write name or actor.name")
    unknown = [kind for kind in types if kind not in TYPES]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no type of action; the types are {', '.join(TYPES)}")
    fixed = {name_fix(alias): name_fix(parameter) for alias, parameter in aliases.items()}
    mark = ActionMark(actor_name, action_name, tuple(types), fixed, directive)
    setattr(function, ACTION_MARK, mark)
    return function
