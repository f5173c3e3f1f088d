from __future__ import annotations

from herojobs.errors import did_you_mean


def test_the_nearest_name_is_asked_for() -> None:
    assert did_you_mean("aplha", ["alpha", "beta"]) == "did you mean 'alpha'?"


def test_of_many_names_some_are_listed() -> None:
    assert did_you_mean("x", ["b", "a"]) == "one of a, b"
    told = did_you_mean("x", [f"name{n:02}" for n in range(30)])
    assert told.startswith("one of name00, name01, ")
    assert told.endswith("name11, ... (30 in all)")
    assert did_you_mean("x", []) == ""
