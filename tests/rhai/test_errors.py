"""Errors: kind, message, place, frames and hint."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

rhai = pytest.importorskip("herojobs_rhai", reason="herojobs-rhai isn't installed; rhai/build.sh builds it")


@pytest.fixture(params=[False, True] if rhai.BYTECODE else [False], scope="module")
def engine(request: pytest.FixtureRequest) -> Any:
    return rhai.RhaiEngine(bytecode=request.param)


def error_of(engine: Any, script: str, **scope: Any) -> Any:
    with pytest.raises(rhai.RhaiError) as caught:
        engine.eval(script, scope)
    return caught.value


PLACES = [
    ("let x = 1;\nlet y = 2 +;", "parsing", 2, 12),
    ("1 +", "parsing", 1, 4),
    ("\n\n  let z = x + 1;", "variable_not_found", 3, 11),
    ("x", "variable_not_found", 1, 1),
    ("let a = 1;\nx", "variable_not_found", 2, 1),
    ("let a = [1, 2];\n\ta[5]", "array_bounds", 2, 4),
    ('"abc"[9]', "string_bounds", 1, 7),
    ("1 / 0", "arithmetic", 1, 3),
    ("let a = 9223372036854775807;\na + 1", "arithmetic", 2, 3),
    ("let a = 0;\n  1 % a", "arithmetic", 2, 5),
    ("let s = `\u00e9\u00e9`; nope()", "function_not_found", 1, 15),
    ("const A = 1; A = 2;", "parsing", 1, 14),
    ("const A = [1]; fn f(x) { x.push(1) } A.push(2)", "non_pure_method_call_on_constant", 1, 40),
    ("let n = 5; for x in n { }", "for", 1, 21),
    ("throw 3", "runtime", 1, 1),
    ('import "m" as m;', "module_not_found", 1, 8),
    ("let m = #{}; m.a.b", "dot_expr", 1, 18),
    ("let n = 1; if n { 1 }", "mismatch_data_type", 1, 15),
    ("fn f() { this.x } f()", "unbound_this", 1, 10),
]  # fmt: skip


@pytest.mark.parametrize(("script", "kind", "line", "column"), PLACES)
def test_place(engine: Any, script: str, kind: str, line: int, column: int) -> None:
    error = error_of(engine, script)
    assert (error.kind, error.line, error.column, error.source) == (kind, line, column, "")


def test_text_shows_the_line_a_caret_and_the_calls(engine: Any) -> None:
    error = error_of(engine, "fn inner(v) {\n\tlet z = v + missing;\n}\nfn outer() { inner(1) }\n\nouter();")
    assert str(error) == (
        "script:2:14: Variable not found: missing\n"
        "2 |  let z = v + missing;\n"
        "  |              ^\n"
        "in inner (called at 4:14)\n"
        "in outer (called at 6:1)"
    )
    assert error.frames == (("outer", "", 6, 1), ("inner", "", 4, 14))
    assert error.frames[0].function == "outer"
    assert error.frames[0].line == 6


def test_a_script_of_another_name_is_called_so() -> None:
    engine = rhai.RhaiEngine()
    script = engine.compile("nope", name="nightly")
    with pytest.raises(rhai.RhaiError, match=r"^nightly:1:1: Variable not found: nope") as caught:
        engine.eval(script)
    assert caught.value.source == ""


def test_a_closure_is_a_frame(engine: Any) -> None:
    error = error_of(engine, "[1].map(|x| x.missing)")
    assert [frame.function for frame in error.frames][-1] == "closure"


@pytest.mark.parametrize("value", [42, "text", {"code": 5, "more": [1, None]}, None])
def test_what_was_thrown_is_told(engine: Any, value: Any) -> None:
    error = error_of(engine, "fn f(v) { throw v } f(x)", x=value)
    assert (error.kind, error.value) == ("runtime", value)


HINTS = [
    ("let count = 1; cuont + 1", "Variable not found: cuont; did you mean count?"),
    ("fn f(total) { totl } f(1)", "Variable not found: totl; did you mean total?"),
    ("let a = [1]; a.psuh(2)", "did you mean push"),
    ("fn compute(x) { x } comptue(1)", "did you mean compute?"),
    ("fn f(a, b) { a } f(1)", "there is f(a, b)"),
    (
        "`abc`.to_upper(1)",
        "to_upper (string, int); there is to_upper(character: char) -> char, to_upper(string: string) -> string",
    ),
]


@pytest.mark.parametrize(("script", "hint"), HINTS)
def test_hint(engine: Any, script: str, hint: str) -> None:
    assert hint in error_of(engine, script).message


def test_no_hint_where_nothing_is_near(engine: Any) -> None:
    assert error_of(engine, "let count = 1; zzzzzz").message == "Variable not found: zzzzzz"


def test_an_operator_is_found_where_rhai_does_not_tell_and_only_one_can_be_meant(engine: Any) -> None:
    error = error_of(engine, "fn f(a, b) {\n  // a / b\n  a / b + a / 2\n}\nf(1, 0)")
    assert (error.line, error.column) == (3, 5)
    error = error_of(engine, "let a = 0; let b = 0; 1 / (a + b) + 1 / b")
    assert (error.kind, error.line) == ("arithmetic", None)
    assert str(error).startswith("script: Division by zero: 1 / 0")


def test_a_long_line_is_shown_in_part(engine: Any) -> None:
    shown = str(error_of(engine, " " * 5000 + "x" + " + 1" * 20)).splitlines()
    assert len(shown[1]) < 200
    assert shown[1][shown[2].index("^")] == "x"


def test_a_long_message_is_cut_and_the_value_is_whole(engine: Any) -> None:
    error = error_of(engine, "throw x", x="\u00e9" * 50_000)
    assert len(error.message) < 3000
    assert error.value == "\u00e9" * 50_000


def test_errors_can_be_pickled(engine: Any) -> None:
    error = error_of(engine, "fn f() { throw [1] } f()")
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error)
    assert (copy.kind, copy.value, copy.frames, copy.line) == (error.kind, error.value, error.frames, error.line)


def test_compile_checks_without_running() -> None:
    engine = rhai.RhaiEngine()
    with pytest.raises(rhai.RhaiError) as caught:
        engine.compile("let x = ;")
    assert caught.value.kind == "parsing"
    assert engine.compile("throw 1; fn f(a, b) { a }").functions == ["f(a, b)"]


def test_a_text_that_is_too_long_is_refused() -> None:
    engine = rhai.RhaiEngine(limits=rhai.Limits(max_script_size=1000))
    with pytest.raises(rhai.RhaiError, match=r"1004 bytes \(at most 1000\)") as caught:
        engine.compile("1" * 1000 + ";  x")
    assert caught.value.kind == "data_too_large"
