"""How the text of a param becomes the value of an annotated parameter (HeroScript 12.2)."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import msgspec

from herojobs.heroscript import values
from herojobs.heroscript.names import name_fix
from herojobs.heroscript.values import BadValue

if TYPE_CHECKING:
    from herojobs.heroscript.params import Param

Items = list[str] | None


@dataclass(frozen=True, slots=True)
class Converter:
    """Reads one kind of value.

    Attributes:
        convert: takes the text and, where it was written as a list, its items; raises BadValue.
        label: the kind in words, for help and errors.
        reusable: whether one value may serve several runs: it can't be changed, and means the same each time.
        empty: whether the empty text is a value, not a missing one.
        flag: whether a bare word that equals the parameter's name sets it.
    """

    convert: Callable[[str, Items], Any]
    label: str
    reusable: bool = True
    empty: bool = False
    flag: bool = False

    def read(self, param: Param) -> Any:
        """Return the value of a param; raises BadValue."""
        return self.convert(param.value, param.items)


def _plain(convert: Callable[[str], Any], label: str, **more: bool) -> Converter:
    return Converter(lambda text, items: convert(text), label, **more)


TEXT = Converter(lambda text, items: text, "text", empty=True)

_SIMPLE: dict[object, Converter] = {
    str: TEXT,
    int: _plain(values.to_int, "whole number"),
    float: _plain(values.to_float, "number"),
    bool: _plain(values.to_bool, "true or false", flag=True),
    Decimal: _plain(values.to_decimal, "number"),
    values.Money: _plain(values.to_money, "amount of money"),
    values.Size: _plain(values.to_bytes, "size"),
    # `now` and `+2h` mean another instant in each run.
    datetime: _plain(values.to_time, "time", reusable=False),
    date: _plain(lambda text: values.to_time(text).date(), "date", reusable=False),
    timedelta: _plain(lambda text: timedelta(seconds=values.to_duration(text)), "duration"),
    Path: _plain(values.to_path, "path"),
    Any: TEXT,
    object: TEXT,
}


def converter_for(annotation: Any) -> Converter:
    """Return how values of an annotated parameter are read.

    Raises:
        TypeError: no text can become such a value.
    """
    known = _SIMPLE.get(annotation) if _hashable(annotation) else None
    if known is not None:
        return known
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        return converter_for(args[0])
    if origin is Literal:
        return _literal(args)
    if origin in (typing.Union, types.UnionType):
        return _union([arg for arg in args if arg is not type(None)])
    if annotation in (list, set, frozenset, tuple) or origin in (list, set, frozenset, tuple):
        return _collection(annotation if origin is None else origin, args)
    if annotation is dict or origin is dict:
        return _mapping(args)
    if isinstance(annotation, type):
        if issubclass(annotation, enum.Enum):
            return _enum(annotation)
        if dataclasses.is_dataclass(annotation) or issubclass(annotation, msgspec.Struct):
            return _struct(annotation)
    raise TypeError(f"no text can become {annotation!r}")


def _hashable(annotation: Any) -> bool:
    try:
        hash(annotation)
    except TypeError:
        return False
    return True


def one_of(names: list[str]) -> str:
    """Return names as a choice in words."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " or " + names[-1]


def _literal(options: tuple[Any, ...]) -> Converter:
    by_name = {name_fix(str(option)): option for option in options}
    accepted = one_of([str(option) for option in options])

    def convert(text: str, items: Items) -> Any:
        try:
            return by_name[name_fix(text)]
        except KeyError:
            raise BadValue(accepted) from None

    return Converter(convert, accepted)


def _enum(kind: type[enum.Enum]) -> Converter:
    by_name = {name_fix(str(member.value)): member for member in kind}
    by_name.update({name_fix(name): member for name, member in kind.__members__.items()})
    accepted = one_of([name_fix(member.name) for member in kind])

    def convert(text: str, items: Items) -> Any:
        try:
            return by_name[name_fix(text)]
        except KeyError:
            raise BadValue(accepted) from None

    return Converter(convert, accepted)


def _union(options: list[Any]) -> Converter:
    converters = [converter_for(option) for option in options]
    if len(converters) == 1:
        return converters[0]
    # Text takes anything, so that it is tried last whatever the order.
    converters.sort(key=lambda converter: converter is TEXT)
    label = one_of([converter.label for converter in converters])

    def convert(text: str, items: Items) -> Any:
        for converter in converters:
            if text or converter.empty:
                try:
                    return converter.convert(text, items)
                except BadValue:
                    continue
        raise BadValue(label)

    return Converter(
        convert,
        label,
        reusable=all(converter.reusable for converter in converters),
        empty=any(converter.empty for converter in converters),
    )


def _collection(kind: Any, args: tuple[Any, ...]) -> Converter:
    fixed = kind is tuple and bool(args) and args[-1] is not Ellipsis
    each = [converter_for(arg) for arg in args if arg is not Ellipsis] or [TEXT]

    def convert(text: str, items: Items) -> Any:
        texts = values.to_list(text) if items is None else items
        if fixed and len(texts) != len(each):
            raise BadValue(f"{len(each)} values with commas between them")
        kinds = each if fixed else each * len(texts)
        try:
            return kind([one.convert(item, None) for one, item in zip(kinds, texts, strict=True)])
        except BadValue as error:
            raise BadValue(f"a list whose items are each {error.accepted}") from None

    names = one_of([one.label for one in each])
    reusable = kind in (tuple, frozenset) and all(one.reusable for one in each)
    return Converter(convert, f"list of {names}", reusable=reusable, empty=True)


def _mapping(args: tuple[Any, ...]) -> Converter:
    accepted = "a JSON object, or params like 'a:1 b:2'"
    value_type = args[1] if args else Any
    kind: Any = types.GenericAlias(dict, args) if args else dict

    def convert(text: str, items: Items) -> Any:
        from herojobs.heroscript.errors import HeroScriptError
        from herojobs.heroscript.params import Params

        if text.lstrip().startswith("{"):
            try:
                return msgspec.json.decode(text, type=kind)
            except (msgspec.MsgspecError, RecursionError) as error:
                raise BadValue(f"{accepted} ({error})") from None
        try:
            table = Params.parse(text).table
        except HeroScriptError as error:
            raise BadValue(f"{accepted} ({error.message})") from None
        one = converter_for(value_type)
        return {key: one.convert(param.value, param.items) for key, param in table.items()}

    return Converter(convert, "JSON object or params", reusable=False)


def _struct(kind: Any) -> Converter:
    def convert(text: str, items: Items) -> Any:
        from herojobs.heroscript.errors import HeroScriptError
        from herojobs.heroscript.params import Params

        accepted = f"a JSON object, or params of a {kind.__name__}"
        if text.lstrip().startswith("{"):
            try:
                return msgspec.json.decode(text, type=kind)
            except (msgspec.MsgspecError, RecursionError) as error:
                raise BadValue(f"{accepted} ({error})") from None
        try:
            return Params.parse(text).decode(kind)
        except HeroScriptError as error:
            raise BadValue(f"{accepted} ({error.message})") from None

    return Converter(convert, f"{kind.__name__} as JSON or params", reusable=False)
