"""Cleans up after a run of chaos whose driver was killed: a process of its own, which waits until the driver is gone.

It is told line by line what there is to clean up, and reads on until the driver's end of the pipe closes.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import psutil

from herojobs.chaos.disk import unmount

PATIENCE = 30.0
"""Seconds until it gives up on processes that don't end."""


class Guard:
    """Stands by while a run lives."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "herojobs.chaos.guard"],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a terminal's Ctrl-C is for the driver, which cleans up by itself
        )

    def note_processes(self, variable: str, value: str) -> None:
        """Have processes with this environment variable killed."""
        self._tell(f"kill {variable}={value}")

    def note_server(self, folder: Path) -> None:
        """Have the server that lives in a folder killed, and the folder removed. Redis hides its environment."""
        self._tell(f"end {folder}")
        self.note_folder(folder)

    def note_disk(self, folder: Path) -> None:
        """Have a folder unmounted, should it be mounted."""
        self._tell(f"unmount {folder}")

    def note_folder(self, folder: Path) -> None:
        """Have a folder removed."""
        self._tell(f"remove {folder}")

    def close(self) -> None:
        """End the guard: the driver has cleaned up itself."""
        self._process.kill()
        self._process.communicate()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        print(line, file=self._process.stdin, flush=True)


def marked(variable: str, value: str) -> Iterator[psutil.Process]:
    """Yield the processes alive that have an environment variable of this value."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(variable) == value and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def _main() -> None:
    tasks = [line.rstrip("\n").split(" ", 1) for line in sys.stdin]
    for what, of in tasks:
        if what == "kill":
            _kill(partial(marked, *of.split("=", 1)))
        elif what == "end":
            _kill(partial(_living_in, of))
    for what, of in reversed(tasks):
        if what == "unmount":
            unmount(Path(of))
        elif what == "remove":
            shutil.rmtree(of, ignore_errors=True)


def _living_in(folder: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cwd() == folder:
                yield process


def _kill(find: Callable[[], Iterable[psutil.Process]]) -> None:
    deadline = time.monotonic() + PATIENCE
    while (found := list(find())) and time.monotonic() < deadline:
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(found, timeout=1)


if __name__ == "__main__":
    _main()
