"""The methods of services that jobs of kind `openrpc` may call. This server is one of them, named `herojobs`."""

from __future__ import annotations

from herojobs.errors import did_you_mean
from herojobs.jsonrpc import Example
from herojobs.jsonrpc.codes import Code
from herojobs.jsonrpc.methods import invalid_params
from herojobs.server import document
from herojobs.server.caller import Caller
from herojobs.server.methods.registry import method
from herojobs.server.shapes import Service
from herojobs.sessions import Role

OURSELVES = "herojobs"
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


def _visible(caller: Caller) -> dict[str, str]:
    """Return the addresses of the services that the caller's circles may call, by name."""
    found = {OURSELVES: "/rpc"}
    for name, service in caller.backend.settings.services.items():
        allowed = caller.circles is None or "*" in service.circles or set(service.circles) & set(caller.circles)
        if allowed:
            found[name] = service.url
    return found


async def _described(caller: Caller, name: str, *, refresh: bool) -> Service:
    visible = _visible(caller)
    if name not in visible:
        hint = did_you_mean(name, visible)
        raise invalid_params([{"field": "name", "got": name, "expected": "a service", "hint": hint}])
    return Service(name, visible[name], document.encoded(caller.url) if name == OURSELVES else None)
