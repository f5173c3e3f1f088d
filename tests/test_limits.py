"""What limits say."""

from __future__ import annotations

from pathlib import Path

import pytest

from herojobs.errors import InvalidLimit, SettingsError
from herojobs.limits import Bound, Limit, Limits, check_limit, limit_name, parse_rate
from herojobs.names import Queue
from herojobs.settings import load


@pytest.mark.parametrize(
    ("text", "rate"),
    [("10/s", (10, 1000)), ("100/m", (100, 60_000)), ("5 / 30s", (5, 30_000)), ("1000/2h", (1000, 7_200_000))],
)
def test_rates(text: str, rate: tuple[int, int]) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["10", "/s", "0/s", "10/0s", "-1/s", "10/y", "99999/s", "1/99999d", "ten/s", "1.5/s"])
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(InvalidLimit, match="rate"):
        parse_rate(text)
    with pytest.raises(ValueError, match="rate"):
        Limit(rate=text)


@pytest.mark.parametrize(
    ("name", "fixed"), [("My Circle", "my_circle"), ("C/T x", "c/t_x"), ("c/*", "c/*"), ("*", "*")]
)
def test_names(name: str, fixed: str) -> None:
    assert limit_name(name) == fixed


@pytest.mark.parametrize("name", ["", "a/b/c", "*/t", "/", "é"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(InvalidLimit, match="name"):
        limit_name(name)


def test_the_nearest_counts_and_what_was_changed_before_it() -> None:
    settings = {"*/*": Limit(jobs=1), "C/*": Limit(jobs=2), "c/t": Limit(rate="5/s"), "c": Limit(weight=4)}
    limits = Limits(settings, {})
    assert limits.of_topic(Queue.of("x", "y")) == Bound(1, 0, 0)
    assert limits.of_topic(Queue.of("c", "y")) == Bound(2, 0, 0)
    assert limits.of_topic(Queue.of("c", "t")) == Bound(0, 5, 1000)
    assert (limits.of_circle("c"), limits.weight("c"), limits.weight("x")) == (None, 4, 1)
    assert Limits(settings, {"c/t": Limit(jobs=7)}).of_topic(Queue.of("c", "t")) == Bound(7, 0, 0)
    assert Limits(settings, {"c": Limit()}).weight("c") == 1
    assert not Limits({}, {})
    assert Limits({"c/*": Limit(key_jobs=2, key_rate="1/s")}, {}).of_keys(Queue.of("c", "t")) == Bound(2, 1, 1000)
    assert Limits({"c/*": Limit(key_jobs=2)}, {}).of_topic(Queue.of("c", "t")) is None


def test_only_circles_have_weights() -> None:
    with pytest.raises(InvalidLimit, match="only circles"):
        check_limit("c/t", Limit(weight=2))
    with pytest.raises(InvalidLimit, match="jobs"):
        check_limit("c", Limit(jobs=-1))


def test_the_setting(tmp_path: Path) -> None:
    assert load(home=tmp_path, limit={"c": {"jobs": 3}}).limit == {"c": Limit(jobs=3)}
    for wrong in ({"jobs": -1}, {"rate": "fast"}, {"wieght": 2}):
        with pytest.raises(SettingsError, match="limit"):
            load(home=tmp_path, limit={"c": wrong})
