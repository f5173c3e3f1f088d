"""Ticks, above all where the clocks change. The rules are those of Debian's cron, told in docs/schedules.md."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herojobs.errors import InvalidSchedule
from herojobs.schedules import Timetable

PARIS = ZoneInfo("Europe/Paris")


def ms(text: str, zone: ZoneInfo | None = None) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=zone or UTC).timestamp() * 1000)


def ticks(when: str, after: str, count: int, zone: str = "Europe/Paris") -> list[str]:
    table = Timetable(when, zone)
    found = islice(table.ticks(ms(after, ZoneInfo(zone))), count)
    return [table.local(tick).strftime("%m-%d %H:%M%z") for tick in found]


def test_a_time_that_the_clocks_skip_is_due_right_after_the_change() -> None:
    assert ticks("30 2 * * *", "2026-03-28T00:00", 3) == ["03-28 02:30+0100", "03-29 03:00+0200", "03-30 02:30+0200"]


def test_a_time_that_the_clocks_repeat_is_due_once() -> None:
    assert ticks("30 2 * * *", "2026-10-24T12:00", 2) == ["10-25 02:30+0200", "10-26 02:30+0100"]


def test_asked_in_the_second_pass_of_the_repeated_hour_the_next_one_is_tomorrows() -> None:
    table = Timetable("30 2 * * *", "Europe/Paris")
    in_second_pass = ms("2026-10-25T01:10:00")  # 02:10 CET
    assert table.local(table.next_after(in_second_pass)).strftime("%m-%d %H:%M%z") == "10-26 02:30+0100"


def test_stars_in_minute_or_hour_follow_the_elapsed_time() -> None:
    assert ticks("*/30 * * * *", "2026-10-25T01:45", 5) == [
        "10-25 02:00+0200", "10-25 02:30+0200", "10-25 02:00+0100", "10-25 02:30+0100", "10-25 03:00+0100",
    ]  # fmt: skip
    assert ticks("0 * * * *", "2026-03-29T00:30", 3) == ["03-29 01:00+0100", "03-29 03:00+0200", "03-29 04:00+0200"]


def test_utc_knows_no_change() -> None:
    assert ticks("30 2 * * *", "2026-03-28T12:00", 2, "UTC") == ["03-29 02:30+0000", "03-30 02:30+0000"]


def test_aliases_seconds_and_names() -> None:
    assert ticks("@monthly", "2026-01-15T00:00", 2, "UTC") == ["02-01 00:00+0000", "03-01 00:00+0000"]
    assert ticks("0 9 * * MON-FRI", "2026-11-20T10:00", 2, "UTC") == ["11-23 09:00+0000", "11-24 09:00+0000"]
    start = ms("2026-01-01T00:00:00")
    assert Timetable("*/20 * * * * *").upcoming(start, 3) == [start + 20_000, start + 40_000, start + 60_000]


def test_intervals_count_from_the_anchor() -> None:
    assert Timetable("@every 90s", anchor_ms=10_000).upcoming(10_000, 2) == [100_000, 190_000]
    assert Timetable("@every 90s", anchor_ms=10_000).next_after(99_999) == 100_000
    assert Timetable("@every 2h").next_after(0) == 7_200_000


@settings(max_examples=200, deadline=None)
@given(
    when=st.sampled_from(
        [
            "*/5 * * * *",
            "30 2 * * *",
            "15,45 1-3 * * *",
            "0 */6 1 * *",
            "@weekly",
            "10 2 * * 0",
            "*/7 * * * * *",
            "@every 13m",
        ]
    ),
    at=st.integers(ms("2026-01-01T00:00"), ms("2028-01-01T00:00")),
    zone=st.sampled_from(["UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
)
def test_ticks_go_forward_on_whole_seconds_and_don_t_depend_on_where_one_starts(when: str, at: int, zone: str) -> None:
    table = Timetable(when, zone)
    found = table.upcoming(at, 5)
    assert found[0] > at
    assert all(a < b for a, b in pairwise(found))
    assert all(tick % 1000 == 0 for tick in found)
    for a, b in pairwise(found):
        assert table.next_after(a) == b
    assert table.latest(found[3], at) == found[3]
    assert table.latest(found[4] - 1, found[0]) == found[3]
    assert table.latest(found[0] - 1, at) == 0


@pytest.mark.parametrize(
    ("when", "tz", "told"),
    [
        ("* * * *", "UTC", "when '* * * *': wrong number of fields; use five fields"),
        ("61 * * * *", "UTC", "wrong minute"),
        ("0 0 30 2 *", "UTC", "wrong day-of-month"),
        ("", "UTC", "wrong number of fields"),
        ("@dayly", "UTC", "did you mean '@daily'?"),
        ("@every 0s", "UTC", "an interval of nothing"),
        ("@every 5 minutes", "UTC", "no such alias"),
        ("* * * * *", "Europe/Pariss", "tz 'Europe/Pariss': no such time zone; did you mean 'Europe/Paris'?"),
        ("* * * * *", "../../etc/passwd", "no such time zone"),
    ],
)
def test_what_is_wrong_is_told(when: str, tz: str, told: str) -> None:
    with pytest.raises(InvalidSchedule) as e:
        Timetable(when, tz)
    assert told in str(e.value)
