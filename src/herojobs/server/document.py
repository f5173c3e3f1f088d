"""The OpenRPC document: made from the methods' signatures once, when it is first asked for.

It is of version 1.2.6, the newest one that every tool of the field reads, in plain JSON Schema draft 7. Source:
https://spec.open-rpc.org.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import msgspec

from herojobs.jsonrpc import Method, Methods
from herojobs.jsonrpc.codes import MESSAGES, Code
from herojobs.sessions import Role

REFS = "#/components/schemas/{name}"
GROUPS = ("rpc", "job", "queue", "schedule", "limit", "circle", "service", "event", "worker", "system", "session")
"""The order of methods, by the first part of their names; within it as they were registered. Sessions come last: once
one was made, calls need its key."""

_ANY_METHOD = (Code.INVALID_PARAMS, Code.UNAUTHORIZED, Code.FORBIDDEN, Code.LIMIT_EXCEEDED, Code.INTERNAL_ERROR)
"""Errors that any method may answer."""


@lru_cache(maxsize=16)
def encoded(url: str) -> msgspec.Raw:
    """Return the document as JSON.

    Args:
        url: the address by which the caller came here, as http://host:port.
    """
    return msgspec.Raw(msgspec.json.encode(_made() | {"servers": [{"name": "this server", "url": f"{url}/rpc"}]}))


@cache
def _made() -> dict[str, Any]:
    from herojobs.server.methods import METHODS

    return make(METHODS)


def make(methods: Methods) -> dict[str, Any]:
    """Return the document of methods, without the address of the server."""
    from herojobs import __version__

    ordered = sorted(methods, key=lambda method: GROUPS.index(method.name.partition(".")[0]))
    types: list[Any] = []
    for method in ordered:
        types += [param.type for param in method.params]
        types.append(method.result)
    schemas, components = msgspec.json.schema_components(types, ref_template=REFS)
    taken = iter(schemas)
    described = [_method(method, [next(taken) for _ in method.params], next(taken)) for method in ordered]
    used = sorted({code for method in ordered for code in (*method.errors, *_ANY_METHOD)})
    return {
        "openrpc": "1.2.6",
        "info": {
            "title": "HeroJobs",
            "version": __version__,
            "description": "A job queue whose jobs are text. Send calls to POST /rpc, or over a WebSocket to /rpc.",
            "license": {"name": "MIT"},
        },
        "methods": described,
        "components": {
            "schemas": {name: _plain(schema) for name, schema in components.items()},
            "errors": {_error_name(code): {"code": int(code), "message": MESSAGES[code]} for code in used},
        },
    }


def _method(method: Method, params: list[dict[str, Any]], result: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": method.name,
        "summary": method.summary,
        "tags": [{"name": method.name.partition(".")[0]}],
        "paramStructure": "either",
        "params": [
            {
                "name": param.name,
                "description": param.text,
                "required": param.required,
                "schema": _default(schema, param),
            }
            for param, schema in zip(method.params, params, strict=True)
        ],
        "result": {"name": "result", "schema": _plain(result)},
        "errors": [{"$ref": f"#/components/errors/{_error_name(code)}"} for code in (*method.errors, *_ANY_METHOD)],
        "x-role": "none" if method.role is None else Role(method.role).word,
        "x-changes": method.changes,
    }
    if method.description:
        told["description"] = method.description
    if method.example is not None:
        told["examples"] = [
            {
                "name": method.name,
                "params": [
                    {"name": param.name, "value": method.example.params[param.name]}
                    for param in method.params
                    if param.name in method.example.params
                ],
                "result": {"name": "result", "value": method.example.result},
            }
        ]
    return told


def _default(schema: dict[str, Any], param: Any) -> dict[str, Any]:
    plain: dict[str, Any] = _plain(schema)
    if param.required or "$ref" in plain:
        return plain
    return plain | {"default": msgspec.to_builtins(param.default)}


def _plain(schema: Any) -> Any:
    """Return a schema in draft 7's plain keywords: strict validators stop at others."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: _plain(value) for name, value in schema.items() if name not in ("format", "discriminator")}
    if "$ref" in plain:
        return {"$ref": plain["$ref"]}  # what stands beside a reference is passed over in draft 7
    return plain


def _error_name(code: int) -> str:
    return Code(code).name.lower()
