"""What Redis knows of sessions: hashes of keys with their sessions, for hosts that don't have the home folder.

Those hosts ask Redis at each check, so a revoked key is refused in the next call. They trust Redis as far as its
password goes; a host with a book trusts the book alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

import msgspec

from herojobs.live.connect import connect_blocking
from herojobs.live.redis import BlockingRedis, Redis, run_sync
from herojobs.sessions.book import Key
from herojobs.sessions.session import Session
from herojobs.settings import Settings

KEY = "herosessions"
"""The hash, and the channel on which changes are published."""


class _Known(msgspec.Struct):
    session: Session
    expires_ms: int


async def find_many(redis: Redis, digested: Sequence[bytes]) -> list[Key | None]:
    """Return what is known of the hashes of keys, in order, asked for in one command.

    Raises:
        RedisUnavailable: Redis can't be reached.
    """
    values = await redis.command("HMGET", KEY, *(each.hex() for each in digested))
    return [None if value is None else _read(each, value) for each, value in zip(digested, values, strict=True)]


def _read(digested: bytes, value: bytes) -> Key | None:
    try:
        known = msgspec.json.decode(value.partition(b" ")[2], type=_Known)
    except ValueError:  # not of ours
        return None
    return Key(digested, known.session, known.expires_ms)


class SharedKeys:
    """The keys in Redis; connects when it is first used.

    Args:
        settings: which Redis.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._redis: BlockingRedis | None = None

    def find(self, digested: bytes) -> Key | None:
        """Return what is known of a key's hash.

        Raises:
            RedisUnavailable: Redis can't be reached.
        """
        return run_sync(find_many(self._connected(), [digested]))[0]

    def any(self) -> bool:
        """Return whether any home has told Redis of sessions. Raises as `find`."""
        return bool(run_sync(self._connected().command("EXISTS", KEY)))

    def publish(self, book: str, generation: int, keys: list[Key]) -> bool:
        """Tell Redis a book's keys; return whether it was news. Raises as `find`."""
        redis = self._connected()
        if run_sync(redis.command("HGET", KEY, f"book:{book}")) == b"%d" % generation:
            return False
        pairs: list[str | bytes] = []
        for key in keys:
            known = _Known(key.session, key.expires_ms)
            pairs += (key.hash.hex(), book.encode() + b" " + msgspec.json.encode(known))
        script = files("herojobs.sessions").joinpath("publish.lua").read_text("utf-8")
        return bool(run_sync(redis.command("EVAL", script, 1, KEY, book, generation, *pairs)))

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        if self._redis is not None:
            run_sync(self._redis.close())
            self._redis = None

    def _connected(self) -> BlockingRedis:
        if self._redis is None:
            self._redis = connect_blocking(self._settings)
        return self._redis
