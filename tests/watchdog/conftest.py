"""A WatchDog over a real Redis and a home of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from herojobs import HeroJobs, WatchDog

ACTORS = ("support.actors",)


@pytest.fixture
def given(tmp_path: Path, redis_url: str) -> dict[str, Any]:
    """The settings that client and WatchDog share."""
    return {"home": tmp_path / "home", "redis_url": redis_url, "actors": ACTORS}


@pytest.fixture
def hero(given: dict[str, Any]) -> Iterator[HeroJobs]:
    with HeroJobs(**given) as client:
        yield client


@pytest.fixture
def start(given: dict[str, Any]) -> Iterator[Callable[..., WatchDog]]:
    """Start WatchDogs with one worker each; they are stopped at the test's end."""
    with ExitStack() as stack:

        def started(**settings: Any) -> WatchDog:
            circles = settings.pop("circles", None)
            return stack.enter_context(
                WatchDog(**(given | {"workers": 1, "stop_timeout": 0.5} | settings), circles=circles)
            )

        yield started
