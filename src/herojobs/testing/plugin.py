"""The pytest plug-in (entry point `pytest11`): fixtures that give each test a home and an empty Redis of its own.

Imported at every start of pytest, so it imports nothing of HeroJobs until a fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from herojobs.settings import Settings
    from herojobs.testing.clock import FakeClock
    from herojobs.testing.inline import InlineHero
    from herojobs.testing.redis_server import TestRedis
    from herojobs.watchdog.watchdog import WatchDog

MARKER = "herojobs"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the ini option `herojobs_actors`."""
    parser.addini("herojobs_actors", "modules of actors that jobs in tests may use", type="linelist", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", f"{MARKER}(**settings): settings of HeroJobs for this test, by their names")


@pytest.fixture(scope="session")
def hero_redis() -> Iterator[TestRedis]:
    """A Redis server for all tests of this process, on a socket of its own; it ends with them."""
    from herojobs.testing.redis_server import TestRedis

    server = TestRedis()
    yield server
    server.close()


@pytest.fixture
def hero_settings(
    request: pytest.FixtureRequest,
    hero_redis: TestRedis,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Settings:
    """Settings with a fresh home and an empty Redis; clients that the program under test makes get them too.

    The ini option `herojobs_actors` and the marker `herojobs(...)` give further settings.
    """
    from herojobs.settings import load

    hero_redis.empty()
    given: dict[str, Any] = {"actors": tuple(request.config.getini("herojobs_actors"))}
    for marker in reversed([*request.node.iter_markers(MARKER)]):  # the nearest one counts
        given |= marker.kwargs
    home = tmp_path_factory.mktemp("hero")
    monkeypatch.setenv("HEROJOBS_HOME", str(home))
    monkeypatch.setenv("HEROJOBS_REDIS_URL", hero_redis.url)
    return load(sync="never", **given)


@pytest.fixture
def hero(request: pytest.FixtureRequest, hero_settings: Settings) -> Iterator[InlineHero]:
    """A client whose jobs run in this process, when the test says so; with assertions about submissions.

    In a test that asks for `hero_watchdog` too, that one runs them.
    """
    from herojobs.testing.inline import InlineHero

    with InlineHero(hero_settings, inline="hero_watchdog" not in request.fixturenames) as client:
        yield client


@pytest.fixture
def hero_clock() -> Iterator[FakeClock]:
    """A clock that stands still until the test moves it."""
    from herojobs.testing.clock import FakeClock

    with FakeClock() as clock:
        yield clock


@pytest.fixture
def hero_watchdog(hero_settings: Settings) -> Iterator[WatchDog]:
    """A real WatchDog with one worker process, for what inline runs can't show: timeouts, kills, parallel jobs."""
    from herojobs.settings import load
    from herojobs.watchdog.watchdog import WatchDog

    settings = load(base=hero_settings, workers=hero_settings.workers or 1, stop_timeout=1)
    with WatchDog(settings=settings) as watchdog:
        yield watchdog
