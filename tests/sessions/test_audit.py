"""The audit log: what is noted is kept, in order, by many at once, and never in anybody's way."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from herojobs.ourdb import OurDB
from herojobs.sessions import Audit, Role, Session
from herojobs.sessions import audit as module
from herojobs.settings import Settings
from waiting import until

BOB = Session("b0b00000", "bob", ("acme",), Role.OPERATOR, 0)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def audit(settings: Settings) -> Iterator[Audit]:
    made = Audit(settings)
    yield made
    made.close()


def test_what_was_noted_can_be_read_by_another_process_soon(audit: Audit, settings: Settings) -> None:
    audit.note(BOB, "job.cancel", circle="acme", ref="acme/t/1")
    audit.note(BOB, "job.cancel", circle="acme", ref="acme/t/9", outcome="1001 Job not found")
    audit.note(None, "session.create", ref="b0b00000")
    reader = Audit(settings)
    until(lambda: len(list(reader.read())) == 3)
    newest, failed, first = reader.read()
    assert (newest.session, newest.method) == ("command", "session.create")
    assert (failed.outcome, failed.ref) == ("1001 Job not found", "acme/t/9")
    assert (first.session, first.name, first.method, first.circle, first.ref, first.outcome) == (
        "b0b00000", "bob", "job.cancel", "acme", "acme/t/1", "ok",
    )  # fmt: skip
    assert abs(first.at - time.time() * 1000) < 60_000
    reader.close()


def test_entries_are_found_by_circle_session_and_time(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 7)  # so that reading has pages
    for number in range(30):
        monkeypatch.setattr(module, "now_ms", lambda number=number: 1_000_000 * (number + 1))
        session = Session(f"{number % 2}", "even" if number % 2 == 0 else "odd", ("*",), Role.ADMIN, 0)
        audit.note(session, "queue.empty", circle=f"c{number % 3}", ref=f"c{number % 3}/t")
    audit.flush()
    assert [entry.at for entry in audit.read()] == [1_000_000 * (n + 1) for n in reversed(range(30))]
    assert {entry.circle for entry in audit.read(circle="C1")} == {"c1"}
    assert len(list(audit.read(session="odd"))) == len(list(audit.read(session="1"))) == 15
    assert [entry.at for entry in audit.read(since_ms=28_000_001)] == [30_000_000, 29_000_000]
    assert not list(audit.read(circle="c9"))


def test_jobs_that_follow_each_other_are_one_entry(audit: Audit) -> None:
    for number in (1, 2, 3, 5, 6):
        audit.note(BOB, "job.submit", circle="acme", ref=f"acme/t/{number}")
        audit.note(BOB, "job.submit", circle="b", ref=f"b/t/{number * 10}")
    audit.note(BOB, "job.submit", circle="acme", ref="acme/t/7", outcome="1005 Forbidden")
    audit.flush()
    found = {(entry.ref, entry.count, entry.outcome) for entry in audit.read()}
    assert found == {
        ("acme/t/1", 3, "ok"), ("acme/t/5", 2, "ok"), ("acme/t/7", 1, "1005 Forbidden"),
        *((f"b/t/{number * 10}", 1, "ok") for number in (1, 2, 3, 5, 6)),
    }  # fmt: skip


def test_noting_never_waits_and_a_full_disk_loses_nothing_that_fits(
    audit: Audit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    add_many = OurDB.add_many
    full = threading.Event()

    def fails(self: OurDB, *args: Any, **kwargs: Any) -> Any:
        full.set()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(OurDB, "add_many", fails)
    monkeypatch.setattr(module, "MOST_HELD", 100)
    for number in range(150):
        audit.note(BOB, "queue.pause", ref=f"c/{number}x")
    assert full.wait(60)
    until(lambda: "can't be written" in caplog.text)
    monkeypatch.setattr(OurDB, "add_many", add_many)
    audit.close()
    found = list(audit.read())
    lost = [entry for entry in found if entry.method == "audit.lost"]
    assert [entry.count for entry in lost] == [50]
    assert [entry.ref for entry in found if entry not in lost] == [f"c/{n}x" for n in reversed(range(50, 150))]


def test_several_processes_note_at_once(settings: Settings) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from herojobs.sessions import Audit; from herojobs.settings import Settings\n"
        "audit = Audit(Settings(home=Path(sys.argv[1])))\n"
        "for n in range(500): audit.note(None, 'queue.empty', ref=f'{sys.argv[2]}-{n}')\n"
        "audit.close()"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, settings.home, str(number)]) for number in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    audit = Audit(settings)
    refs = [entry.ref for entry in audit.read()]
    assert len(refs) == 1500
    for number in range(3):
        own = [ref for ref in refs if ref.startswith(f"{number}-")]
        assert own == [f"{number}-{n}" for n in reversed(range(500))]
    audit.close()


def test_a_home_without_a_log_is_left_without(settings: Settings) -> None:
    audit = Audit(settings)
    assert not list(audit.read())
    audit.close()
    assert not (settings.home / "var").exists()
