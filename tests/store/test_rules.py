"""The file of a home's rules."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import msgspec
import pytest

from herojobs.errors import InvalidName, SettingsError
from herojobs.names import Queue
from herojobs.store.rules import NO_RULES, RuleFile, Rules, rule_name


def pause(home: Path, *names: str) -> None:
    file = RuleFile(home)
    for name in names:
        file.change(lambda rules, name=name: msgspec.structs.replace(rules, paused=rules.paused | {name}))  # type: ignore[misc]


def test_what_is_written_is_seen_by_all_at_once(tmp_path: Path) -> None:
    here, there = RuleFile(tmp_path), RuleFile(tmp_path)
    assert here.read() is NO_RULES
    pause(tmp_path, "c", "d/t")
    for file in (here, there):
        rules = file.read()
        assert [rules.is_paused(Queue.of(*each)) for each in (("c", "x"), ("d", "t"), ("d", "u"))] == [
            True,
            True,
            False,
        ]
        assert file.read() is rules, "unchanged, it isn't read again"
    here.change(lambda rules: Rules())
    assert there.read().paused == frozenset()


def test_processes_that_change_it_at_once_lose_nothing(tmp_path: Path) -> None:
    workers = [
        multiprocessing.get_context("fork").Process(target=pause, args=(tmp_path, *(f"c{n}_{i}" for i in range(20))))
        for n in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(RuleFile(tmp_path).read().paused) == 60


def test_what_cannot_be_read_is_told_and_not_overwritten(tmp_path: Path) -> None:
    pause(tmp_path, "c")
    path = tmp_path / "var" / "rules.json"
    path.write_text("{")
    with pytest.raises(SettingsError, match=r"rules\.json"):
        RuleFile(tmp_path).read()
    with pytest.raises(SettingsError):
        pause(tmp_path, "d")
    assert path.read_text() == "{"


def test_names_are_fixed() -> None:
    assert rule_name("My Circle", None) == "my_circle"
    assert rule_name("My Circle", "T") == "my_circle/t"
    with pytest.raises(InvalidName):
        rule_name("..", None)
