"""name_fix, and names out of Python (HeroScript 4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herojobs.heroscript import name_fix
from herojobs.heroscript.names import did_you_mean, snake_case


@pytest.mark.parametrize(
    ("name", "fixed"),
    [
        ("My-Key", "my_key"),
        ("a - b", "a_b"),
        ("it's", "its"),
        ("a.b.c", "a_b.c"),
        ("Read Me.TXT", "read_me.txt"),
        ("x#y", "x"),
        ("_a__b_", "_a_b_"),
        ("é", ""),
        ("a.b/c", "a_bc"),
        (".hidden", "_hidden"),
        ("end.", "end_"),
        ("a.é", "a"),
        ('$sds_?_!"`{_ 4F.jpg', "sds_4f.jpg"),
        ("a;:b", "a_b"),
        ("", ""),
    ],
)
def test_a_name_is_fixed(name: str, fixed: str) -> None:
    assert name_fix(name) == fixed


@given(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*", fullmatch=True))
def test_fixing_a_key_again_changes_nothing(key: str) -> None:
    fixed = name_fix(key)
    assert fixed
    assert name_fix(fixed) == fixed


@pytest.mark.parametrize(
    ("name", "snake"),
    [
        ("ReturnJSON", "return_json"),
        ("ParcelDepot", "parcel_depot"),
        ("send", "send"),
        ("send2Back", "send2_back"),
        ("HTTPServer", "http_server"),
        ("Go", "go"),
    ],
)
def test_python_names_become_snake_case(name: str, snake: str) -> None:
    assert snake_case(name) == snake


def test_the_nearest_name_is_told_and_a_far_one_is_not() -> None:
    assert did_you_mean("pices", ["name", "pieces"]) == '; did you mean "pieces"?'
    assert did_you_mean("zzz", ["name", "pieces"]) == ""
    assert did_you_mean("x" * 1_000_000, ["name", "x" * 90]) in ("", f'; did you mean "{"x" * 90}"?')
