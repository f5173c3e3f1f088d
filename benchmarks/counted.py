"""A WatchDog that counts its calls of functions: `python -m benchmarks.counted FILE [what herojobs takes]`.

FILE holds the count so far, eight bytes of the machine's order; it is at most `STEP` calls behind.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
from pathlib import Path

STEP = 256


def read(file: Path) -> int:
    """Return the count in a file."""
    (count,) = struct.unpack("q", file.read_bytes())
    return int(count)


def main() -> None:
    file = Path(sys.argv.pop(1))
    file.write_bytes(bytes(8))
    with file.open("r+b") as opened:
        shared = mmap.mmap(opened.fileno(), 8)
    total, process, step = 0, os.getpid(), STEP

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal total
        if event == "call" or event == "c_call":
            total += 1
            if not total % step and os.getpid() == process:
                shared[:] = total.to_bytes(8, sys.byteorder)

    from herojobs.__main__ import main as herojobs

    sys.setprofile(note)
    herojobs()


if __name__ == "__main__":
    main()
