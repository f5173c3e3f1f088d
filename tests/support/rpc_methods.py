"""Python methods that jobs of kind openrpc call in the tests."""

from __future__ import annotations

import asyncio
import os
import time

from herojobs import openrpc


@openrpc.method("math.add")
def add(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: one of them.
        b: the other.
    """
    return a + b


@openrpc.method("math.divide")
async def divide(a: float, b: float) -> float:
    """Divide a number by another."""
    return a / b


@openrpc.method("who.calls")
async def who_calls(context: openrpc.CallContext, greeting: str = "hello") -> str:
    """Greet who calls."""
    context.log("asked")
    return f"{greeting} {context.ref} of {context.circle}"


@openrpc.method("who.refuses")
def who_refuses(code: int) -> None:
    """Answer with an error."""
    raise openrpc.RpcError(code, "not today", {"until": "tomorrow"})


@openrpc.method("slow.sleep")
async def slow_sleep(seconds: float) -> str:
    """Sleep without blocking anything."""
    await asyncio.sleep(seconds)
    return "slept"


@openrpc.method("slow.block")
def slow_block(seconds: float) -> int:
    """Block the thread, and tell the process that does."""
    time.sleep(seconds)
    return os.getpid()


@openrpc.method("echo")
async def echo(value: object) -> object:
    """Return what was given."""
    return value
