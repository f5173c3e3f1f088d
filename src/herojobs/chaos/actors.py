"""The jobs of a run of chaos: each writes when it starts and finishes, and returns the token of its start."""

from __future__ import annotations

import asyncio
import os
import re
import time

from herojobs.heroscript import Context, action, actor


@actor("chaos")
class Chaos:
    """Jobs that tell of themselves."""

    @action
    def mark(self, file: str, context: Context, seconds: float = 0.0) -> str:
        """Write that the job has started, wait, write that it has finished."""
        token = _start(file, context)
        time.sleep(seconds)
        _write(file, "finish", context, token)
        return token

    @action
    async def mark_async(self, file: str, context: Context, seconds: float = 0.0) -> str:
        """Do the same on the event loop."""
        token = _start(file, context)
        await asyncio.sleep(seconds)
        _write(file, "finish", context, token)
        return token

    @action
    def hang(self, file: str, context: Context, how: str) -> None:
        """Write that the job has started, and never end."""
        _start(file, context)
        if how == "sleep":
            time.sleep(3600)
        elif how == "c_call":  # holds the interpreter for years
            re.match("(a+)+$", "a" * 40 + "b")
        while True:
            try:
                while True:
                    pass
            except BaseException:
                if how != "stubborn":
                    raise

    @action
    async def hang_async(self, file: str, context: Context) -> None:
        """Write that the job has started, and await for ever."""
        _start(file, context)
        await asyncio.sleep(3600)


HANGS = (
    "!!chaos.hang how:loop",
    "!!chaos.hang how:sleep",
    "!!chaos.hang_async",
    "!!chaos.hang how:stubborn",
    "!!chaos.hang how:c_call",
)
"""Jobs that don't end by themselves."""


def _start(file: str, context: Context) -> str:
    token = f"{os.getpid()}-{time.time_ns()}"
    _write(file, "start", context, token)
    return token


def _write(file: str, event: str, context: Context, token: str) -> None:
    line = f"{event} {context.ref} {token} {os.getpid()} {time.time_ns()}\n"  # type: ignore[attr-defined]
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)
