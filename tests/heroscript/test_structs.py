"""Params as dataclasses and structs, and back (HeroScript 9)."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from herojobs.heroscript import HeroScriptError, Money, Params


class Kind(enum.Enum):
    SMALL_BOX = 1
    CRATE = 2


@dataclass
class Inner:
    name: str
    numbers: list[int] = field(default_factory=list)


class Label(msgspec.Struct):
    text: str
    copies: int = 1


@dataclass
class Everything:
    text: str
    number: int
    ratio: float
    flag: bool
    amount: Decimal
    price: Money
    when: datetime
    day: date
    wait: timedelta
    kind: Kind
    path: Path
    words: list[str]
    pair: tuple[int, str]
    inner: Inner
    label: Label
    table: dict[str, int]
    none: str | None = None
    kept: str = "kept"
    hidden: int = field(default=7, init=False)


EVERYTHING = Everything(
    text='it\'s "a"\nb',
    number=-3,
    ratio=1e-7,
    flag=False,
    amount=Decimal("1.10"),
    price=Money(Decimal("9.5"), "EUR"),
    when=datetime(2026, 11, 24, 8, 30, tzinfo=UTC),
    day=date(2026, 11, 24),
    wait=timedelta(days=20, milliseconds=250),
    kind=Kind.SMALL_BOX,
    path=Path("/a b"),
    words=["one", "two words", "with, comma"],
    pair=(1, "x"),
    inner=Inner("in ner", [1, 2]),
    label=Label("hi", 2),
    table={"a": 1},
)


def test_what_is_encoded_decodes_to_the_same() -> None:
    params = Params.encode(EVERYTHING)
    assert params.decode(Everything) == EVERYTHING
    assert Params.parse(params.export()).decode(Everything) == EVERYTHING


def test_how_values_are_written() -> None:
    values = dict(Params.encode(EVERYTHING).items())
    assert "none" not in values
    assert "hidden" not in values
    assert values["when"] == "2026-11-24 08:30:00"
    assert values["flag"] == "false"
    assert values["kind"] == "small_box"
    assert values["wait"] == "1728000.25"
    assert values["inner"] == "name:'in ner' numbers:1,2"
    assert values["table"] == '{"a":1}'


def test_decoding_takes_what_is_there() -> None:
    assert Params.parse("NAME:x numbers:'1, 2' more:ignored").decode(Inner) == Inner("x", [1, 2])
    assert Params.parse("text:x copies:''").decode(Label) == Label("x", 1)
    with pytest.raises(HeroScriptError, match=r'line 1, column 1: Inner needs "name" \(text\)') as raised:
        Params.parse("numbers:1").decode(Inner)
    assert raised.value.code == "missing_param"
    with pytest.raises(HeroScriptError, match='line 1, column 15: "copies" must be a whole number, not "x"'):
        Params.parse("text:x copies:x").decode(Label)


def test_what_is_no_struct_is_refused() -> None:
    with pytest.raises(TypeError, match=r"int is no dataclass and no msgspec.Struct"):
        Params().decode(int)

    @dataclass
    class Odd:
        thing: object

    class Thing:
        def __init__(self) -> None:
            self.x = 1

    with pytest.raises(TypeError, match="no text can give back a Thing"):
        Params.encode(Odd(Thing()))
