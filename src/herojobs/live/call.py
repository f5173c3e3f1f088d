"""A call of a Lua script as a value: what to run, on which queue, and how to read the reply. No I/O."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from herojobs.names import Queue

T = TypeVar("T")

JobKey = int | bytes
"""The id of a job within its queue's keys: a number for ours; foreign programs may push any bytes."""

LIBRARY = ("prelude", "take", "flows")
"""Files of what scripts share. A piece of them may use only pieces before it."""

_LUA = Path(__file__).parent / "lua"
_WORD = re.compile(r"\w+")


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
    """Return the script `lua/<name>.lua` behind those pieces of the library that it uses, directly or through others.

    Only those: Redis makes each function anew at every call, which cost a lone job more than its commands.
    """
    text = _bare(name)
    words = set(_WORD.findall(text))
    for names, piece in reversed(_pieces()):
        if not words.isdisjoint(names):
            text = f"{piece}\n{text}"
            words.update(_WORD.findall(piece))
    data = text.encode()
    return Script(data, hashlib.sha1(data, usedforsecurity=False).hexdigest().encode())


@cache
def _pieces() -> list[tuple[list[str], str]]:
    """Return the library's statements that make local names, each with these."""
    pieces = re.split(r"\n+(?=local )", "\n".join(map(_bare, LIBRARY)))
    heads = [
        re.split("[=(]", piece.removeprefix("local ").removeprefix("function "), maxsplit=1)[0] for piece in pieces
    ]
    return [(_WORD.findall(head), piece) for head, piece in zip(heads, pieces, strict=True)]


def _bare(name: str) -> str:
    """Return a Lua file without its comments."""
    return re.sub(r"(?m)(^|[ \t]+)-- .*$", "", (_LUA / f"{name}.lua").read_text("utf-8")).strip()


def sum_of(job: bytes) -> str:
    """Return what field `sum` holds for a job's JSON: it tells whether ours wrote it last (Redis layout, C2)."""
    return hashlib.sha1(job, usedforsecurity=False).hexdigest()


def proven(token: str) -> str:
    """Return a token that can prove a claim: an empty one is what the scripts write when nobody holds a job."""
    if not token:
        raise ValueError("token is empty: pass the one of the claim")
    return token


def job_key(key: bytes) -> JobKey:
    """Return an id from Redis as the number that it is, or as it stands if it isn't a plain decimal."""
    return int(key) if key.isdigit() and (key[:1] != b"0" or key == b"0") else key


def job_keys(reply: list[bytes]) -> list[JobKey]:
    """Return ids from Redis, see `job_key`."""
    return [job_key(key) for key in reply]


def flags(reply: list[int]) -> list[bool]:
    """Return a script's 1s and 0s as booleans."""
    return [flag == 1 for flag in reply]
