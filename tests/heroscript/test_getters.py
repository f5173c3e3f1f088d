"""Getters, changing, matching (HeroScript 7 and 9)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from herojobs.heroscript import HeroScriptError, Money, Params, PlayBook

BAD = object()


def params(**values: str) -> Params:
    made = Params()
    for key, value in values.items():
        made.set(key, value)
    return made


@pytest.mark.parametrize(
    ("getter", "text", "expected"),
    [
        ("get", " a b ", "a b"),
        ("get_int", "1_000", 1000),
        ("get_int", "-5", -5),
        ("get_int", "+5", 5),
        ("get_int", "9223372036854775807", 2**63 - 1),
        ("get_int", "9223372036854775808", BAD),
        ("get_int", "0" * 5000 + "7", 7),
        ("get_int", "9" * 5000, BAD),
        ("get_int", "1.0", BAD),
        ("get_int", "1__0", BAD),
        ("get_int", "٣", BAD),
        ("get_int", "", BAD),
        ("get_i8", "-128", -128),
        ("get_i8", "128", BAD),
        ("get_i16", "-32768", -32768),
        ("get_i32", "2147483648", BAD),
        ("get_i64", "-9223372036854775808", -(2**63)),
        ("get_u8", "255", 255),
        ("get_u8", "256", BAD),
        ("get_u8", "-0", BAD),
        ("get_u8", "+1", BAD),
        ("get_u16", "65535", 65535),
        ("get_u32", "4294967295", 2**32 - 1),
        ("get_u64", "18446744073709551615", 2**64 - 1),
        ("get_float", "1.5", 1.5),
        ("get_float", "-2e3", -2000.0),
        ("get_float", ".5", 0.5),
        ("get_float", "15%", 0.15),
        ("get_float", "inf", BAD),
        ("get_float", "1e999", BAD),
        ("get_float", "nan", BAD),
        ("get_percentage", "19", 0.19),
        ("get_percentage", "19%", 0.19),
        ("get_percentage", "%1.9", 0.019),
        ("get_percentage", "101", BAD),
        ("get_bool", "Yes", True),
        ("get_bool", "off", False),
        ("get_bool", "2", BAD),
        ("get_default_true", "on", True),
        ("get_default_true", "", True),
        ("get_default_true", "2", False),
        ("get_default_false", "off", False),
        ("get_default_false", "", False),
        ("get_default_false", "2", True),
        ("get_list", "a, b ,,c", ["a", "b", "c"]),
        ("get_list", "[a, 'b c', \"d\"]", ["a", "b c", "d"]),
        ("get_list", "'a,b', c", ["a,b", "c"]),
        ("get_list", "it's, b", ["it's", "b"]),
        ("get_list", "", []),
        ("get_list_namefix", "My-A, b c", ["my_a", "b_c"]),
        ("get_list_int", "1, -25", [1, -25]),
        ("get_list_int", "1, x", BAD),
        ("get_list_u8", "1,256", BAD),
        ("get_list_i16", "[1,-2]", [1, -2]),
        ("get_list_f64", "1.5,2", [1.5, 2.0]),
        ("get_list_f32", "1.5", [1.5]),
        ("get_list_bool", "true,no", [True, False]),
        ("get_list_bool", "true,maybe", BAD),
        ("get_map", "a:1 b:'x y'", {"a": "1", "b": "x y"}),
        ("get_map", "a:'open", BAD),
        ("get_json", '{"a": [1, null]}', {"a": [1, None]}),
        ("get_json", "{a}", BAD),
        ("get_storagecapacity_in_bytes", "500", 500),
        ("get_storagecapacity_in_bytes", "1.5kb", 1536),
        ("get_storagecapacity_in_bytes", "10 GB", 10 * 1024**3),
        ("get_storagecapacity_in_bytes", "2TiB", 2 * 1024**4),
        ("get_storagecapacity_in_bytes", "3B", 3),
        ("get_storagecapacity_in_bytes", "10 XB", BAD),
        ("get_storagecapacity_in_gigabytes", "10", 10),
        ("get_storagecapacity_in_gigabytes", "1MB", 1),
        ("get_storagecapacity_in_gigabytes", "1.5", 2),
        ("get_duration", "90", 90),
        ("get_duration", "90s", 90),
        ("get_duration", "1h30m", 5400),
        ("get_duration", "-2d", -172_800),
        ("get_duration", "1.5h", 5400),
        ("get_duration", "1x", BAD),
        ("get_duration", "", BAD),
        ("get_timestamp", "16:21", 58_860),
        ("get_timestamp", "8", 28_800),
        ("get_timestamp", "10AM", 36_000),
        ("get_timestamp", "8:07 pm", 72_420),
        ("get_timestamp", "12AM", 0),
        ("get_timestamp", "12PM", 43_200),
        ("get_timestamp", "15AM", BAD),
        ("get_timestamp", "25:12", BAD),
        ("get_timestamp", "10:60", BAD),
        ("get_timestamp", "24", BAD),
        ("get_currencyamount", "10.5usd", Money(Decimal("10.5"), "USD")),
        ("get_currencyamount", "USD 10", Money(Decimal(10), "USD")),
        ("get_currencyamount", "$5", Money(Decimal(5), "USD")),
        ("get_currencyamount", "5 €", Money(Decimal(5), "EUR")),
        ("get_currencyamount", "£1,000", Money(Decimal(1000), "GBP")),
        ("get_currencyamount", "20 k tft", Money(Decimal(20_000), "TFT")),
        ("get_currencyamount", "20mtft", Money(Decimal(20_000_000), "TFT")),
        ("get_currencyamount", "2m", Money(Decimal(2_000_000), "USD")),
        ("get_currencyamount", "3 mad", Money(Decimal(3), "MAD")),
        ("get_currencyamount", "7 usdc", Money(Decimal(7), "USDC")),
        ("get_currencyamount", "USD 1 EUR", BAD),
        ("get_currencyamount", "much", BAD),
        ("get_currencyfloat", "10.5usd", 10.5),
        ("get_email", " A@B.org ", "a@b.org"),
        ("get_email", "a@b@c", BAD),
        ("get_email", "a b@c", BAD),
        ("get_email", "ab", BAD),
        ("get_emails", "A@b.c, d@e.f", ["a@b.c", "d@e.f"]),
        ("get_telnr", " +32 123-456 ", "32 123456"),
        ("get_telnrs", "+1-2, 3", ["12", "3"]),
        ("get_time", "2022-12-5", datetime(2022, 12, 5, tzinfo=UTC)),
        ("get_time", "5/12/2022 20:14", datetime(2022, 12, 5, 20, 14, tzinfo=UTC)),
        ("get_time", "2022-12-05T20:14:35+02:00", datetime(2022, 12, 5, 18, 14, 35, tzinfo=UTC)),
        ("get_time", "2022-12-05 20:14:35.25Z", datetime(2022, 12, 5, 20, 14, 35, 250_000, tzinfo=UTC)),
        ("get_time", "2022-13-05", BAD),
        ("get_time", "2022-12-05 24", BAD),
        ("get_time", "+xh", BAD),
        ("get_time", "+1w2d", BAD),
        ("get_time", "+999999999999Y", BAD),
        ("get_time", "yesterday", BAD),
    ],
)
def test_a_getter_reads_a_text_or_refuses_it(getter: str, text: str, expected: Any) -> None:
    made = params(key=text)
    if expected is not BAD:
        got = getattr(made, getter)("Key")
        assert got == expected
        assert type(got) is type(expected) or isinstance(got, int | float)
        return
    with pytest.raises(HeroScriptError, match=r'"key" must be .*, not "') as raised:
        getattr(made, getter)("key")
    assert raised.value.code == "bad_value"
    default = getattr(made, getter + "_default", None)
    if default is not None:
        # A default never hides a bad value.
        with pytest.raises(HeroScriptError):
            default("key", 5)


@pytest.mark.parametrize("getter", ["get", "get_int", "get_u8", "get_list", "get_bool", "get_json", "get_list_i8"])
def test_a_missing_key_is_an_error_or_the_default(getter: str) -> None:
    made = params(other="1")
    with pytest.raises(HeroScriptError, match='"othr" is missing; did you mean "other"') as raised:
        getattr(made, getter)("othr")
    assert raised.value.code == "missing_param"
    assert getattr(made, getter + "_default")("othr", "anything") == "anything"


@pytest.mark.parametrize("text", ["", "0", "now", "+1w +2d -4h", " - 1 s "])
def test_relative_times(text: str) -> None:
    moved = {"+1w +2d -4h": timedelta(days=9, hours=-4), " - 1 s ": timedelta(seconds=-1)}.get(text, timedelta())
    assert abs(params(t=text).get_time("t") - datetime.now(UTC) - moved) < timedelta(seconds=2)


def test_defaults_that_are_texts() -> None:
    empty = Params()
    assert empty.get_percentage_default("x", "17") == 0.17
    assert empty.get_currencyamount_default("x", "20EUR") == Money(Decimal(20), "EUR")
    assert empty.get_currencyfloat_default("x", "20EUR") == 20.0
    assert empty.get_currencyfloat_default("x", 1.5) == 1.5
    assert empty.get_time_default("x", "2020-01-01") == datetime(2020, 1, 1, tzinfo=UTC)
    assert params(x="1").get_currencyamount_default("x", "2") == Money(Decimal(1), "USD")
    assert params(x="2021-01-01").get_time_default("x", "2020-01-01").year == 2021
    assert empty.get_default_true("x")
    assert not empty.get_default_false("x")


def test_an_error_has_its_place_in_the_script() -> None:
    (action,) = PlayBook.parse("text\n\n!!a.b n: four\n  one two").actions
    with pytest.raises(HeroScriptError, match='line 3, column 10: "n" must be a whole number, not "four"'):
        action.params.get_int("n")
    with pytest.raises(HeroScriptError, match='line 3, column 1: "m" is missing'):
        action.params.get("m")
    with pytest.raises(HeroScriptError, match='line 4, column 7: positional value 1 must be a whole number, not "two"'):
        action.params.get_arg_int(1)


def test_lists_keep_the_items_they_were_written_with() -> None:
    parsed = Params.parse("x: 'a,b', \"c d\", '' y:'a,b'")
    assert parsed.get_list("x") == ["a,b", "c d", ""]
    assert parsed.get_list("y") == ["a", "b"]
    assert Params.parse('x:["a b", "c"]').get_json("x") == ["a b", "c"]


def test_nested_params() -> None:
    nested = Params.parse("x:'a:1 b:[2,3] c'").get_params("x")
    assert (nested.get_list_int("b"), nested.args) == ([2, 3], ["c"])


def test_a_choice() -> None:
    choices = {"red,dark red": "#f00", "blue": "#00f"}
    assert params(c=" dark red ").get_from_hashmap("c", "blue", choices) == "#f00"
    assert params(c="green").get_from_hashmap("c", "blue", choices) == "#00f"
    assert Params().get_from_hashmap("c", "red", choices) == "#f00"
    with pytest.raises(HeroScriptError, match='"c" must be one of red, dark red, blue'):
        params(c="green").get_from_hashmap("c", "x", choices)


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert params(p=str(tmp_path)).get_path("p") == tmp_path
    assert params(p="~/new/one").get_path_create("p") == tmp_path / "new" / "one"
    assert params(p="~/new").get_path("p").is_dir()
    with pytest.raises(HeroScriptError, match='"p" must be a path that exists, not "~x/~"'):
        params(p="~x/~").get_path("p")
    (tmp_path / "file").touch()
    with pytest.raises(HeroScriptError, match="must be a folder that can be made"):
        params(p="~/file/below").get_path_create("p")


def test_positional_values() -> None:
    made = Params.parse("one 2")
    assert (made.get_arg(0), made.get_arg_int(1), made.get_arg_check(1, 2)) == ("one", 2, "2")
    assert (made.get_arg_default(2, "d"), made.get_arg_int_default(2, 5)) == ("d", 5)
    made.check_arg_len(2)
    for wrong in (
        lambda: made.get_arg(2),
        lambda: made.get_arg(-1),
        lambda: made.get_arg_int(0),
        lambda: made.get_arg_int_default(0, 5),
        lambda: made.get_arg_check(0, 3),
        lambda: made.check_arg_len(1),
    ):
        with pytest.raises(HeroScriptError):
            wrong()


def test_changing() -> None:
    made = Params.parse("a:1 b:2 // note\n red")
    made.set("A", True)
    made.set("c", 3)
    made.set_arg("RED")
    made.set_arg("green")
    made.delete("B")
    made.delete("nothing")
    assert (made.items(), made.args) == ([("a", "true"), ("c", "3")], ["red", "green"])
    made.merge(Params.parse("c:4 d:5 Green blue"))
    assert (made.items(), made.args) == ([("a", "true"), ("c", "4"), ("d", "5")], ["red", "green", "blue"])
    made.delete_arg("Red")
    assert made.args == ["green", "blue"]
    assert made.exists("D")
    assert "d" in made
    assert len(made) == 3
    assert not made.empty()
    assert Params().empty()
    with pytest.raises(ValueError, match="can't be a key"):
        made.set("é", 1)


def test_replacing_names_in_values() -> None:
    made = Params.parse("a:'{Who} and {other}' l:x,{who}")
    made.replace({"who": "you"})
    assert made.items() == [("a", "you and {other}"), ("l", "x,you")]
    assert made.get_list("l") == ["x", "you"]


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ([], [], True),
        (["color:red"], [], True),
        (["Color:red+arg1"], [], True),
        (["color:red+arg3"], [], False),
        (["color:r?d"], [], True),
        (["color:[rg]ed"], [], True),
        (["color:[^r]ed"], [], False),
        (["ARG*"], [], True),
        (["nokey:*"], [], False),
        (["color:blue", "arg2"], [], True),
        (["color:red"], ["arg2"], False),
        ([], ["arg"], True),
    ],
)
def test_matching(include: list[str], exclude: list[str], expected: bool) -> None:
    assert Params.parse("arg1 arg2 color:red").filter_match(include, exclude) is expected
