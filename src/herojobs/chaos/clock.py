"""A wall clock that can be set, for a WatchDog of a run of chaos.

The WatchDog is started by this module, which has `time.time` and `time.time_ns` add what a small shared file says.
Its workers, Redis and everybody else keep the right time, as on a host of its own whose clock jumps.
"""

from __future__ import annotations

import mmap
import runpy
import struct
import sys
import time
from pathlib import Path

_OFFSET = struct.Struct("q")


class Clock:
    """What is added to the clock of one WatchDog, also of those that come after it in its place.

    Args:
        file: where the offset is kept.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.set_off(0)

    def set_off(self, seconds: float) -> None:
        """Have the clock be so much ahead; less than 0 = behind, 0 = right."""
        self.file.touch()
        with open(self.file, "r+b") as shared:  # in place: it is mapped
            shared.write(_OFFSET.pack(int(seconds * 1e9)))


def follow(file: Path) -> None:
    """Have the wall clock of this process follow a `Clock`."""
    with open(file, "r+b") as opened:
        shared = mmap.mmap(opened.fileno(), _OFFSET.size, prot=mmap.PROT_READ)
    right_ns = time.time_ns

    def time_ns() -> int:
        offset: int = _OFFSET.unpack_from(shared)[0]
        return right_ns() + offset

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9


if __name__ == "__main__":  # FILE, then the arguments of `herojobs`
    follow(Path(sys.argv.pop(1)))
    runpy.run_module("herojobs", run_name="__main__", alter_sys=True)
