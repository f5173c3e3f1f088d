"""Actors that raise and return what nobody expects, for tests; loaded by real workers."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import multiprocessing
import os
import re
import signal
import subprocess
import time
from typing import Any, NoReturn

from herojobs.heroscript import action, actor
from herojobs.processors.base import JobInterrupted


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Text(str):
    __slots__ = ()


class Choice(enum.StrEnum):
    VALUE = "value"


def _deeper() -> NoReturn:
    _deeper()


def _raise(what: str) -> None:
    if what == "recursion":
        _deeper()
    raise {
        "exit": SystemExit(3),
        "surrogate": ValueError("\udcff"),
        "memory_surrogate": MemoryError("\udcff"),
        "unspeakable": Unspeakable(),
        "stop": StopIteration(),
        "keyboard": KeyboardInterrupt(),
        "generator_exit": GeneratorExit(),
        "cancelled": asyncio.CancelledError(),
        "interrupted": JobInterrupted("because"),
        "group": ExceptionGroup("many", [ValueError(1), KeyError(2)]),
    }[what]


def _raisers(cls: type) -> type:
    """Give an actor two actions for each oddity: a blocking and an asynchronous one."""
    for what in (
        "exit", "surrogate", "recursion", "memory_surrogate", "unspeakable", "stop", "keyboard", "generator_exit",
        "cancelled", "interrupted", "group",
    ):  # fmt: skip

        def blocking(self: Any, what: str = what) -> None:
            _raise(what)

        async def asynchronous(self: Any, what: str = what) -> None:
            await asyncio.sleep(0)
            _raise(what)

        for name, function in ((what, blocking), (what + "_async", asynchronous)):
            function.__name__ = name
            setattr(cls, name, action(function))
    return cls


@actor("odd")
@_raisers
class Odd:
    """Content that surprises."""

    @action
    def text_subclass(self) -> str:
        return Text("text")

    @action
    async def text_subclass_async(self) -> str:
        return Text("text")

    @action
    def text_enum(self) -> str:
        return Choice.VALUE

    @action
    async def text_enum_async(self) -> str:
        return Choice.VALUE

    @action
    def result_surrogate(self) -> str:
        return "\udcff"

    @action
    async def result_surrogate_async(self) -> str:
        return "\udcff"

    @action
    def write(self, text: str) -> None:
        """Write to the descriptor itself."""
        os.write(1, f"{text}\n".encode())

    @action
    def forks_that_print(self) -> str:
        """Print in forked processes, and let them compute."""
        with multiprocessing.get_context("fork").Pool(2) as pool:
            return str([os.waitstatus_to_exitcode(0), *pool.map(_double, range(3))])

    @action
    def family_then_die(self, file: str) -> None:
        """Leave children behind, one in a session of its own, and die."""
        for own_session in (False, True):
            ready, told = os.pipe()
            if os.fork() == 0:
                if own_session:
                    os.setsid()
                with open(file, "a") as out:
                    out.write(f"{os.getpid()}\n")
                os.write(told, b"x")
                time.sleep(3600)
            os.read(ready, 1)
        os.kill(os.getpid(), signal.SIGKILL)

    @action
    def daemons(self, file: str, sleep: float = 3600) -> None:
        """Start two daemons as daemons do, without our environment, then sleep."""
        script = f"echo $$ >> {file}; exec sleep 3600"
        for _ in range(2):
            subprocess.run(["env", "-i", "setsid", "-f", "sh", "-c", script], check=True)
        time.sleep(sleep)

    @action
    def close_all(self) -> None:
        """Close every descriptor, and go on."""
        os.closerange(3, 256)
        time.sleep(3600)

    @action
    def stop_self(self) -> None:
        """Stop this process."""
        os.kill(os.getpid(), signal.SIGSTOP)

    @action
    async def hold_loop(self, seconds: float) -> str:
        """Hold the event loop."""
        time.sleep(seconds)
        return "held"

    @action
    async def hold_interpreter(self) -> None:
        """Hold the event loop in C code, so that no thread of the worker can say who does."""
        re.match("(a+)+$", "a" * 40 + "b")

    @action
    async def hold_loop_in_a_task(self, seconds: float) -> str:
        """Hold the event loop, in another task."""
        await asyncio.create_task(_hold(seconds))
        return "held"

    @action
    async def start_child(self, file: str, how: str, seconds: float = 3600) -> str:
        """Start a process in one of several ways, and await."""
        script = f"echo $$ >> {file}; sleep 3600; true"
        if how == "exec":
            await asyncio.create_subprocess_exec("sh", "-c", script)
        elif how == "shell":
            await asyncio.create_subprocess_shell(script, start_new_session=True)
        elif how == "task":
            await asyncio.create_task(asyncio.create_subprocess_shell(script))
        elif how == "thread":
            await asyncio.to_thread(subprocess.Popen, ["sh", "-c", script])
        else:
            subprocess.Popen(["sh", "-c", script])
        await asyncio.sleep(seconds)
        return "started"

    @action
    async def await_tidily(self, file: str) -> None:
        """Await for ever, and clean up when interrupted."""
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.01)
            with open(file, "w") as out:
                out.write("tidied")

    @action
    async def hold_loop_stubbornly(self) -> None:
        """Hold the event loop whatever is raised."""
        while True:
            with contextlib.suppress(BaseException):
                time.sleep(3600)


async def _hold(seconds: float) -> None:
    time.sleep(seconds)


def _double(number: int) -> int:
    print("from the child")
    return 2 * number
