"""Retention and compaction in the background, in a process of their own at low priority: the WatchDog loses no time.

Of several WatchDogs of a home one does it at a time, and each only if none has for `upkeep_interval`. Deleting and
compacting may be killed at any moment, so the process just ends when its WatchDog does.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec

from herojobs.settings import Settings
from herojobs.store import JobStore

log = logging.getLogger("herojobs.watchdog")

START = 60.0
"""Seconds after its start that a WatchDog first looks: what waits in queues comes first."""
POLL = 0.2
NICE = 15


class Upkeep:
    """Starts the process when something is to be done.

    Args:
        settings: retentions, and how often to look.
        store: where jobs are.
    """

    def __init__(self, settings: Settings, store: JobStore) -> None:
        self._settings = settings
        self._store = store

    async def run(self) -> None:
        """Look again and again until cancelled; with interval 0, never."""
        interval = self._settings.upkeep_interval
        await asyncio.sleep(min(START, interval))
        while True:
            if interval:
                try:
                    await self.step()
                except OSError as e:
                    log.warning("upkeep failed; it comes again: %s", e)
            await asyncio.sleep(interval or 3600)

    async def step(self) -> None:
        """Look once, and see it done."""
        if await asyncio.to_thread(self._is_due):
            await self._do()

    def _is_due(self) -> bool:
        settings = self._settings
        with contextlib.suppress(FileNotFoundError):
            if time.time() - _stamp(settings).stat().st_mtime < settings.upkeep_interval * 0.9:
                return False
        return settings.has_retention or any(map(self._store.is_compaction_due, self._store.queues()))

    async def _do(self) -> None:
        process = self._start()
        try:
            code = await _ended(process)
            assert process.stdout is not None
            told = process.stdout.read().decode().strip()
            if code:
                log.warning("upkeep ended with code %d; it comes again", code)
            elif told:
                log.info("upkeep: %s", told)
        finally:
            process.kill()
            with process:  # closes its pipes
                pass

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "herojobs.watchdog.upkeep"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdin is not None
        data = msgspec.msgpack.encode(self._settings, enc_hook=str)
        process.stdin.write(len(data).to_bytes(4, "little") + data)
        process.stdin.flush()  # and stays open: its end tells that we are gone
        return process


async def _ended(process: subprocess.Popen[bytes]) -> int:
    while (code := process.poll()) is None:  # noqa: ASYNC110 - no event tells of a process's end
        await asyncio.sleep(POLL)
    return code


def main() -> None:
    """Do it, in the process that `Upkeep` starts."""
    length = int.from_bytes(sys.stdin.buffer.read(4), "little")
    data = sys.stdin.buffer.read(length)
    settings = msgspec.msgpack.decode(data, type=Settings, dec_hook=lambda kind, value: kind(value))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(NICE)
    stamp = _stamp(settings)
    with stamp.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # another WatchDog's is at it
        os.utime(stamp)
        from herojobs.client import HeroJobs

        with HeroJobs(settings=settings) as hero:
            done = hero.prune()
        if any(done):
            print(f"{done.jobs:,} jobs and {done.logs:,} logs deleted, {done.compacted:,} databases compacted")


def _end_with_parent() -> None:
    os.read(0, 1)
    os._exit(0)


def _stamp(settings: Settings) -> Path:
    """Return the file whose time tells when it was done last, and whose lock is who does it."""
    return settings.home / "var" / "upkeep"


if __name__ == "__main__":
    main()
