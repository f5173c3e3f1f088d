"""A disk that can be full: a small tmpfs where the system lets us mount one, else a limit on the size of files."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import psutil

SIZE = 192 << 20
"""Bytes of the tmpfs."""
SMALL = 4096
"""Bytes that files may have while the disk counts as full, where there is no tmpfs."""


class Disk:
    """The folder that all databases of a run are in.

    Args:
        folder: where it shall be; it must not exist.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self._filler = folder / "filler"
        self._mounted = sys.platform == "linux" and _run("mount", "-t", "tmpfs", "-o", f"size={SIZE}", "chaos", folder)

    def fill(self, writers: Iterable[psutil.Process]) -> None:
        """Leave no room."""
        if not self._mounted:
            _limit(writers, SMALL)
            return
        with open(self._filler, "wb") as filler:
            piece = 1 << 22
            while piece >= 512:
                try:
                    os.posix_fallocate(filler.fileno(), filler.seek(0, os.SEEK_END), piece)
                except OSError:
                    piece //= 2

    def free(self, writers: Iterable[psutil.Process]) -> None:
        """Make room again."""
        self._filler.unlink(missing_ok=True)
        if not self._mounted:
            _limit(writers, resource.RLIM_INFINITY)

    def close(self) -> None:
        """Remove the folder with all that is in it."""
        if self._mounted:
            unmount(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)


def unmount(folder: Path) -> None:
    """Take a tmpfs away, whoever still uses it; nothing happens if there is none."""
    _run("umount", "--lazy", folder)


def _limit(writers: Iterable[psutil.Process], size: int) -> None:
    for writer in writers:
        with contextlib.suppress(psutil.Error):
            _, hard = resource.prlimit(writer.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(writer.pid, resource.RLIMIT_FSIZE, (size, hard))


def _run(*command: str | Path) -> bool:
    program = shutil.which(str(command[0]))
    if program is None:
        return False
    done = subprocess.run([program, *command[1:]], capture_output=True, check=False)  # noqa: S603 - mount and umount
    return done.returncode == 0
