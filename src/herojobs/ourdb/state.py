"""`lookup/state`: what the lookup table reflects (OurDB format C2).

Two slots, written in turn, each with a sequence number and a CRC: a writer that dies while it writes one leaves the
other.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

_SLOT = 64
_slot = struct.Struct("<4sI QIBxxxIIQ16s")
_MAGIC = b"HODB"


class State(NamedTuple):
    """What the table reflects.

    Attributes:
        generation: counts compactions; a location means nothing in another generation.
        end: file number << 32 | the position after the last record that the table reflects.
        next_id: the id that the next new record gets, in incremental mode.
        clean: whether everything was synced when this was written.
        boot: the machine's boot id: what was written since another boot may not be on the disk.
    """

    generation: int
    end: int
    next_id: int
    clean: bool
    boot: bytes


class StateFile:
    """The file; `read` and `write` are to be called under the lock."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._sequence = 0
        self._last = b""
        self._state: State | None = None

    def read(self) -> State | None:
        """Return the newest state that is whole, None if there is none."""
        raw = os.pread(self._fd, 2 * _SLOT, 0)
        if raw == self._last:
            return self._state
        best: tuple[int, State] | None = None
        for at in (0, _SLOT):
            if len(raw) < at + _slot.size:
                continue
            magic, crc, sequence, generation, clean, next_id, file, position, boot = _slot.unpack_from(raw, at)
            if magic != _MAGIC or crc != crc32(raw[at + 8 : at + _slot.size]):
                continue
            if best is None or sequence > best[0]:
                best = sequence, State(generation, file << 32 | position, next_id, bool(clean), boot)
        self._last = raw
        self._sequence, self._state = best or (0, None)
        return self._state

    def write(self, state: State) -> None:
        """Write a state that counts from now on."""
        self._sequence += 1
        generation, end, next_id, clean, boot = state
        body = _slot.pack(_MAGIC, 0, self._sequence, generation, clean, next_id, end >> 32, end & 0xFFFF_FFFF, boot)[8:]
        raw = (_MAGIC + crc32(body).to_bytes(4, "little") + body).ljust(_SLOT, b"\0")
        at = self._sequence % 2 * _SLOT
        os.pwrite(self._fd, raw, at)
        last = self._last.ljust(2 * _SLOT, b"\0")
        self._last = last[:at] + raw + last[at + _SLOT :]
        self._state = state

    def sync(self) -> None:
        """Have the disk hold what was written."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def boot_id() -> bytes:
    """Return 16 bytes that differ for each boot of the machine; zeros where the system doesn't tell."""
    global _boot
    if _boot is None:
        try:
            _boot = bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip().replace("-", ""))
        except (OSError, ValueError):
            _boot = bytes(16)
    return _boot


_boot: bytes | None = None
