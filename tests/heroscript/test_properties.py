"""What holds for every text: writing and reading again is the identity, and no text does harm."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from herojobs.heroscript import BadValue, HeroScriptError, Money, Params, PlayBook, Registry, Size, check
from herojobs.heroscript.converters import converter_for
from herojobs.heroscript.getters import Getters

# Texts made of what means something in the language, so that they come close to every rule.
NAMES = ["!!a.b ", "!x ", "!!!!w.w", "k:", "key: ", "id:", "cid:x", "a", "word", "é", "1"]
QUOTES = ["'", '"', "'''", '"""', "\\", "\\n", "\\'", "`"]
MARKS = [
    ",",
    ", ",
    "[",
    "]",
    "{",
    "}",
    ":",
    "://",
    "#",
    "@",
    "=",
    "-",
    "<BR>",
    "<<BR>>",
    "//",
    "// note",
    "<!--",
    "-->",
]
SPACES = [" ", "  ", "\t", "\u00a0", "\n", "\n\n", "\n    ", "\n  ", "\n\t", "\r\n", "\n!!a.c ", "\n//c\n"]
PIECES = st.sampled_from([*NAMES, *QUOTES, *MARKS, *SPACES])
SCRIPTS = st.lists(PIECES, max_size=40).map("".join)
VALUES = st.text(st.sampled_from("ab' \"\\\n\t,:[]{}/<>BRn!#1é-"), max_size=24)


@dataclass
class Inner:
    a: str
    b: int = 1


class Label(msgspec.Struct):
    a: str


def facts(playbook: PlayBook) -> list[dict[str, Any]]:
    return [
        {
            "name": (action.actor, action.name, action.type),
            "comments": action.comments,
            "id": action.given_id,
            "args": action.params.args,
            "params": {key: (one.value, one.items, one.comment) for key, one in action.params.table.items()},
            "other comments": "\n".join(action.params.comments),
        }
        for action in playbook.actions
    ]


def parsed(text: str) -> PlayBook | None:
    try:
        return PlayBook.parse(text)
    except HeroScriptError as error:
        check_place(error, text)
        return None


def check_place(error: HeroScriptError, text: str) -> None:
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert 1 <= error.line <= len(lines)
    assert 1 <= error.column <= len(lines[error.line - 1]) + 1
    assert str(error) in error.show(text)


def check_round_trip(playbook: PlayBook) -> None:
    text = playbook.regenerate()
    again = PlayBook.parse(text, strict=True)
    assert facts(again) == facts(playbook), text
    assert again.regenerate() == text
    assert again.hash() == playbook.hash()
    # Canonical text drops what it must (comments of actions, the spelling of args) and nothing else.
    canonical = playbook.canonical()
    same = PlayBook.parse(canonical, strict=True)
    assert [sorted(one.params.items()) for one in same.actions] == [
        sorted(one.params.items()) for one in playbook.actions
    ], canonical
    for action in playbook.actions:
        if not action.params.args:
            assert sorted(Params.parse(action.params.export()).items()) == sorted(action.params.items())


@settings(max_examples=400, deadline=None)
@given(SCRIPTS)
@example("!!a.b k:\n    '\n  a\n b\n '")
@example("  !!a.b\n      k:\n          a\n        '\n        \"\n        '''\n        \"\"\"\n")
def test_a_text_is_an_error_or_reads_back_as_it_was(text: str) -> None:
    for one in (text, "!!a.b " + text):
        playbook = parsed(one)
        if playbook is not None:
            check_round_trip(playbook)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_characters_do_no_harm(text: str) -> None:
    for one in (text, "!!a.b x:" + text):
        playbook = parsed(one)
        if playbook is not None:
            check_round_trip(playbook)
        check(one, Registry())


@settings(max_examples=200, deadline=None)
@given(SCRIPTS)
def test_params_alone_are_an_error_or_read_back(text: str) -> None:
    try:
        params = Params.parse(text)
    except HeroScriptError:
        return
    if not params.args:
        again = Params.parse(params.export())
        assert sorted(again.items()) == sorted(params.items())
        assert again.hexhash() == params.hexhash() or params.comments


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b", "name", "cid"]), VALUES.map(str.strip)))
def test_params_made_by_a_program_read_back(values: dict[str, str]) -> None:
    params = Params()
    for key, value in values.items():
        params.set(key, value)
    assert dict(Params.parse(params.export()).items()) == values


@settings(max_examples=100, deadline=None)
@given(SCRIPTS)
def test_checking_collects_what_parsing_raises_first(text: str) -> None:
    errors = check(text, Registry())
    if any(error.code == "syntax" for error in errors):
        with pytest.raises(HeroScriptError) as raised:
            PlayBook.parse(text, strict=True)
        assert str(raised.value) in map(str, errors)
    else:
        playbook = PlayBook.parse(text, strict=True)
        assert bool(playbook.actions) or [error.code for error in errors] == ["no_actions"]


ANNOTATIONS = [
    *(str, int, float, bool, Decimal, Money, Size, datetime, date, timedelta, Path, list, dict, Any),
    *(list[int], set[float], tuple[int, str], dict[str, int], Literal["a", 1], int | None, int | str, Inner, Label),
]


@settings(max_examples=150, deadline=None)
@given(st.one_of(VALUES, st.text(max_size=12), st.from_regex(r"[-+$%]?[0-9.,:/kMGBsmhd {}\"]{0,12}", fullmatch=True)))
@example("0000-00-00 00:00:00")
@example("1e9999")
@example("9" * 5000)
@example("~nobody/x")
@example("{" * 2000)
@example("[" * 100_000)
@example('{"a":' * 100_000)
@example("a\0b")
def test_a_text_becomes_a_value_or_is_refused(text: str) -> None:
    for annotation in ANNOTATIONS:
        with contextlib.suppress(BadValue):
            converter_for(annotation).convert(text, None)
    params = Params()
    params.set("x", text)
    for name in dir(Getters):
        if (
            name.startswith("get_")
            and not name.endswith(("_default", "_create", "_true", "_false", "_check", "_hashmap"))
            and "_arg" not in name
        ):
            with contextlib.suppress(HeroScriptError):
                getattr(params, name)("x")


HARD = {
    "quotes": "'",
    "double quotes": '"',
    "tripled quotes": "'''",
    "commas": ",",
    "brackets": "[",
    "closing brackets": "]",
    "nested lists in lists": "x:[a ",
    "lists in quotes": 'x:[" ',
    "backslashes": "\\",
    "quotes and backslashes": "\\'",
    "keys": "k:\n",
    "indented keys": "\n    k:",
    "keys below keys": "\n  k:\n  // c",
    "blocks closed the short way": "\n  k:'\n   x'",
    "blocks that open": "\n  k:'\n   x\n",
    "blank lines": " \n",
    "comments": "//\n",
    "comments within": "<!--",
    "closed comments": "a:1 <!-- c --> ",
    "actions": "!!a.b x:'\n",
    "indented actions": "  !!a.b x:[\n",
    "exclamation marks": "!",
    "values": "x",
    "spaces": " ",
    "line ends": "\n",
    "items": "a,",
    "quoted items": "'a',",
    "items on lines": "a,\n  ",
    "breaks": "<BR>",
    "colons": ":",
    "slashes": "/",
    "duplicates": " k:1",
    "minus": "a-",
}


def seconds(text: str) -> float:
    def once() -> float:
        start = time.process_time()
        for one in (text, "!!a.b x:" + text, "!!a.b x:'" + text, "!!a.b x:[" + text, "!!a.b x:\n      '\n" + text):
            try:
                PlayBook.parse(one).regenerate()
            except HeroScriptError as error:
                error.show(one)
            with contextlib.suppress(HeroScriptError):
                Params.parse(one).hexhash()
            check(one, REGISTRY)
        return time.process_time() - start

    return min(once(), once())


REGISTRY = Registry()


@pytest.mark.parametrize("piece", HARD.values(), ids=HARD.keys())
def test_time_grows_with_the_size_of_the_text(piece: str) -> None:
    small, large = (piece * (size // len(piece)) for size in (2_000, 16_000))
    # Eight times the text; a quadratic step would take 64 times as long. The constant forgives noise.
    assert seconds(large) < 24 * seconds(small) + 0.05
