"""`lookup/state` and `lookup/checkpoint`: what the lookup table reflects (OurDB format C2).

Two slots, written in turn, each with a sequence number and a CRC: a writer that dies while it writes one leaves the
other. Read through a memory map, since every read of a record asks for the generation.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

_SLOT = 64
_SIZE = 2 * _SLOT
_slot = struct.Struct("<4sI QIBBxxIIQ16s")
_head = struct.Struct("<4sI")
_body = struct.Struct("<QIBBxxIIQ16s")
_MAGIC = b"HODB"
_CLEAN, _TRUNCATED, _ROLLING = 1, 2, 4


class State(NamedTuple):
    """What the table reflects.

    Attributes:
        generation: counts what moves records or makes the table anew; a location means nothing in another one.
        end: file number << 32 | the position after the last record that the table reflects.
        next_id: the id that the next new record gets, in incremental mode.
        clean: whether everything was synced when this was written.
        boot: the machine's boot id: what was written since another boot may not be on the disk.
        truncated: whether another program has cut a data file: nothing is written until the table is made anew.
        key_size: bytes of a table's entry; 0 = not told.
        rolling: whether a writer was about to begin a data file: there may be one that the table doesn't reflect.
    """

    generation: int
    end: int
    next_id: int
    clean: bool
    boot: bytes
    truncated: bool = False
    key_size: int = 0
    rolling: bool = False


EMPTY = State(0, 0, 1, True, b"")


class StateFile:
    """The file. Anybody may `read`; to `write` takes the lock."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            size = os.fstat(self._fd).st_size
            while size < _SIZE:  # no hole: a look at one through a map needs room on a tmpfs
                size += os.pwrite(self._fd, bytes(_SIZE - size), size)
            self._map = mmap.mmap(self._fd, _SIZE, prot=mmap.PROT_READ)
        except BaseException:
            os.close(self._fd)
            raise
        self._seen: tuple[bytes, State | None, int] = (b"", None, 0)  # one value, so that threads see it whole

    def read(self) -> State | None:
        """Return the newest state that is whole, None if there is none."""
        raw = self._map[:]
        seen = self._seen
        if raw != seen[0]:
            seen = self._seen = self._parse(raw)
        return seen[1]

    def write(self, state: State) -> None:
        """Write a state that counts from now on."""
        seen = self._seen
        raw = self._map[:]
        sequence = (seen if raw == seen[0] else self._parse(raw))[2] + 1
        generation, end, next_id, clean, boot, truncated, key_size, rolling = state
        flags = clean * _CLEAN | truncated * _TRUNCATED | rolling * _ROLLING
        body = _body.pack(sequence, generation, flags, key_size, next_id, end >> 32, end & 0xFFFF_FFFF, boot)
        at = _SLOT if sequence & 1 else 0
        os.pwrite(self._fd, _head.pack(_MAGIC, crc32(body)) + body, at)
        self._seen = self._map[:], state, sequence

    def sync(self) -> None:
        """Have the disk hold what was written."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):
            os.close(self._fd)
        self._map.close()

    @staticmethod
    def _parse(raw: bytes) -> tuple[bytes, State | None, int]:
        best: tuple[bytes, State | None, int] = (raw, None, 0)
        for at in (0, _SLOT):
            magic, crc, sequence, generation, flags, key, next_id, file, position, boot = _slot.unpack_from(raw, at)
            if magic != _MAGIC or crc != crc32(raw[at + 8 : at + _slot.size]) or sequence <= best[2]:
                continue
            clean, truncated, rolling = bool(flags & _CLEAN), bool(flags & _TRUNCATED), bool(flags & _ROLLING)
            state = State(generation, file << 32 | position, next_id, clean, boot, truncated, key, rolling)
            best = raw, state, sequence
        return best


def parse(raw: bytes) -> State | None:
    """Return the state in a file's bytes, None if there is none."""
    return StateFile._parse(raw)[1] if len(raw) >= _SIZE else None


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
