"""Which actors there are (HeroScript 12.2)."""

from __future__ import annotations

import importlib
import inspect
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import entry_points

from herojobs.heroscript.action import Action
from herojobs.heroscript.actors import ACTION_MARK, ACTOR_MARK, ActionMark
from herojobs.heroscript.errors import HeroScriptError, shortened
from herojobs.heroscript.handler import Handler, injected_by_init
from herojobs.heroscript.injected import Injected
from herojobs.heroscript.names import did_you_mean

ENTRY_POINTS = "herojobs.actors"
"""Group of the entry points through which other distributions add actors: a module, a class or a function each."""


@dataclass(slots=True)
class Actor:
    """An actor and its actions.

    Attributes:
        name: its fixed name.
        doc: its docs.
        origin: where it is declared, for errors.
        actions: by fixed name.
        target: the class or instance it is made of; None for plain functions.
    """

    name: str
    doc: str
    origin: str
    actions: dict[str, Handler] = field(default_factory=dict)
    target: object = None

    @property
    def summary(self) -> str:
        """The first line of its docs."""
        return self.doc.split("\n", 1)[0]


class Registry(Injected):
    """The actors that scripts may use.

    Args:
        sources: modules (or their names), actor classes, instances of them, functions marked with `@action`.
        entry_points: whether to add what other distributions offer in the group `herojobs.actors`.
        builtin: whether to add `fake`, `core`, `play` and `session`.

    Raises:
        ValueError: two actors of one name, or a source without actors.
        TypeError: a source is of another kind, or an action has a parameter that no text can become.
        ImportError: a module can't be imported.
    """

    def __init__(self, *sources: object, entry_points: bool = False, builtin: bool = True) -> None:
        self._actors: dict[str, Actor] = {}
        self._handlers: dict[tuple[str, str], Handler] = {}
        if builtin:
            self.add("herojobs.heroscript.builtin")
        for source in sources:
            self.add(source)
        if entry_points:
            self._add_entry_points()

    def add(self, source: object) -> None:
        """Add actors. The arguments and errors are those of the class."""
        if isinstance(source, str):
            source = importlib.import_module(source)
        if isinstance(source, types.ModuleType):
            self._add_module(source)
        elif isinstance(source, type):
            self._add_class(source, source)
        elif inspect.isfunction(source):
            self._add_function(source)
        elif ACTOR_MARK in vars(type(source)):
            self._add_class(type(source), source)
        else:
            raise TypeError(f"{source!r} is no module, no class marked with @actor and no function marked with @action")

    def _add_entry_points(self) -> None:
        for point in entry_points(group=ENTRY_POINTS):
            self.add(point.load())

    def _add_module(self, module: types.ModuleType) -> None:
        found = False
        for value in list(vars(module).values()):
            if isinstance(value, type) and ACTOR_MARK in vars(value):
                self._add_class(value, value)
                found = True
            elif inspect.isfunction(value) and hasattr(value, ACTION_MARK):
                self._add_function(value)
                found = True
        if not found:
            raise ValueError(f"the module {module.__name__} has no class marked with @actor, no function with @action")

    def _add_class(self, cls: type, target: object) -> None:
        name = vars(cls).get(ACTOR_MARK)
        if name is None:
            raise TypeError(f"{cls.__qualname__} isn't marked with @actor")
        known = self._actors.get(name)
        if known is not None:
            # The same class may be seen in two modules that import it.
            if known.target is target:
                return
            raise ValueError(
                f'two actors are called "{name}": {known.origin} and {cls.__module__}.{cls.__qualname__}; '
                'rename one with @actor("name")'
            )
        actor = Actor(name, inspect.getdoc(cls) or "", f"{cls.__module__}.{cls.__qualname__}", target=target)
        for attribute in dir(cls):
            function = inspect.getattr_static(cls, attribute)
            inner = getattr(function, "__func__", function)
            mark = getattr(inner, ACTION_MARK, None)
            if mark is None:
                continue
            if inner is not function:
                raise TypeError(f"{actor.origin}.{attribute}: an action is a method, not static and not of the class")
            self._add_handler(actor, Handler(name, mark, function, target))
        if isinstance(target, type):
            injected_by_init(target)
        if not actor.actions:
            raise ValueError(f"{actor.origin} has no method marked with @action")
        self._actors[name] = actor

    def _add_function(self, function: types.FunctionType) -> None:
        mark: ActionMark | None = getattr(function, ACTION_MARK, None)
        if mark is None:
            raise TypeError(f"{function.__qualname__} isn't marked with @action")
        name = mark.actor or "core"
        actor = self._actors.get(name)
        if actor is None:
            actor = self._actors[name] = Actor(name, "", function.__module__)
        elif name != "core" and actor.origin != function.__module__:
            raise ValueError(f'two actors are called "{name}": {actor.origin} and functions of {function.__module__}')
        known = actor.actions.get(mark.name)
        if known is None or known.function is not function:
            self._add_handler(actor, Handler(name, mark, function, None))

    def _add_handler(self, actor: Actor, handler: Handler) -> None:
        if handler.name in actor.actions:
            raise ValueError(f"two actions are called {handler.full_name}")
        actor.actions[handler.name] = handler
        self._handlers[actor.name, handler.name] = handler

    # Looking up

    @property
    def actors(self) -> dict[str, Actor]:
        """The actors by name, in the order they were added."""
        return dict(self._actors)

    def __contains__(self, name: object) -> bool:
        return name in self._actors

    def __iter__(self) -> Iterator[Actor]:
        return iter(self._actors.values())

    def limited(self, names: Iterable[str]) -> Registry:
        """Return a registry that has only some of these actors.

        Raises:
            ValueError: there is no actor of a name.
        """
        limited = Registry(builtin=False)
        for name in names:
            if name not in self._actors:
                raise ValueError(f'there is no actor "{name}"' + did_you_mean(name, self._actors))
            actor = limited._actors[name] = self._actors[name]
            limited._handlers.update({(name, handler.name): handler for handler in actor.actions.values()})
        return limited

    def handler(self, action: Action) -> Handler:
        """Return what does an action.

        Raises:
            HeroScriptError: there is no such actor or action, or the action doesn't take this type.
        """
        handler = self._handlers.get((action.actor, action.name))
        if handler is None:
            if action.name == "help" and action.actor in self._actors:
                return self._help(action.actor)
            raise self._unknown(action)
        if action.type not in handler.types:
            kinds = " or ".join(handler.types)
            raise action.error("bad_value", f"{handler.full_name} takes actions of type {kinds}, not {action.type}")
        return handler

    def _help(self, actor: str) -> Handler:
        def help_of_actor(registry: Registry) -> str:
            return registry.help(actor)

        help_of_actor.__annotations__ = {"registry": Registry, "return": str}
        handler = Handler(actor, ActionMark(actor, "help"), help_of_actor, None)
        self._handlers[actor, "help"] = handler
        return handler

    def _unknown(self, action: Action) -> HeroScriptError:
        position = action.name_position
        actor = self._actors.get(action.actor)
        if actor is None:
            hint = did_you_mean(action.actor, self._actors)
            known = "" if hint else f"; known actors: {', '.join(sorted(self._actors)) or 'none'}"
            message = f'unknown actor "{shortened(action.actor)}"{hint or known}'
            return action.error("unknown_actor", message, position)
        hint = did_you_mean(action.name, actor.actions)
        if not hint and action.actor == "core":
            others = [handler.full_name for other in self for handler in other.actions.values()]
            hint = did_you_mean("core." + action.name, [name for name in others if name.endswith("." + action.name)])
        known = "" if hint else f"; known actions: {', '.join(sorted(actor.actions))}"
        return action.error(
            "unknown_action", f'unknown action "{shortened(action.name)}" of {action.actor}{hint or known}', position
        )

    # Help

    def help(self, actor: str = "") -> str:
        """Return the actions with their params and what they do, a block of lines for each actor.

        Args:
            actor: name of one actor; all if empty.

        Raises:
            ValueError: there is no such actor.
        """
        if actor and actor not in self._actors:
            raise ValueError(f'there is no actor "{actor}"' + did_you_mean(actor, self._actors))
        chosen = [self._actors[actor]] if actor else sorted(self._actors.values(), key=lambda one: one.name)
        return "\n\n".join(_help_of(one) for one in chosen)


def _help_of(actor: Actor) -> str:
    lines = [f"{actor.name}: {actor.summary}" if actor.doc else actor.name]
    for name in sorted(actor.actions):
        handler = actor.actions[name]
        lines.append(f"  {handler.signature}")
        if handler.doc:
            lines.append(f"      {handler.summary}")
    return "\n".join(lines)
