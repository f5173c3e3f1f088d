"""Actors that misbehave, for tests; loaded by real workers."""

from __future__ import annotations

import logging
import os
import re
import signal as signal_module
import subprocess
import time

from herojobs.heroscript import Context, action, actor


@actor
class Bad:
    """Content that doesn't end by itself, or ends its worker."""

    @action
    def loop(self) -> None:
        """Run for ever."""
        while True:
            pass

    @action
    def nap(self) -> None:
        """Block in a system call."""
        time.sleep(3600)

    @action
    def stubborn(self) -> None:
        """Swallow every exception."""
        while True:
            try:
                while True:
                    pass
            except BaseException:
                pass

    @action
    def family(self, file: str, own_session: bool = False) -> None:
        """Fork children that sleep, and sleep."""
        if os.fork() == 0:
            if own_session:
                os.setsid()
            os.fork()
            with open(file, "a") as out:
                out.write(f"{os.getpid()}\n")
            time.sleep(3600)
        time.sleep(3600)

    @action
    def c_call(self) -> None:
        """Stay in C code that holds the interpreter."""
        re.match("(a+)+$", "a" * 40 + "b")

    @action
    async def block(self) -> None:
        """Block the event loop."""
        time.sleep(3600)

    @action
    async def spin(self) -> None:
        """Keep the event loop busy."""
        while True:
            pass

    @action
    def die(self, signal: int = 9) -> None:
        """End the worker by a signal."""
        os.kill(os.getpid(), signal)

    @action
    def leave(self) -> None:
        """End the worker without a word."""
        os._exit(3)

    @action
    def eat(self) -> None:
        """Take all the memory that there is."""
        hoard = []
        while True:
            hoard.append(bytearray(10_000_000))


@actor
class Good:
    """Content that behaves."""

    @action
    def mark(self, file: str, context: Context, seconds: float = 0.0) -> str:
        """Write a line to a file: the job, its attempt, when it started; then wait."""
        job = context.job  # type: ignore[attr-defined]
        fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, f"{context.ref} {job.attempts} {os.getpid()} {time.time_ns()}\n".encode())  # type: ignore[attr-defined]
        os.close(fd)
        if seconds:
            time.sleep(seconds)
        return "marked"

    @action
    def span(self, file: str, context: Context, seconds: float = 0.0) -> None:
        """Write a line to a file at the start and one at the end, with the time."""
        for what in ("start", "end"):
            fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(fd, f"{context.ref} {what} {time.time_ns()}\n".encode())  # type: ignore[attr-defined]
            os.close(fd)
            if what == "start":
                time.sleep(seconds)

    @action
    def fail_times(self, file: str, times: int) -> str:
        """Fail so many times, then return how often it ran."""
        with open(file, "a+") as out:
            out.write("x")
            out.flush()
            ran = out.tell()
        if ran <= times:
            raise OSError(f"attempt {ran} fails")
        return str(ran)

    @action
    def tidy(self, file: str) -> None:
        """Wait for ever, and clean up when interrupted."""
        try:
            time.sleep(3600)
        finally:
            with open(file, "w") as out:
                out.write("tidied")

    @action
    def speak(self) -> None:
        """Write in every way there is."""
        print("printed")
        logging.getLogger("speaker").warning("logged")
        os.write(1, b"written\n")
        subprocess.run(["echo", "echoed"], check=True)

    @action
    def flood(self, lines: int) -> None:
        """Print much."""
        for n in range(lines):
            print("x" * 90, n)

    @action
    def in_steps(self, context: Context, steps: int, die_after: int, folder: str) -> str:
        """Work in steps, each with a checkpoint and its progress; be killed after some, in the first attempt."""
        begin = context.load_checkpoint() or 0  # type: ignore[attr-defined]
        done = []
        for step in range(begin, steps):
            with open(f"{folder}/{step}", "a") as out:
                out.write("x")
            context.save_checkpoint(step + 1)  # type: ignore[attr-defined]
            context.progress(step + 1, steps, f"step {step + 1}")
            done.append(step)
            if begin == 0 and step + 1 == die_after:
                os.kill(os.getpid(), signal_module.SIGKILL)
        return f"{begin} {done}"

    @action
    def half(self, context: Context, until: str) -> str:
        """Say that half is done, and wait until a file is there."""
        context.progress(0.5, message="half  of it\nis done")
        while not os.path.exists(until):
            time.sleep(0.01)
        return "whole"

    @action
    def join(self, context: Context) -> str:
        """Join the results of the jobs before this one."""
        return "+".join(parent.result for parent in context.parents)  # type: ignore[attr-defined]
