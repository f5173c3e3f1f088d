"""One clear sentence for whatever goes wrong with Redis, naming its address without the password."""

from __future__ import annotations

from urllib.parse import urlsplit

from redis.exceptions import AuthenticationError, AuthorizationError, BusyLoadingError, RedisError
from redis.exceptions import TimeoutError as RedisTimeout

from herojobs.errors import EmbeddedRedisError, RedisUnavailable

TIMEOUT = 5.0
"""Seconds that connecting may take, and each reply."""
TROUBLE = (RedisError, OSError, EmbeddedRedisError)
"""What keeps a connection from being opened or used."""


def shown_address(url: str) -> str:
    """Return an address without user, password and options, to be shown."""
    parts = urlsplit(url)
    if not parts.scheme:
        return url.rpartition("@")[2]
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def refused(address: str, what: str, error: Exception) -> RedisUnavailable:
    """Return the error for an error reply of the server to `what`."""
    text = " ".join(str(error).split())
    if "READONLY" in text or "read only replica" in text:
        problem = "is a read-only replica; use the primary's address"
    elif "maxmemory" in text or text.startswith("OOM"):
        problem = f"has reached its maxmemory and refuses {what}; raise it or free memory"
    elif "MISCONF" in text:
        problem = f"can't save to its disk, so it refuses writes ({text})"
    elif "NOAUTH" in text:
        problem = "wants a password; put it into the address, redis://:password@host"
    elif "NOPERM" in text:
        problem = f"doesn't permit {what} to this user ({text})"
    else:
        problem = f"refused {what}: {text}"
    return RedisUnavailable(f"Redis at {address} {problem}")


def unreachable(address: str, error: BaseException) -> RedisUnavailable:
    """Return the error for a connection that failed."""
    text = " ".join(str(error).split()).rstrip(".")
    if isinstance(error, (EmbeddedRedisError, RedisUnavailable)):
        return RedisUnavailable(str(error))
    if isinstance(error, BusyLoadingError):
        problem = "is still loading its data; try again shortly"
    elif "NOAUTH" in text or "Authentication required" in text:
        problem = "wants a password; put it into the address, redis://:password@host"
    elif isinstance(error, (AuthenticationError, AuthorizationError)):
        problem = f"refuses the login ({text}); check user and password in its address"
    elif isinstance(error, (RedisTimeout, TimeoutError)):
        problem = f"didn't answer within {TIMEOUT:g} s"
    elif "refused" in text or "Error 111 " in text or "Error 61 " in text:  # Linux, macOS
        problem = "refuses connections: no server is listening there"
    elif "No such file" in text or "Error 2 " in text:
        problem = "isn't there: no such socket"
    elif "ermission denied" in text:
        problem = "may not be connected to: permission denied"
    elif isinstance(error, RedisError) and "closed" in text.lower():
        problem = "closed the connection"
    else:
        problem = f"can't be reached ({text or type(error).__name__})"
    return RedisUnavailable(f"Redis at {address} {problem}")
