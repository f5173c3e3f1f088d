"""The gate: who is behind a connection, whether it may be here, and how fast it may call."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from functools import lru_cache
from types import EllipsisType
from urllib.parse import urlsplit

from starlette.types import Scope

from herojobs.errors import HeroJobsError, RpcError
from herojobs.jsonrpc.codes import Code
from herojobs.server.backend import Backend
from herojobs.server.caller import Caller, Stream
from herojobs.server.errors import translate
from herojobs.server.limits import Limiter, Memory
from herojobs.server.login import bearer_of, key_of
from herojobs.server.owner import Owners

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
PROXY_HEADERS = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
"""What proxies add: a request with one of them comes from elsewhere, though its connection comes from this machine."""


class Gate:
    """Lets connections in, or not.

    Args:
        backend: knows settings and sessions.
        behind_proxy: see `make_app`.
    """

    def __init__(self, backend: Backend, *, behind_proxy: bool) -> None:
        self.backend = backend
        self.settings = backend.settings
        self._behind_proxy = behind_proxy
        self._limiter = Limiter(self.settings.server_rate, self.settings.server_burst)
        self.memory = Memory()
        self._owners = Owners()
        backend.at_close(self._owners.close)

    def refuses(self, scope: Scope, headers: Mapping[str, str]) -> RpcError | None:
        """Return why a request is refused whoever sends it, None if it isn't."""
        host = headers.get("host", "")
        origin = headers.get("origin")
        ours = (host, headers.get("x-forwarded-host", "")) if self._behind_proxy else (host,)
        # A proxy may hide our name; then only what browsers add by themselves is dangerous: cookies.
        checked = not self._behind_proxy or "cookie" in headers
        if origin is not None and checked and _place_of(origin) not in ours:
            return RpcError(Code.FORBIDDEN, f"Forbidden: pages of {origin[:80]} may not call this server")
        if not bearer_of(headers) and self._comes_from_here(scope) and not _is_ours(host):
            hint = "call 127.0.0.1 or localhost, or send a session key"
            return RpcError(Code.FORBIDDEN, f"Forbidden: this server isn't {host[:80]!r}", {"hint": hint})
        return None

    def caller(
        self,
        scope: Scope,
        headers: Mapping[str, str],
        stream: Stream | None = None,
        key: str | EllipsisType | None = ...,
    ) -> Caller:
        """Return who calls: by its session key, or as somebody of this machine.

        Args:
            scope: its connection.
            headers: what came with it.
            stream: its WebSocket, if it is one.
            key: the session key that counts in the place of the header's; None: it has closed its session.

        Raises:
            RpcError: the sessions can't be read now.
        """
        try:
            shown = (key or "") if key is not ... else key_of(headers)
            return Caller(
                self.backend,
                key=shown,
                local=key is not None and not shown and self._is_local(scope, headers),
                stream=stream,
                url=url_of(scope, headers),
            )
        except (HeroJobsError, OSError) as e:
            error = translate(e)
            assert error is not None
            raise error from e

    def admit(self, caller: Caller, scope: Scope, number: int) -> None:
        """Count calls of a caller.

        Raises:
            RpcError: it makes too many.
        """
        self._limiter.take(who_of(caller, scope), number)

    def _is_local(self, scope: Scope, headers: Mapping[str, str]) -> bool:
        """Return whether a request comes from our user on this machine.

        Not by a proxy, nor by a name that may be anybody's; proxies that tell nothing of themselves run as other users.
        """
        by_proxy = any(name in headers for name in PROXY_HEADERS)
        if by_proxy or not self._comes_from_here(scope) or not _is_ours(headers.get("host", "")):
            return False
        client, server = scope.get("client"), scope.get("server")
        if not client or not client[0] or not server or server[1] is None:
            return True  # a Unix socket, which only our user may open
        return self._owners.is_ours(tuple(client), tuple(server))

    def _comes_from_here(self, scope: Scope) -> bool:
        """Return whether a connection comes from this machine. A proxy's own address says nothing."""
        if self._behind_proxy:
            return False
        client = scope.get("client")
        if not client or not client[0]:
            return True  # a Unix socket
        return _is_loopback(client[0])


def who_of(caller: Caller, scope: Scope) -> str:
    """Return for whom limits count a caller: for its session, else for the address that it comes from."""
    client = scope.get("client")
    return caller.session.id if caller.session is not None else f"@{client[0] if client else ''}"


@lru_cache(maxsize=1024)
def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def url_of(scope: Scope, headers: Mapping[str, str]) -> str:
    """Return the address by which a request came here."""
    secure = scope.get("scheme") in ("https", "wss")
    return f"{'https' if secure else 'http'}://{headers.get('host', 'localhost')[:255]}"


def _place_of(origin: str) -> str | None:
    """Return host and port of an `Origin`, None if it has none: `null`, or rubbish."""
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None


def _is_ours(host: str) -> bool:
    """Return whether a `Host` header names this machine; HTTP/1.0 may have none, which no browser speaks."""
    return not host or _name_of(host) in LOCAL_NAMES


def _name_of(host: str) -> str:
    """Return a `Host` header without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host
