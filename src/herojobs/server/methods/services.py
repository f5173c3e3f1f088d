"""The methods of services that jobs of kind `openrpc` may call. This server is one of them, named `herojobs`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from herojobs.errors import RpcError, ServiceNotFound
from herojobs.jsonrpc import Example
from herojobs.jsonrpc.codes import Code
from herojobs.jsonrpc.methods import invalid_params
from herojobs.openrpc import ALL, CallContext
from herojobs.openrpc.services import Listed, shown_service
from herojobs.server import document
from herojobs.server.caller import Caller
from herojobs.server.methods.registry import method
from herojobs.server.shapes import Service
from herojobs.sessions import Role

OURSELVES = "herojobs"
_PETS = {"url": "http://127.0.0.1:8080", "document": "none"}
_SHOWN = {
    "name": OURSELVES, "url": "/rpc", "origin": "server", "circles": ["*"], "methods": ["*"], "settings": None,
    "document": None, "note": "",
}  # fmt: skip


@method("service.list", Role.VIEWER, example=Example({}, [_SHOWN]))
def list_services(caller: Caller) -> list[Service]:
    """Return the services that the session's circles may call, without their documents."""
    return list(_visible(caller).values())


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
    example=Example({"name": "pets", "service": _PETS}, _SHOWN | {"name": "pets", "url": _PETS["url"]}),
    changes=True,
)
def set_(caller: Caller, name: str, service: dict[str, Any]) -> Service:
    """Add a service, or change one that was added; workers know it at once.

    Args:
        name: its name: letters, digits, _ . and -
        service: the fields of its table in the settings: url, document, headers, timeout, retries, ...
    """
    _not_ourselves(name)
    caller.backend.services.set(name, service)
    return _known(caller, name)


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


def _visible(caller: Caller) -> dict[str, Service]:
    """Return the services that the caller's circles may call, by name."""
    found = {OURSELVES: Service(OURSELVES, "/rpc", "server", ["*"], ["*"])}
    for name, listed in caller.backend.services.all().items():
        circles = _circles(caller, listed.service.circles)
        if circles:
            found[name] = _shown(caller, name, listed, circles)
    return found


def _circles(caller: Caller, circles: Sequence[str]) -> list[str]:
    """Return the circles of a service that the caller may know of."""
    if caller.circles is None or "*" in circles:
        return list(circles)
    return [circle for circle in circles if circle in caller.circles]


def _shown(caller: Caller, name: str, listed: Listed, circles: list[str]) -> Service:
    assert caller.session is not None
    fields = shown_service(listed.service)
    is_admin = caller.session.allows(Role.ADMIN)
    return Service(name, fields["url"], listed.origin, circles, list(fields["methods"]), fields if is_admin else None)


def _not_ourselves(name: str) -> None:
    if name == OURSELVES:
        raise invalid_params([{"field": "name", "got": name, "expected": "another name: this is the server itself"}])


def _known(caller: Caller, name: str) -> Service:
    """Return a service that the caller may know of."""
    visible = _visible(caller)
    if name not in visible:
        raise ServiceNotFound(name, visible)
    return visible[name]


async def _described(caller: Caller, name: str, *, refresh: bool) -> Service:
    found = _known(caller, name)
    if name == OURSELVES:
        found.document = document.encoded(caller.url)
        return found
    told: list[str] = []
    found.document = await caller.backend.calls().document(name, CallContext("", ALL, told.append), refresh=refresh)
    found.note = " ".join(told)
    if refresh and told:
        raise RpcError(Code.UNREACHABLE, found.note)
    return found
