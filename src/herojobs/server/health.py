"""Whether what the server needs is there: Redis, the store, a WatchDog."""

from __future__ import annotations

import asyncio
import os

from herojobs.errors import RedisUnavailable
from herojobs.ourdb import OurDBError
from herojobs.server.backend import Backend
from herojobs.server.shapes import Health

TIMEOUT = 3.0
"""Seconds that each part may take to answer."""


async def check(backend: Backend) -> Health:
    """Look at all parts at once."""
    redis, store, watchdog = await asyncio.gather(_redis(backend), _store(backend), _watchdog(backend))
    checks = {"redis": redis, "store": store, "watchdog": watchdog}
    return Health(all(state == "ok" for state in checks.values()), checks)


async def _redis(backend: Backend) -> str:
    try:
        async with asyncio.timeout(TIMEOUT):
            await backend.redis.command("PING")
    except TimeoutError:
        return "Redis doesn't answer"
    except RedisUnavailable as e:
        return str(e)
    return "ok"


async def _store(backend: Backend) -> str:
    folder = backend.settings.circles_dir
    try:
        async with asyncio.timeout(TIMEOUT):
            await asyncio.to_thread(_look, backend)
    except TimeoutError:
        return f"{folder} doesn't answer"
    except (OSError, OurDBError) as e:
        return str(e)
    return "ok"


def _look(backend: Backend) -> None:
    folder = backend.settings.circles_dir
    while not folder.exists():  # a fresh home
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder} can't be written")
    backend.store.queues()


async def _watchdog(backend: Backend) -> str:
    try:
        async with asyncio.timeout(TIMEOUT):
            heard = await watchdogs(backend)
    except (TimeoutError, RedisUnavailable):
        return "unknown, as Redis doesn't answer"
    return "ok" if heard else "no WatchDog runs: herojobs watchdog"


async def watchdogs(backend: Backend) -> int:
    """Return how many listen where WatchDogs do; a message of an unknown sort means nothing to them.

    Raises:
        RedisUnavailable: Redis can't be reached.
    """
    return int(await backend.redis.command("PUBLISH", "herocontrol:-", b'{"id":0,"what":"-"}'))
