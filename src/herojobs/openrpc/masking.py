"""Masking: what a service's settings keep from logs and errors."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Any

import msgspec

from herojobs.errors import RpcError

MASK = "***"


class Mask:
    """Replaces secrets in texts.

    Args:
        secrets: texts that nobody may read.
        members: names of params whose values nobody may read.
        params: JSON of the params that these are looked for in.
    """

    def __init__(self, secrets: Iterable[str], members: Collection[str], params: Iterable[bytes | None]) -> None:
        found = set(secrets)
        if members:
            for each in params:
                if each is not None:
                    found |= set(_values(msgspec.json.decode(each), members))
        spelled = found | {json.dumps(text)[1:-1] for text in found}
        self._secrets = sorted(spelled - {""}, key=len, reverse=True)

    def text(self, text: str) -> str:
        """Return a text without the secrets."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text

    def error(self, error: RpcError) -> RpcError:
        """Return an error without the secrets; the same one if there are none."""
        if not self._secrets:
            return error
        data: Any = error.data
        if data is not None:
            data = _masked(msgspec.to_builtins(data), self)
        error.message, error.data = self.text(error.message), data
        error.args = (f"{error.code} {error.message}",)
        return error


def _values(value: Any, members: Collection[str], wanted: bool = False) -> Iterable[str]:
    """Yield the values of members that are masked, as text."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _values(each, members, wanted or name in members)
    elif isinstance(value, list):
        for each in value:
            yield from _values(each, members, wanted)
    elif wanted and isinstance(value, str | int | float) and not isinstance(value, bool):
        yield str(value)


def _masked(value: Any, mask: Mask) -> Any:
    if isinstance(value, dict):
        return {name: _masked(each, mask) for name, each in value.items()}
    if isinstance(value, list):
        return [_masked(each, mask) for each in value]
    if isinstance(value, str):
        return mask.text(value)
    return mask.text(str(value)) if isinstance(value, int | float) and mask.text(str(value)) == MASK else value
