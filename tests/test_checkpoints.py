from __future__ import annotations

from pathlib import Path

import pytest

from herojobs.checkpoints import MAX_BYTES, Checkpoints
from herojobs.errors import CheckpointRefused
from herojobs.names import Ref

REF = Ref.parse("c/t/7")


def test_the_latest_state_is_loaded_whole(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    assert kept.load(REF) is None
    for state in (1, {"page": [1, "ü"]}, "x" * 1000, None):
        kept.save(REF, 5, state)
        assert Checkpoints(tmp_path).load(REF) == state
    kept.drop(REF)
    kept.drop(REF)
    assert kept.load(REF) is None


def test_an_attempt_that_has_lost_the_job_can_t_overwrite_a_later_one_s(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    kept.save(REF, 5, "first")
    kept.save(REF, 6, "second")
    with pytest.raises(CheckpointRefused, match="a later attempt at c/t/7"):
        kept.save(REF, 5, "late")
    assert kept.load(REF) == "second"


def test_what_can_t_be_kept_is_refused_and_the_former_one_stays(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    kept.save(REF, 5, "former")
    with pytest.raises(CheckpointRefused, match=r"65,537 bytes, at most 65,536"):
        kept.save(REF, 5, "x" * (MAX_BYTES - 1))
    with pytest.raises(CheckpointRefused, match="JSON"):
        kept.save(REF, 5, object())
    assert kept.load(REF) == "former"
    kept.save(REF, 5, "x" * (MAX_BYTES - 2))


def test_a_torn_file_counts_as_none(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    kept.save(REF, 5, [1, 2, 3])
    file = next(tmp_path.rglob("7"))
    for size in range(len(file.read_bytes())):
        file.write_bytes(b"5\n[1,2,3]"[:size])
        assert kept.load(REF) is None
    kept.save(REF, 6, "again")
    assert kept.load(REF) == "again"
