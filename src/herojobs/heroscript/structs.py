"""Params as dataclasses and msgspec structs, and back (HeroScript 9, structs)."""

from __future__ import annotations

import dataclasses
import enum
import typing
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from herojobs.heroscript.converters import converter_for
from herojobs.heroscript.lexer import list_text
from herojobs.heroscript.names import name_fix
from herojobs.heroscript.params import Param, Params
from herojobs.heroscript.values import Money
from herojobs.heroscript.writer import export

T = TypeVar("T")


class _Field(NamedTuple):
    name: str
    annotation: Any
    required: bool


def _fields(kind: type) -> Iterator[_Field]:
    hints = typing.get_type_hints(kind, include_extras=True)
    if dataclasses.is_dataclass(kind):
        for field in dataclasses.fields(kind):
            if field.init:
                missing = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
                yield _Field(field.name, hints[field.name], missing)
    elif issubclass(kind, msgspec.Struct):
        for one in msgspec.structs.fields(kind):
            yield _Field(one.name, hints[one.name], one.required)
    else:
        raise TypeError(f"{kind.__name__} is no dataclass and no msgspec.Struct")


def decode(params: Params, kind: type[T]) -> T:
    """Return a dataclass or struct filled from params.

    Raises:
        HeroScriptError: a field without default is missing, or a text doesn't fit its field.
        TypeError: it is no dataclass or struct, or has a field that no text can become.
    """
    values = {}
    for field in _fields(kind):
        converter = converter_for(field.annotation)
        key = name_fix(field.name)
        param = params.table.get(key)
        if param is None or not (param.value or converter.empty):
            if field.required:
                raise params.error("missing_param", f'{kind.__name__} needs "{key}" ({converter.label})')
            continue
        values[field.name] = params.read(key, converter.read)
    return kind(**values)


def encode(value: object) -> Params:
    """Return a dataclass or struct as params; None is left out.

    Raises:
        TypeError: it is no dataclass or struct, or a field holds what no text can give back.
    """
    params = Params()
    for field in _fields(type(value)):
        content = getattr(value, field.name)
        if content is None:
            continue
        key = name_fix(field.name)
        items = None
        if isinstance(content, list | tuple | set | frozenset) and not isinstance(content, Money):
            items = [_text(item) for item in content]
            text = list_text(items)
        else:
            text = _text(content)
        params.table[key] = Param(key, text, items if items and len(items) > 1 else None)
    return params


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, enum.Enum):
        return name_fix(value.name)
    if isinstance(value, datetime):
        return (value if value.tzinfo is None else value.astimezone(UTC)).strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"{value.total_seconds():.6f}".rstrip("0").rstrip(".")
    if isinstance(value, Money):
        return f"{value.amount} {value.currency}"
    if isinstance(value, dict):
        return msgspec.json.encode(value).decode()
    if isinstance(value, msgspec.Struct) or dataclasses.is_dataclass(value):
        return export(encode(value))
    if isinstance(value, Path | str) or not hasattr(value, "__dict__"):
        return str(value)
    raise TypeError(f"no text can give back a {type(value).__name__}")
