"""A call of a Lua script as a value: what to run, on which queue, and how to read the reply. No I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from herojobs.names import Queue

T = TypeVar("T")

_LUA = Path(__file__).parent / "lua"


class Call(NamedTuple, Generic[T]):
    """One run of a script; a transport of `herojobs.live.redis` carries it out.

    Attributes:
        script: name of the file in `lua/`, without its ending.
        queue: whose keys it touches.
        args: its arguments.
        parse: makes the result of the raw reply.
    """

    script: str
    queue: Queue
    args: Sequence[str | bytes | int]
    parse: Callable[[Any], T]


class Script(NamedTuple):
    """A script's text and the SHA-1 that Redis knows it by."""

    text: bytes
    sha: bytes


@cache
def script(name: str) -> Script:
    """Return the script `lua/<name>.lua` behind the common prelude."""
    text = (_LUA / "prelude.lua").read_bytes() + (_LUA / f"{name}.lua").read_bytes()
    return Script(text, hashlib.sha1(text, usedforsecurity=False).hexdigest().encode())
