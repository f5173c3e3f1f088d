"""Values both ways: each row of the table, and what has no form on the other side."""

from __future__ import annotations

import datetime
import enum
import pathlib
import uuid
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

rhai = pytest.importorskip("herojobs_rhai", reason="herojobs-rhai isn't installed; rhai/build.sh builds it")

ENGINE = rhai.RhaiEngine()


class Colour(enum.Enum):
    RED = "red"
    BLUE = 2


BOTH_WAYS = [
    None, True, False, 0, -1, 2**63 - 1, -(2**63), 1.5, float("inf"), "", "text \u00e9 \U0001f600", b"", b"\x00\xff",
    Decimal("1.50"), Decimal("-79228162514264337593543950335"), Decimal("1E+3"),
    [], [1, [2, [3]]], {}, {"a": {"b c": [None]}}, range(2, 7),
]  # fmt: skip


@pytest.mark.parametrize("value", BOTH_WAYS, ids=repr)
def test_comes_back_as_it_went(value: Any) -> None:
    back = ENGINE.eval("x", {"x": value})
    assert (type(back), back) == (type(value), value)


INWARD = [
    ((1, 2), [1, 2]),
    (bytearray(b"ab"), b"ab"),
    (memoryview(b"abcd")[::2], b"ac"),
    (Colour.RED, "red"),
    (Colour.BLUE, "BLUE"),
    (datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC), "2026-01-02T03:04:05+00:00"),
    (datetime.date(2026, 1, 2), "2026-01-02"),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (pathlib.PurePosixPath("/a/b"), "/a/b"),
]


@pytest.mark.parametrize(("value", "seen"), INWARD, ids=[type(value).__name__ for value, _ in INWARD])
def test_other_python_values_have_a_form_in_rhai(value: Any, seen: Any) -> None:
    assert ENGINE.eval("x", {"x": value}) == seen


OUTWARD = [
    ("'x'", "x"),
    ("0..3", range(3)),
    ("0..=3", range(4)),
    ("0..=9223372036854775807", range(2**63)),
    ("let n = 5; let f = || n; [n]", [5]),
    ("parse_float(`NaN`)", None),
]


@pytest.mark.parametrize(("script", "value"), OUTWARD[:-1])
def test_other_rhai_values_have_a_form_in_python(script: str, value: Any) -> None:
    assert ENGINE.eval(script) == value


def test_a_timestamp_is_the_seconds_since_it_was_taken() -> None:
    assert 0.01 <= ENGINE.eval("let t = timestamp(); sleep(0.01); t") < 5


def test_bool_is_not_taken_for_an_int() -> None:
    assert ENGINE.eval("[type_of(x), type_of(y)]", {"x": True, "y": 1}) == ["bool", "i64"]


REFUSED = [
    ({"x": [1, {"k": 2**63}]}, OverflowError, r'scope\["x"\]\[1\]\["k"\]: an int outside of Rhai\'s 64 bits'),
    ({"x": {1: 2}}, TypeError, r'scope\["x"\]: a key of type int; Rhai\'s maps have str keys'),
    ({"x": object()}, TypeError, r'scope\["x"\]: a value of type object has no form in Rhai'),
    ({"x": {1, 2}}, TypeError, "set"),
    ({"x": range(0, 9, 2)}, ValueError, "step 1"),
    ({"x": Decimal("NaN")}, OverflowError, "NaN"),
    ({"x": Decimal("0.12345678901234567890123456789012")}, OverflowError, "28 digits"),
    ({"x": "\ud800"}, ValueError, "surrogates"),
    ({1: 2}, TypeError, "scope: the keys are names"),
]  # fmt: skip


@pytest.mark.parametrize(("scope", "error", "message"), REFUSED)
def test_what_has_no_form_in_rhai_is_told_with_its_place(scope: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ENGINE.run("x", scope)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_depth_is_bounded_both_ways() -> None:
    assert ENGINE.eval("x", {"x": nested(128)}) == nested(128)
    with pytest.raises(ValueError, match="nested more than 128 deep"):
        ENGINE.run("x", {"x": nested(129)})
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="nested more than 128 deep"):
        ENGINE.run("x", {"x": endless})
    with pytest.raises(rhai.RhaiError, match="nested more than 128 deep") as caught:
        ENGINE.eval("let a = []; for i in 0..128 { a = [a]; } a")
    assert caught.value.kind == "conversion"


def test_a_rhai_value_without_a_form_is_told() -> None:
    with pytest.raises(rhai.RhaiError, match=r'result\["k"\]\[0\]: a value of Rhai\'s type .*Stream') as caught:
        ENGINE.eval("#{k: [`abc`.chars()]}")
    assert caught.value.kind == "conversion"


def test_a_function_that_comes_out_has_only_its_name() -> None:
    function = ENGINE.eval("fn f() { 1 } Fn(`f`)")
    assert isinstance(function, rhai.RhaiFunction)
    assert function.name == "f"
    with pytest.raises(RuntimeError, match="only while its run goes on"):
        function()


texts = st.text(st.characters(codec="utf-8"), max_size=20)
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
scalars = st.none() | st.booleans() | numbers | st.binary(max_size=20) | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None)
@given(values)
def test_any_value_comes_back(value: Any) -> None:
    back = ENGINE.eval("x", {"x": value})
    assert back == value
    assert type(back) is type(value)
