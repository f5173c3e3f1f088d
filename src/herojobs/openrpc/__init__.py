"""Calls of OpenRPC methods: those of services, over HTTP, WebSocket and Unix sockets, and those of Python modules.

A Python method, in a module that the setting `openrpc_methods` names:

    from herojobs import openrpc

    @openrpc.method("math.add")
    def add(a: int, b: int) -> int:
        return a + b

Knows nothing of jobs but what a `CallContext` tells it. See docs/openrpc.md.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from herojobs.errors import RpcError
from herojobs.openrpc.context import ALL, CallContext, MethodInfo
from herojobs.openrpc.local import PythonMethods, load_methods, method, method_schema

if TYPE_CHECKING:
    from herojobs.openrpc.caller import Answered, Caller
    from herojobs.openrpc.services import Services

__all__ = [
    "ALL", "Answered", "CallContext", "Caller", "MethodInfo", "PythonMethods", "RpcError", "Services",
    "load_methods", "method", "method_schema",
]  # fmt: skip

_LATER = dict.fromkeys(("Answered", "Caller"), "herojobs.openrpc.caller") | {"Services": "herojobs.openrpc.services"}


def __getattr__(name: str) -> Any:
    # A module of methods needs `method` alone; HTTP and schemas take a while to import.
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module 'herojobs.openrpc' has no attribute {name!r}")
