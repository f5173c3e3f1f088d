"""What both clients open: settings, store, index, and the core over a transport."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

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


class Remote:
    """A remote client's open parts; in the place of `Opened`.

    Args:
        url: the server's address.
        session_key: the key to show there.
        blocking: whether for threads.
    """

    def __init__(self, url: str, session_key: str, *, blocking: bool) -> None:
        from herojobs.client.http import AsyncHttp, BlockingHttp, address_of  # here: local clients need no HTTP
        from herojobs.client.remote import RemoteCore

        http = (BlockingHttp if blocking else AsyncHttp)(address_of(url), session_key)
        # A server can do less than the home: what is missing tells so (`RemoteCore.__getattr__`).
        self.core = cast(Core, RemoteCore(http, session_key))
        self._close = http.close

    async def close(self) -> None:
        """Close connections."""
        await self._close()


def is_remote(url: str | None) -> bool:
    """Return whether an address is that of a server, not of a Redis."""
    return url is not None and url.startswith(("http://", "https://", "http+unix://"))


def settings_for(url: str | None, settings: Settings | None, overrides: Mapping[str, Any]) -> Settings:
    """Return the settings that a client was asked for.

    Raises:
        SettingsError: a setting is wrong.
    """
    if url is not None and url.startswith(("ws://", "wss://")):
        raise SettingsError(f"{url}: a client speaks HTTP; write http{url[2:]}")
    redis = {} if url is None or is_remote(url) else {"redis_url": url}
    return load(base=settings, **{**overrides, **redis})
