"""Actors, methods and functions that models call in tests."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Literal

from herojobs import openrpc
from herojobs.heroscript import Context, Size, action, actor

CALLS: list[str] = []


@actor
class Depot:
    @action
    def pack(
        self, name: str, pieces: int = 1, colour: Literal["red", "blue"] = "red", weight: Size | None = None
    ) -> str:
        """Pack a parcel."""
        return f"{name}: {pieces} {colour}"

    @action
    async def send(self, context: Context, name: str, tags: list[str] | None = None) -> str:
        """Send a parcel."""
        context.log(f"sending {name}")
        await asyncio.sleep(0)
        return f"sent {name} {'+'.join(tags or [])}"

    @action
    def fail(self) -> str:
        """Fail."""
        raise RuntimeError("the depot is closed")

    @action
    def count(self) -> str:
        """Count for a minute, in pure Python."""
        until = time.monotonic() + 60
        try:
            while time.monotonic() < until:
                pass
        finally:
            CALLS.append("ended")
        return "counted"

    @action
    def ended(self) -> str:
        return ",".join(CALLS)

    @action
    async def imported(self, module: str) -> bool:
        """Return whether this worker has imported a module."""
        return module in sys.modules


@openrpc.method("stock.level")
def level(item: str) -> int:
    """How many of an item there are."""
    return len(item)


def tax(amount: float, rate: float = 0.2) -> float:
    """The tax on an amount."""
    return round(amount * rate, 2)


rhai_functions = {"tax": tax}
