"""Binding: every action is matched with its handler and its params converted before anything runs (HeroScript 12.1)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from herojobs.heroscript.action import Action
from herojobs.heroscript.actors import ActionError
from herojobs.heroscript.converters import Converter
from herojobs.heroscript.errors import HeroScriptError, shortened
from herojobs.heroscript.execution import BoundScript, Step
from herojobs.heroscript.handler import Handler, Parameter
from herojobs.heroscript.injected import Injected
from herojobs.heroscript.names import did_you_mean, name_fix
from herojobs.heroscript.params import Param
from herojobs.heroscript.parser import MAX_ERRORS, Parser
from herojobs.heroscript.playbook import PlayBook
from herojobs.heroscript.registry import Registry
from herojobs.heroscript.source import MAX_SIZE, Source
from herojobs.heroscript.values import BadValue

MAX_INCLUDES = 8
"""Deepest nesting of included scripts."""


def bind(playbook: PlayBook, registry: Registry, *, include_root: Path | str | None = None) -> BoundScript:
    """Return the script ready to run. Nothing has run then, and nothing can fail for a wrong name or value any more.

    Values of variables (`session.env_set`) are written into the params of later actions.

    Args:
        playbook: the parsed script.
        registry: the actors it may use.
        include_root: folder that `play.include` may read; None if it may not.

    Raises:
        HeroScriptError: the first problem; `further` tells how many more there are.
    """
    binder = Binder(registry, include_root)
    bound = binder.bind(playbook)
    if binder.errors:
        error = binder.errors[0]
        error.further = len(binder.errors) - 1
        raise error
    return bound


def check(
    text: str, registry: Registry, *, include_root: Path | str | None = None, path: str = ""
) -> list[HeroScriptError]:
    """Return all problems of a script, at most 100, in the order of its lines; nothing is run.

    Args:
        text: the script.
        registry: the actors it may use.
        include_root: folder that `play.include` may read; None if it may not.
        path: the file it is from, for the messages.
    """
    errors: list[HeroScriptError] = []
    playbook = PlayBook()
    try:
        parsed = Parser(Source(text, path), strict=True, errors=errors).parse()
    except HeroScriptError as error:
        # More than the most that are collected, or a text over the limit.
        return [*errors, error]
    playbook.actions = parsed.actions
    binder = Binder(registry, include_root)
    binder.errors = errors
    had_syntax_errors = bool(errors)
    binder.bind(playbook, may_be_empty=had_syntax_errors)
    # What is wrong in included scripts comes last, as it was found.
    errors.sort(key=lambda error: (0, error.line, error.column) if error.path == path else (1, 0, 0))
    return errors[:MAX_ERRORS]


class Binder(Injected):
    """Binds one script, and the scripts that it includes.

    Args:
        registry: the actors.
        include_root: folder that may be included from.
    """

    def __init__(self, registry: Registry, include_root: Path | str | None = None) -> None:
        self.registry = registry
        self.errors: list[HeroScriptError] = []
        self.variables: dict[str, str] = {}
        self._root = Path(include_root).resolve() if include_root is not None else None
        self._including: list[Path] = []
        self._included = False
        self._included_bytes = 0
        self._actions: list[Action] = []
        self._steps: list[Step] = []
        self.instances: dict[type, Any] = {}

    def bind(self, playbook: PlayBook, *, may_be_empty: bool = False) -> BoundScript:
        """Return the bound script; problems are in `errors`."""
        if not playbook.actions and not may_be_empty:
            message = "no actions found; an action is a line like !!actor.action key:value"
            self.errors.append(HeroScriptError(1, 1, "no_actions", message))
        for action in playbook.actions:
            self._bind_action(action)
        return BoundScript(
            playbook, tuple(self._steps), tuple(self._actions), self.registry, reads_files=self._included
        )

    def _bind_action(self, action: Action) -> None:
        self._actions.append(action)
        if self.variables:
            for param in action.params.table.values():
                param.fill_in(self.variables)
        try:
            handler = self.registry.handler(action)
        except HeroScriptError as error:
            self.errors.append(error)
            return
        known = len(self.errors)
        step = self._step(action, handler)
        if len(self.errors) > known:
            return
        if not handler.directive:
            self._steps.append(step)
            return
        try:
            step.call(self)
            action.done = True
        except ActionError as error:
            self.errors.append(action.error("bad_value", f"{handler.full_name}: {error}"))

    def _step(self, action: Action, handler: Handler) -> Step:
        fixed: dict[str, Any] = {}
        fresh: list[tuple[str, Callable[[], Any]]] = []
        given = set()
        for key, param in action.params.table.items():
            parameter = handler.keys.get(key)
            if parameter is not None:
                name, converter = parameter.name, parameter.converter
                if name in given:
                    self._add(
                        action, "unexpected_arg", f'"{key}" of {handler.full_name} is given twice', param.position
                    )
                    continue
            elif handler.rest is not None and key not in handler.python_names:
                name, converter = key, handler.rest
            else:
                self._unknown_param(action, handler, param)
                continue
            if self._convert(action, handler, param, name, converter, fixed, fresh):
                given.add(name)
        identity = action.id_param
        if identity is not None and "id" in handler.keys:
            parameter = handler.keys["id"]
            if self._convert(action, handler, identity, parameter.name, parameter.converter, fixed, fresh):
                given.add(parameter.name)
        args = self._bind_args(action, handler, fixed, given) if action.params.args else []
        for parameter in handler.required:
            if parameter.name not in given:
                self._missing(action, handler, parameter)
        return Step(action, handler, fixed, fresh, args)

    def _convert(
        self,
        action: Action,
        handler: Handler,
        param: Param,
        name: str,
        converter: Converter,
        fixed: dict[str, Any],
        fresh: list[tuple[str, Callable[[], Any]]],
    ) -> bool:
        """Convert a param; return whether it is given at all."""
        text, items = param.value, param.items
        if not text and not converter.empty:
            return False
        convert = converter.convert
        try:
            value = convert(text, items)
        except BadValue as error:
            message = f'"{param.key}" of {handler.full_name} must be {error.accepted}, not "{shortened(text)}"'
            self._add(action, "bad_value", message, param.value_position)
            return True
        if converter.reusable:
            fixed[name] = value
        else:
            fresh.append((name, lambda: convert(text, items)))
        return True

    def _bind_args(self, action: Action, handler: Handler, fixed: dict[str, Any], given: set[str]) -> list[Any]:
        values = []
        params = action.params
        for number, arg in enumerate(params.args):
            position = params.arg_positions[number] if number < len(params.arg_positions) else -1
            quoted = position >= 0 and action.source is not None and action.source.text[position] in "'\""
            flag = None if quoted else handler.keys.get(name_fix(arg))
            if flag is not None and flag.converter.flag and flag.name not in given:
                fixed[flag.name] = True
                given.add(flag.name)
            elif handler.args is None:
                hint = did_you_mean(arg, [key for key, one in handler.keys.items() if one.converter.flag])
                message = f'{handler.full_name} takes no value without a key, like "{shortened(arg)}"{hint}'
                self._add(action, "unexpected_arg", message, position)
            else:
                try:
                    values.append(handler.args.convert(arg, None))
                except BadValue as error:
                    message = f'a value of {handler.full_name} must be {error.accepted}, not "{shortened(arg)}"'
                    self._add(action, "bad_value", message, position)
        return values

    def _unknown_param(self, action: Action, handler: Handler, param: Param) -> None:
        hint = did_you_mean(param.key, handler.keys)
        known = f"; it takes {', '.join(handler.parameters) or 'none'}" if not hint else ""
        message = f'unknown parameter "{param.key}" of {handler.full_name}{hint or known}'
        self._add(action, "unknown_param", message, param.position)

    def _missing(self, action: Action, handler: Handler, parameter: Parameter) -> None:
        message = f'{handler.full_name} needs "{parameter.key}" ({parameter.converter.label})'
        self._add(action, "missing_param", message, -1)

    def _add(self, action: Action, code: str, message: str, position: int) -> None:
        self.errors.append(action.error(code, message, position))

    def inject(self, cls: type, action: Action) -> object:
        """Return what a directive's parameter gets: this binder, and nothing else."""
        if not issubclass(cls, Binder):
            raise ActionError(f"nothing gives it a {cls.__name__} before the script runs")
        return self

    # Variables and includes (HeroScript 8)

    def set_variable(self, name: str, text: str | None, *, once: bool) -> None:
        """Set a variable.

        Raises:
            ActionError: no text was given, or nothing is left of the name.
        """
        key = name_fix(name)
        if not key:
            raise ActionError(f'nothing is left of the name "{name}"; use letters and digits')
        if text is None:
            raise ActionError('it needs "val" (text)')
        if not once or key not in self.variables:
            self.variables[key] = text

    def include(self, path: str, replace: dict[str, str]) -> None:
        """Bind the actions of another script here.

        Raises:
            ActionError: includes are off, it is outside of their folder, too deep, in a circle, or can't be read.
        """
        root = self._root
        if root is None:
            raise ActionError("including scripts is off; the setting heroscript_include_root names their folder")
        try:
            file = (root / path).resolve()
        except (OSError, ValueError):
            raise ActionError(f'"{shortened(path)}" can\'t be the name of a file') from None
        if not file.is_relative_to(root):
            raise ActionError(f'"{path}" is outside of the folder that may be included from')
        if file in self._including:
            raise ActionError(f'"{path}" includes itself')
        if len(self._including) >= MAX_INCLUDES:
            raise ActionError(f"included scripts may be {MAX_INCLUDES} deep, not more")
        self._included = True
        text = self._read(path, file)
        try:
            included = PlayBook.parse(text, strict=True, path=str(file.relative_to(root)), replace=replace)
        except HeroScriptError as error:
            self.errors.append(error)
            return
        self._including.append(file)
        for action in included.actions:
            self._bind_action(action)
        self._including.pop()

    def _read(self, path: str, file: Path) -> str:
        try:
            if not file.is_file():
                raise ActionError(f'there is no file "{path}" to include')
            # Few scripts that include each other often can stand for any number of actions.
            self._included_bytes += file.stat().st_size
            if self._included_bytes > MAX_SIZE:
                raise ActionError(f"included scripts have more than {MAX_SIZE:,} bytes together")
            return file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it isn't UTF-8"
            raise ActionError(f'"{path}" can\'t be read: {reason}') from None
