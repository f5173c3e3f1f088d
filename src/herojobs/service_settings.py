"""What the settings say of a service that jobs of kind `openrpc` may call: the tables `[services.NAME]`."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from herojobs.errors import did_you_mean
from herojobs.names import queue_name_fix

SERVICE_SCHEMES = ("http", "https", "ws", "wss", "unix", "unix+line")


class Service(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service that jobs of kind `openrpc` may call: a table `[services.NAME]`."""

    url: str
    """Where it listens: http, https, ws or wss; `unix:/socket` or `unix:/socket:/path` for HTTP over a Unix socket,
    `unix+line:/socket` for JSON messages that end with a line feed each."""

    document: str = "discover"
    """Its OpenRPC document: `discover` asks the service by rpc.discover; else a path (from the home folder) or a
    URL; `none`: there is none, so calls go out unchecked."""

    headers: dict[str, str] = {}
    """Headers of each request. A value `env:NAME` is read from the worker's environment, and masked in logs."""

    timeout: Annotated[float, Meta(gt=0, le=86_400)] = 30.0
    """Seconds that one attempt may take; the job's own timeout counts besides."""

    retries: Annotated[int, Meta(ge=0, le=20)] = 2
    """Further attempts after one that failed, if a second one can do no harm: nothing was sent, or the method is
    idempotent."""

    idempotent: tuple[str, ...] = ()
    """Patterns of methods that may be sent twice. A method that isn't, and is listed here, runs twice after a
    timeout. Methods with `x-idempotent: true` in the document are so too."""

    methods: tuple[str, ...] = ("*",)
    """Patterns of the methods that jobs may call."""

    circles: tuple[str, ...] = ("*",)
    """Circles whose jobs may call it; `*` is all."""

    concurrency: Annotated[int, Meta(ge=1, le=10_000)] = 50
    """Requests that one worker process has under way at once; further ones wait."""

    max_response: Annotated[int, Meta(ge=100, le=1 << 30)] = 8 * 1024 * 1024
    """Longest answer, in bytes after decompression. A longer one is given up while it is read."""

    strict: bool = False
    """Whether a result that doesn't fit the document is an error; else it is a warning in the job's log."""

    redact: tuple[str, ...] = ()
    """Members of params whose values are masked in logs and errors."""

    def __post_init__(self) -> None:
        check_service_url(self.url)
        circles = tuple(circle if circle == "*" else queue_name_fix(circle) for circle in self.circles)
        msgspec.structs.force_setattr(self, "circles", circles)


def check_service_url(url: str) -> None:
    """Raise ValueError, saying why, if no service can be at a URL."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as e:
        raise ValueError(f"{url!r} is no URL: {e}") from None
    if parts.scheme not in SERVICE_SCHEMES:
        right = did_you_mean(parts.scheme, SERVICE_SCHEMES) if parts.scheme else "write https://host/path"
        raise ValueError(f"{url!r}: no such scheme; {right}")
    if parts.scheme.startswith("unix"):
        if parts.netloc or not parts.path.startswith("/"):
            raise ValueError(f"{url!r}: write {parts.scheme}:/path/of/the/socket")
    elif not host:
        raise ValueError(f"{url!r} names no host; write {parts.scheme}://host/path")
    elif parts.username is not None or parts.password is not None:
        raise ValueError(f"the URL of host {host!r} holds a user or password; put them into a header, as env:NAME")
