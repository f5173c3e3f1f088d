"""The methods of services that jobs of kind `openrpc` may call. This server is one of them, named `herojobs`."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from herojobs.errors import RpcError, did_you_mean
from herojobs.jsonrpc import Example
from herojobs.jsonrpc.codes import Code
from herojobs.jsonrpc.methods import invalid_params
from herojobs.openrpc import ALL, CallContext
from herojobs.server import document
from herojobs.server.caller import Caller
from herojobs.server.methods.registry import method
from herojobs.server.shapes import Service
from herojobs.sessions import Role

OURSELVES = "herojobs"
_PETS = {"url": "http://127.0.0.1:8080", "document": "none"}
_SHOWN = {"name": OURSELVES, "url": "/rpc", "document": None}


@method("service.list", Role.VIEWER, example=Example({}, [_SHOWN]))
def list_services(caller: Caller) -> list[Service]:
    """Return the services that the session's circles may call, without their documents."""
    return [Service(name, url) for name, url in _visible(caller).items()]


@method("service.get", Role.VIEWER, example=Example({"name": OURSELVES}, _SHOWN))
async def get(caller: Caller, name: str) -> Service:
    """Return a service with its OpenRPC document.

    Args:
        name: its name
    """
    return await _described(caller, name, refresh=False)


@method("service.refresh", Role.OPERATOR, errors=(Code.UNREACHABLE,), example=Example({"name": OURSELVES}, _SHOWN))
async def refresh(caller: Caller, name: str) -> Service:
    """Ask a service for its document anew, and return it.

    Args:
        name: its name
    """
    return await _described(caller, name, refresh=True)


@method(
    "service.set",
    Role.ADMIN,
    example=Example({"name": "pets", "service": _PETS}, {"name": "pets", "url": _PETS["url"], "document": None}),
    changes=True,
)
def set_(caller: Caller, name: str, service: dict[str, Any]) -> Service:
    """Add a service, or change one that was added; workers know it at once.

    Args:
        name: its name: letters, digits, _ . and -
        service: the fields of its table in the settings: url, document, headers, timeout, retries, ...
    """
    _not_ourselves(name)
    return Service(name, _shown(caller.backend.services.set(name, service).url))


@method("service.remove", Role.ADMIN, example=Example({"name": "pets"}, True), changes=True)
def remove(caller: Caller, name: str) -> bool:
    """Remove a service that was added.

    Args:
        name: its name
    """
    _known(caller, name)
    _not_ourselves(name)
    caller.backend.services.remove(name)
    return True


def _visible(caller: Caller) -> dict[str, str]:
    """Return the addresses of the services that the caller's circles may call, by name."""
    found = {OURSELVES: "/rpc"}
    for name, (service, _) in caller.backend.services.all().items():
        allowed = caller.circles is None or "*" in service.circles or set(service.circles) & set(caller.circles)
        if allowed:
            found[name] = _shown(service.url)
    return found


def _shown(url: str) -> str:
    """Return an address without what may hold a key: its query, and a user."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="***" if parts.query else "").geturl()


def _not_ourselves(name: str) -> None:
    if name == OURSELVES:
        raise invalid_params([{"field": "name", "got": name, "expected": "another name: this is the server itself"}])


def _known(caller: Caller, name: str) -> str:
    """Return the address of a service that the caller may know of."""
    visible = _visible(caller)
    if name not in visible:
        hint = did_you_mean(name, visible)
        raise invalid_params([{"field": "name", "got": name, "expected": "a service", "hint": hint}])
    return visible[name]


async def _described(caller: Caller, name: str, *, refresh: bool) -> Service:
    url = _known(caller, name)
    if name == OURSELVES:
        return Service(name, url, document.encoded(caller.url))
    told: list[str] = []
    found = await caller.backend.calls().document(name, CallContext("", ALL, told.append), refresh=refresh)
    if refresh and told:
        raise RpcError(Code.UNREACHABLE, told[-1])
    return Service(name, url, found)
