"""The actors that every registry has: fake, core, play, session (HeroScript 12.3)."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from herojobs.heroscript.actors import ActionError, action, actor, directive
from herojobs.heroscript.binding import Binder
from herojobs.heroscript.registry import Registry

_MOST_LINES = 10_000


@actor
class Fake:
    """Actions that succeed, fail, wait and burn time on purpose: for tests."""

    @action
    def return_success(self, message: str = "Success message") -> str:
        """Return the message."""
        return message

    @action
    def return_error(self, message: str = "This is a test error") -> None:
        """Fail with the message."""
        raise ActionError(message)

    @action
    def return_json(self, message: str = "JSON response", status: str = "ok", code: int = 200) -> dict[str, Any]:
        """Return a JSON object of the three, in this order."""
        return {"message": message, "status": status, "code": code}

    @action
    def return_invalid_json(self) -> str:
        """Return text that starts like JSON and is none."""
        return '{"message": "this is not closed"'

    @action
    def return_empty(self) -> str:
        """Return the empty text."""
        return ""

    @action
    def return_large(self, size: int = 1000) -> str:
        """Return that many lines, at most 10,000."""
        return "\n".join(f"This is line {number}" for number in range(1, max(0, min(size, _MOST_LINES)) + 1))

    @action
    def return_malformed_error(self) -> str:
        """Return text that looks like an error, as a success."""
        return "error: this is not in the standard format"

    @action
    async def sleep(self, seconds: float = 1.0) -> None:
        """Wait without blocking others (asynchronous)."""
        await asyncio.sleep(seconds)

    @action
    def spin(self, seconds: float = 1.0) -> None:
        """Keep the CPU busy (synchronous)."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pass


@actor
class Core:
    """Help and echo; actions without an actor's name belong here."""

    @action
    def help(self, registry: Registry, actor: str = "") -> str:
        """Return the actions of an actor, or of all, with their params."""
        try:
            return registry.help(actor)
        except ValueError as error:
            raise ActionError(str(error)) from None

    @action
    def echo(self, content: str = "") -> str:
        """Return the content."""
        return content


@actor
class Play:
    """Putting scripts together."""

    @action
    def echo(self, content: str = "") -> str:
        """Return the content."""
        return content

    @directive
    def include(self, binder: Binder, path: str, replace: list[str] | None = None) -> None:
        """Put the actions of another script here; replace:'A:b,C:d' replaces names in its text first."""
        names = {}
        for pair in replace or ():
            name, colon, text = pair.partition(":")
            if not colon or not name.strip():
                raise ActionError(f'"{pair}" in replace must be name:text')
            names[name.strip()] = text.strip()
        binder.include(path, names)


@actor
class Session:
    """Variables: {key} in the params of later actions becomes the value."""

    @directive
    def env_set(self, binder: Binder, key: str, val: str | None = None, value: str | None = None) -> None:
        """Set a variable."""
        binder.set_variable(key, val if val is not None else value, once=False)

    @directive
    def env_set_once(self, binder: Binder, key: str, val: str | None = None, value: str | None = None) -> None:
        """Set a variable unless it is set already."""
        binder.set_variable(key, val if val is not None else value, once=True)
