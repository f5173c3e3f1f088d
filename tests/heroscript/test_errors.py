"""How an error looks (HeroScript 11)."""

import pickle

import pytest

from herojobs.heroscript import HeroScriptError, PlayBook, Registry, check


def test_an_error_tells_its_place_and_shows_it() -> None:
    text = "!!fake.return_success\n\tmessage: 'one' two:'open"
    with pytest.raises(HeroScriptError) as raised:
        PlayBook.parse(text)
    error = raised.value
    assert (error.line, error.column, error.code) == (2, 21, "syntax")
    assert error.message == "the quote ' that opens here isn't closed before the end of the text"
    assert str(error) == "line 2, column 21: " + error.message
    assert error.show(text) == (
        "line 2, column 21: the quote ' that opens here isn't closed before the end of the text\n"
        "  2 |  message: 'one' two:'open\n"
        "    |                     ^^^^^"
    )


SCRIPT = """!!fake.return_success mesage:hi
!!fake.retrun_success
!!fak.return_success
!!fake.return_json
    code: four
    'loose'
!!core.echo a:1 , 2
!!!!!core.echo
!!play.include
!!core.echo content:'it's'
"""


def test_all_problems_are_told_in_order_each_with_its_place() -> None:
    errors = check(SCRIPT, Registry())
    assert [str(error) for error in errors] == [
        'line 1, column 23: unknown parameter "mesage" of fake.return_success; did you mean "message"?',
        'line 2, column 3: unknown action "retrun_success" of fake; did you mean "return_success"?',
        'line 3, column 3: unknown actor "fak"; did you mean "fake"?',
        'line 5, column 11: "code" of fake.return_json must be a whole number, not "four"',
        'line 6, column 5: fake.return_json takes no value without a key, like "loose"',
        'line 7, column 13: unknown parameter "a" of core.echo; it takes content',
        "line 8, column 1: an action has one to four exclamation marks, not 5",
        'line 9, column 1: play.include needs "path" (text)',
        "line 10, column 25: text right after the closing quote of the value that opened at line 10, column 21; "
        "write \\' for a quote inside it",
    ]
    assert [error.code for error in errors] == [
        "unknown_param",
        "unknown_action",
        "unknown_actor",
        "bad_value",
        "unexpected_arg",
        "unknown_param",
        "syntax",
        "missing_param",
        "syntax",
    ]
    marks = [error.show(SCRIPT).split("\n")[-1].partition("| ")[2] for error in errors]
    lines = [SCRIPT.split("\n")[error.line - 1] for error in errors]
    marked = [line[mark.index("^") : len(mark)] for line, mark in zip(lines, marks, strict=True)]
    assert marked == [
        "mesage:hi",
        "fake.retrun_success",
        "fak.return_success",
        "four",
        "'loose'",
        "a:1",
        "!!!!!core.echo",
        "!!play.include",
        "s'",
    ]


def test_a_right_script_has_no_problems_and_an_empty_one_has_one() -> None:
    assert check("!!core.echo content:x", Registry()) == []
    assert [(error.code, error.line) for error in check("only text\n", Registry())] == [("no_actions", 1)]


def test_at_most_a_hundred_problems_are_told() -> None:
    assert len(check("!!a.b x:'\n" * 500, Registry())) == 101
    assert len(check("!!a.b\n" * 500, Registry())) == 100


def test_a_long_line_is_cut_around_the_place() -> None:
    text = "!!a.b " + "x " * 5000 + "k : v" + " y" * 5000
    with pytest.raises(HeroScriptError) as raised:
        PlayBook.parse(text)
    shown = raised.value.show(text).split("\n")
    assert len(shown[1]) < 180
    assert shown[1][shown[2].index("^")] == ":"


def test_an_error_survives_pickling_and_needs_no_text() -> None:
    error = HeroScriptError(3, 9, "failed", "no box", path="a.hero", further=2, action="a.b", result="one")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == "a.hero, line 3, column 9: no box (and 2 more problems)"
    assert (again.action, again.result) == ("a.b", "one")
    assert error.show("short") == str(error)
    assert str(HeroScriptError(0, 0, "bad_value", "no")) == "no"
