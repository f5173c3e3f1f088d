"""Servers for tests: one for all that change nothing others see, a fresh one where that matters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from live.servers import RedisServer
from server.running import Running, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[Running]:
    """A server without a WatchDog, for the tests of a module; each takes a circle of its own."""
    with RedisOf(redis_server) as url, serving(tmp_path_factory.mktemp("home"), url) as running:
        yield running


@pytest.fixture(scope="module")
def working(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[Running]:
    """A server with a WatchDog, likewise."""
    with RedisOf(redis_server) as url, serving(tmp_path_factory.mktemp("home"), url, watchdog=True) as running:
        yield running


class RedisOf:
    """A Redis of its own: other tests empty the one they share."""

    def __init__(self, like: RedisServer) -> None:
        self._server = RedisServer(like.program)

    def __enter__(self) -> str:
        return self._server.url

    def __exit__(self, *_: object) -> None:
        self._server.close()


@pytest.fixture
def circle(request: pytest.FixtureRequest) -> str:
    """A circle of the test's own."""
    return str(request.node.name).lower()[:60]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"
