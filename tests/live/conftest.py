"""Both transports over every server of this machine, driven alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from herojobs.live.redis import AsyncRedis, BlockingRedis
from herojobs.names import Queue
from live.driver import Driver
from live.servers import RedisServer, servers_found


@pytest.fixture(scope="session", params=sorted(servers_found()))
def each_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    server = RedisServer(servers_found()[request.param])
    yield server
    server.close()


@pytest.fixture(params=[BlockingRedis, AsyncRedis])
def driver(request: pytest.FixtureRequest, each_server: RedisServer) -> Iterator[Driver[Any]]:
    """A transport over an empty server; every transport and every server."""
    found = Driver(request.param(each_server.url))
    found.command("FLUSHALL")
    found.command("SCRIPT", "FLUSH")
    yield found
    found.close()


@pytest.fixture
def redis(redis_url: str) -> Iterator[Driver[BlockingRedis]]:
    """A blocking transport over an empty server."""
    found = Driver(BlockingRedis(redis_url))
    yield found
    found.close()


@pytest.fixture
def queue() -> Queue:
    return Queue.of("myCircle", "myTopic")
