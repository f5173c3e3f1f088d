"""Checkpoints: a small state that a running job keeps, and that its next attempt gets.

A file for each job, beside its log: `<circles>/<circle>/<topic>/checkpoints/<id>`. Its first line tells which attempt
wrote it, the rest is the state as JSON. A new one takes the old one's place by renaming, so readers find either whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from herojobs.errors import CheckpointRefused
from herojobs.names import Ref

MAX_BYTES = 64 * 1024


class Checkpoints:
    """The checkpoints of a home's jobs. Safe for any number of processes.

    Args:
        circles: the folder that holds a folder for each circle.
        flush: whether a checkpoint is flushed to disk before `save` returns.
    """

    def __init__(self, circles: Path, *, flush: bool = True) -> None:
        self._circles = circles
        self._flush = flush

    def save(self, ref: Ref, started_ms: int, state: Any) -> None:
        """Keep a state; when this returns, the job's next attempt will get it.

        Args:
            ref: the job.
            started_ms: when the attempt that has this state began.
            state: what JSON can hold, at most 64 KiB of it.

        Raises:
            CheckpointRefused: the state is too large or JSON can't hold it, or a later attempt has begun to save.
            OSError: the disk is full, say; the former one is still there.
        """
        try:
            data = msgspec.json.encode(state)
        except (TypeError, ValueError, OverflowError) as e:
            raise CheckpointRefused(f"the checkpoint of {ref} can't be written as JSON: {e}") from None
        if len(data) > MAX_BYTES:
            raise CheckpointRefused(f"the checkpoint of {ref} has {len(data):,} bytes, at most {MAX_BYTES:,} are kept")
        path = self._path(ref)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.parent):
            if _read(path)[0] > started_ms:
                raise CheckpointRefused(f"a later attempt at {ref} has saved a checkpoint; this one has lost the job")
            new = path.with_suffix(".new")
            with new.open("wb") as file:
                file.write(b"%d\n" % started_ms + data)
                if self._flush:
                    file.flush()
                    os.fsync(file.fileno())
            new.replace(path)

    def load(self, ref: Ref) -> Any:
        """Return what the job saved last, None if nothing."""
        return _read(self._path(ref))[1]

    def drop(self, ref: Ref) -> None:
        """Forget a job's checkpoint."""
        self._path(ref).unlink(missing_ok=True)

    def _path(self, ref: Ref) -> Path:
        return self._circles / ref.queue.circle / ref.queue.topic / "checkpoints" / str(ref.id)


def _read(path: Path) -> tuple[int, Any]:
    try:
        started, _, data = path.read_bytes().partition(b"\n")
        return int(started), msgspec.json.decode(data)
    except FileNotFoundError:
        return 0, None
    except (ValueError, msgspec.DecodeError):  # not ours, or a power cut has torn it: as if there were none
        return 0, None


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
