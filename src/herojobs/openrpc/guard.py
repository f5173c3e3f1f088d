"""The guard: where calls may go. Services are an administrator's choice; other URLs pass only if a pattern allows them.

A URL that passed is resolved once, and the connection goes to the very address that was checked, so that a name which
resolves to something else a moment later gains nothing.
"""

from __future__ import annotations

import asyncio
import fnmatch
import ipaddress
import socket
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from herojobs.errors import SettingsError
from herojobs.openrpc.faults import refused, unreachable

RESOLVE_TIMEOUT = 10.0
PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_METADATA = frozenset({"168.63.129.16"})  # global by its number, but answers about the machine that asks
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Target(NamedTuple):
    """A URL's parts that the guard looks at."""

    scheme: str
    host: str
    port: int
    path: str


class Pattern(NamedTuple):
    """One entry of the setting `openrpc_allow_urls`; `host` and `path` are globs, port 0 is any."""

    scheme: str
    host: str
    port: int
    path: str

    def allows(self, target: Target) -> bool:
        """Return whether a URL is one of those that the pattern means."""
        return (
            self.scheme == target.scheme
            and fnmatch.fnmatchcase(target.host, self.host)
            and self.port in (0, target.port)
            and fnmatch.fnmatchcase(target.path, self.path)
        )

    def lists(self, address: Address, target: Target) -> bool:
        """Return whether the pattern names this very address, for what the URL asks of it."""
        try:
            named = ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return named == address and self.allows(target._replace(host=self.host))


class Guard:
    """Decides over URLs that are no service's.

    Args:
        patterns: the setting `openrpc_allow_urls`.

    Raises:
        SettingsError: a pattern can't be read.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = [read_pattern(pattern) for pattern in patterns]

    async def check(self, url: str) -> str:
        """Return the address to connect to for a URL.

        Raises:
            Fault: it may not be called (the message says which rule forbids it), or its host can't be resolved.
        """
        target = self._parts(url)
        if not any(pattern.allows(target) for pattern in self._patterns):
            raise refused(f"no pattern of the setting openrpc_allow_urls allows {url[:200]}")
        why = ""
        for address in await resolve(target.host, target.port):
            why = forbidden(address)
            if not why or any(pattern.lists(address, target) for pattern in self._patterns):
                return str(address)
        raise refused(f"{target.host}: {why}; only a pattern of openrpc_allow_urls that names the address allows it")

    def _parts(self, url: str) -> Target:
        if not self._patterns:
            raise refused("only services may be called: the setting openrpc_allow_urls is empty")
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").rstrip("."), parts.port
        except ValueError as e:
            raise refused(f"{url[:200]!r} is no URL: {e}") from None
        if parts.scheme not in PORTS:
            raise refused(f"the scheme {parts.scheme!r}; a URL may have http, https, ws or wss")
        if parts.username is not None or parts.password is not None:
            raise refused(f"the URL of host {host!r} holds a user or password")
        if not host or "\\" in url or any(character.isspace() or not character.isprintable() for character in url):
            raise refused(f"{url[:200]!r} is no URL of a host")
        if any(unquote(part) in (".", "..") for part in parts.path.split("/")):
            raise refused(f"the path {parts.path[:200]!r} has . or .. in it")
        return Target(parts.scheme, host, port or PORTS[parts.scheme], parts.path or "/")


def read_pattern(text: str) -> Pattern:
    """Return the pattern that an entry of `openrpc_allow_urls` is: `scheme://host[:port][/path]`.

    Raises:
        SettingsError: it is of another form.
    """
    scheme, mark, rest = text.partition("://")
    if not mark or scheme not in PORTS:
        raise SettingsError(f"openrpc_allow_urls {text!r}: begin with http://, https://, ws:// or wss://")
    place, slash, path = rest.partition("/")
    if place.startswith("["):
        host, _, port = place[1:].partition("]")
        port = port.removeprefix(":")
    else:
        host, _, port = place.partition(":")
    if not host or (port and port != "*" and not port.isdigit()):
        raise SettingsError(f"openrpc_allow_urls {text!r}: write scheme://host, scheme://host:port or with a /path")
    number = 0 if port == "*" else int(port) if port else PORTS[scheme]
    return Pattern(scheme, host.lower(), number, slash + path if slash else "/*")


async def resolve(host: str, port: int) -> list[Address]:
    """Return the addresses of a host.

    Raises:
        Fault: it has none.
    """
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise unreachable(f"{host} can't be resolved within {RESOLVE_TIMEOUT:g} s") from None
    except (OSError, UnicodeError) as e:
        raise unreachable(f"{host} can't be resolved: {e}") from None
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


def forbidden(address: Address) -> str:
    """Return what forbids an address, empty if nothing does."""
    if isinstance(address, ipaddress.IPv6Address):
        for inner, way in (
            (address.ipv4_mapped, "mapped"),
            (address.sixtofour, "6to4"),
            (address.teredo[1] if address.teredo else None, "Teredo"),
            (ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF) if address in _NAT64 else None, "NAT64"),
        ):
            if inner is not None:
                return f"{address} is the {way} form of {inner}"
    if str(address) in _METADATA or str(address) == "169.254.169.254":
        return f"{address} is a metadata service"
    for kind in ("loopback", "link_local", "multicast", "private", "reserved"):
        if getattr(address, f"is_{kind}"):
            return f"{address} is a {kind.replace('_', '-')} address"
    return "" if address.is_global else f"{address} is no public address"
