"""Opens the transport that the settings ask for."""

from __future__ import annotations

import asyncio
from functools import partial

from herojobs.errors import EmbeddedRedisError, RedisUnavailable
from herojobs.live import embedded
from herojobs.live.redis import AsyncRedis, BlockingRedis
from herojobs.live.transport import run_sync
from herojobs.settings import Settings


def connect_blocking(settings: Settings) -> BlockingRedis:
    """Return a connected transport for threads; drive its coroutines with `run_sync`.

    Without `redis_url` it is the embedded server of the home, started if it doesn't run.

    Raises:
        RedisUnavailable: Redis can't be reached.
        EmbeddedRedisError: the embedded server can't be started.
        SettingsError: `redis_url` is no address.
    """
    if settings.redis_url:
        redis = BlockingRedis(settings.redis_url, cluster=settings.cluster)
    else:
        redis = BlockingRedis(
            embedded.url(settings.home), cluster=settings.cluster, revive=partial(embedded.start, settings.home)
        )
    try:
        run_sync(redis.connect())
    except RedisUnavailable as e:
        raise _first(e) from None
    return redis


async def connect_async(settings: Settings) -> AsyncRedis:
    """Return a connected transport for the running event loop; see `connect_blocking`."""
    if settings.redis_url:
        redis = AsyncRedis(settings.redis_url, cluster=settings.cluster)
    else:
        url = await asyncio.to_thread(embedded.url, settings.home)
        redis = AsyncRedis(url, cluster=settings.cluster, revive=partial(embedded.start, settings.home))
    try:
        await redis.connect()
    except RedisUnavailable as e:
        raise _first(e) from None
    return redis


def _first(error: RedisUnavailable) -> EmbeddedRedisError | RedisUnavailable:
    """Return the error of a first connect: that our own server can't be started is told as that."""
    return error.__cause__ if isinstance(error.__cause__, EmbeddedRedisError) else error
