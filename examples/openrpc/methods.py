"""Python methods for jobs of kind openrpc; herojobs.toml names the module: openrpc_methods = ["methods"]."""

from __future__ import annotations

from herojobs import openrpc


@openrpc.method("math.add")
def add(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: one of them.
        b: the other.
    """
    return a + b


@openrpc.method("greet")
async def greet(context: openrpc.CallContext, name: str = "you") -> str:
    """Greet somebody."""
    context.log(f"greeting {name}")
    return f"Hello, {name}"
