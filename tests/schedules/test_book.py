from __future__ import annotations

import stat
from collections.abc import Iterator

import pytest

from herojobs.errors import InvalidJob, InvalidSchedule, ScheduleConflict, ScheduleNotFound
from herojobs.job import Job
from herojobs.schedules import ScheduleBook
from herojobs.settings import Settings

T0 = 1_800_000_000_000
JOB = Job(params="!!core.echo", circle_id="My Circle", session_key="secret")


@pytest.fixture
def book(settings: Settings) -> Iterator[ScheduleBook]:
    made = ScheduleBook(settings)
    yield made
    made.close()


def test_looking_makes_no_file(book: ScheduleBook) -> None:
    assert book.all() == []
    assert book.next_ms() == 0
    assert not book.path.exists()


def test_a_schedule_is_kept_whole_and_for_its_user_alone(book: ScheduleBook, settings: Settings) -> None:
    added = book.add("nightly", "0 3 * * *", JOB, tz="Europe/Paris", missed="all", now=T0)
    other = ScheduleBook(settings)
    assert other.all() == [added]
    other.close()
    assert (added.circle, added.job.circle_id, added.job.session_key) == ("my_circle", "My Circle", "secret")
    assert book.next_ms() == added.next_ms == added.upcoming(1, T0)[0]
    assert stat.S_IMODE(book.path.stat().st_mode) == 0o600


def test_a_name_is_taken_once_in_each_circle(book: ScheduleBook) -> None:
    book.add("a", "@daily", JOB, now=T0)
    with pytest.raises(ScheduleConflict, match="already"):
        book.add("a", "@hourly", JOB, now=T0)
    assert book.add("a", "@hourly", JOB, replace=True, now=T0).when == "@hourly"
    book.add("a", "@daily", Job(params="!!core.echo", circle_id="other"), now=T0)
    with pytest.raises(ScheduleConflict, match="my_circle, other"):
        book.get("a")
    assert book.get("a", "My Circle").when == "@hourly"


def test_pause_resume_and_remove(book: ScheduleBook) -> None:
    book.add("a", "@every 1m", JOB, now=T0)
    assert book.pause("a").paused
    assert book.next_ms() == 0
    assert book.due(T0 + 600_000) == []
    resumed = book.resume("a", now=T0 + 600_000)
    assert not resumed.paused
    assert resumed.next_ms == T0 + 660_000
    assert book.resume("a", now=T0 + 900_000).next_ms == T0 + 660_000  # it ran: nothing changes
    assert book.remove("a").name == "a"
    with pytest.raises(ScheduleNotFound):
        book.get("a")


def test_what_is_wrong_is_told(book: ScheduleBook) -> None:
    book.add("nightly", "@daily", JOB, now=T0)
    with pytest.raises(ScheduleNotFound, match="did you mean 'nightly'"):
        book.pause("nigtly")
    with pytest.raises(InvalidSchedule, match="missed 'never'"):
        book.add("b", "@daily", JOB, missed="never")
    with pytest.raises(InvalidSchedule, match="name 'a b'"):
        book.add("a b", "@daily", JOB)
    with pytest.raises(InvalidJob, match="params_type 'heroscrpt'"):
        book.add("b", "@daily", Job(params="x", circle_id="c", params_type="heroscrpt"))
    with pytest.raises(InvalidSchedule, match="its idempotency_key is set, which fits one tick only"):
        book.add("b", "@daily", Job(params="x", circle_id="c", idempotency_key="k"))
    with pytest.raises(InvalidSchedule, match="time_scheduled"):
        book.add("b", "@daily", Job(params="x", circle_id="c", time_scheduled=5))


def test_a_file_that_cannot_be_read_is_trouble_with_the_disk(book: ScheduleBook) -> None:
    book.add("a", "@daily", JOB, now=T0)
    book.close()
    for ending in ("-wal", "-shm"):
        book.path.with_name(book.path.name + ending).unlink(missing_ok=True)
    book.path.write_bytes(b"no database" * 100)
    with pytest.raises(OSError, match=r"schedules\.sqlite3: file is not a database"):
        book.all()
