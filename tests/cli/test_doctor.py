"""What `herojobs doctor` finds in databases."""

from __future__ import annotations

from pathlib import Path

import pytest

from herojobs.cli.doctor import _databases, _machine
from herojobs.job import Job
from herojobs.names import Queue
from herojobs.settings import Settings, load
from herojobs.store import JobStore


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load({}, home=tmp_path)


def stored(settings: Settings, queue: Queue) -> Path:
    store = JobStore(settings)
    store.add_many(queue, [Job(params="x", circle_id=queue.circle, topic=queue.topic)])
    store.close()
    return store.path(queue)


def test_a_database_that_cannot_be_opened_is_not_called_damaged(settings: Settings) -> None:
    state = stored(settings, Queue("c", "t")) / "lookup" / "state"
    state.unlink()
    state.mkdir()
    first, last = _databases(settings)
    assert (first.what, first.state, first.found) == ("c/t", "problem", f"{state}: Is a directory")
    assert "repair" not in first.advice
    assert (last.state, last.found) == ("problem", "0 checked, 0 damaged, 1 can't be opened")


def test_a_damaged_database_is_found(settings: Settings) -> None:
    data = stored(settings, Queue("c", "t")) / "0.db"
    data.write_bytes(data.read_bytes()[:-1] + b"?")
    first, last = _databases(settings)
    assert (first.what, first.state) == ("c/t", "problem")
    assert "herojobs ourdb repair c/t" in first.advice
    assert last.found == "1 checked, 1 damaged"


def test_databases_under_names_that_are_not_fixed_are_told(settings: Settings) -> None:
    made = stored(settings, Queue("c", "t"))
    raw = settings.circles_dir / "My Circle" / "Mail"
    raw.mkdir(parents=True)
    made.rename(raw / "jobsdb")
    first, last = _databases(settings)
    assert (first.what, first.state) == ("My Circle/Mail", "warning")
    assert first.advice == f"herojobs ourdb import '{raw / 'jobsdb'}', then move it away"
    assert last.state == "ok"


def test_a_home_that_others_can_read_and_a_full_disk_are_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.home.chmod(0o755)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 0}))
    states = {finding.what: finding.state for finding in _machine(settings)}
    assert (states["home"], states["disk"]) == ("warning", "problem")
