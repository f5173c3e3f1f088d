"""The registry that every module of methods adds to. None comes in without a role."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from herojobs.jsonrpc import Example, Method, Methods
from herojobs.sessions import Role

F = TypeVar("F", bound=Callable[..., Any])

METHODS = Methods()
"""All methods of the server."""


def method(
    name: str,
    role: Role | None,
    *,
    example: Example,
    errors: Sequence[int] = (),
    result: Any = None,
    changes: bool = False,
    aliases: Mapping[str, str] | None = None,
) -> Callable[[F], F]:
    """Return a decorator that registers a method; its first parameter is the `Caller`.

    Args:
        name: its name.
        role: what the caller's session must have at least; None: anybody may call it.
        example: a call that works when the examples are run in the document's order on a fresh home.
        errors: codes it may answer besides those of any method.
        result: type of the result, where the annotation isn't what callers see.
        changes: whether it changes anything; the audit log has those that do.
        aliases: other names of its parameters.
    """

    def add(function: F) -> F:
        METHODS.add(
            Method(
                name,
                function,
                role=None if role is None else int(role),
                errors=errors,
                example=example,
                result=result,
                takes_context=True,
                changes=changes,
                aliases=aliases,
            )
        )
        return function

    return add
