"""Entry of the sending process; its settings come on stdin, and it ends when that is closed."""

from __future__ import annotations

import os
import sys
import threading

import msgspec

from herojobs.hooks.sender import run
from herojobs.settings import Settings


def _end_with_parent() -> None:
    while sys.stdin.buffer.read(1):
        pass
    os._exit(0)


def main() -> None:
    """Read the settings, then send until stdin is closed."""
    size = int.from_bytes(sys.stdin.buffer.read(4), "little")
    data = sys.stdin.buffer.read(size)
    if len(data) < size or not size:
        return
    settings = msgspec.msgpack.decode(data, type=Settings, dec_hook=lambda kind, value: kind(value))
    sys.path.insert(0, os.getcwd())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    run(settings)


if __name__ == "__main__":
    main()
