"""Stores for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from herojobs.settings import load
from herojobs.store import JobIndex, JobStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    made = JobStore(load({}, home=tmp_path), max_open=4)
    yield made
    made.close()


@pytest.fixture
def index(store: JobStore) -> Iterator[JobIndex]:
    made = JobIndex(store)
    yield made
    made.close()
