"""What both clients open: settings, store, index, and the core over a transport."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from herojobs.client.core import Core
from herojobs.errors import SettingsError
from herojobs.live.redis import Redis
from herojobs.sessions import Sessions
from herojobs.settings import Settings, load
from herojobs.store import JobIndex, JobStore


class Opened:
    """A client's open parts.

    Args:
        settings: the settings in force.
        redis: the transport.
        apart: see `Core`.
    """

    def __init__(self, settings: Settings, redis: Redis, apart: Callable[..., Awaitable[Any]]) -> None:
        self._redis = redis
        self._store = JobStore(settings)
        self._index = JobIndex(self._store)
        self._sessions = Sessions(settings)
        self.core = Core(settings, redis, self._store, self._index, self._sessions, apart)

    async def close(self) -> None:
        """Close connections and databases."""
        await self._redis.close()
        self._sessions.close()
        self.core.close()
        self._index.close()
        self._store.close()


async def at_once(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call a function here and now: the `apart` of who has no event loop to hold up."""
    return function(*args, **kwargs)


def settings_for(url: str | None, settings: Settings | None, overrides: Mapping[str, Any]) -> Settings:
    """Return the settings that a client was asked for.

    Raises:
        SettingsError: a setting is wrong.
    """
    if url is not None and url.startswith(("http://", "https://", "ws://", "wss://")):
        raise SettingsError(f"{url}: give a redis://, rediss:// or unix:// address")
    return load(base=settings, **{**overrides, **({} if url is None else {"redis_url": url})})
