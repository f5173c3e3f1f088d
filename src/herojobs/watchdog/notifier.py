"""The WatchDog's part in webhooks and hooks: keep one sending process alive for the home, if anybody is to be told."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import subprocess
import sys

import msgspec

from herojobs.hooks.functions import any_hooks
from herojobs.settings import Settings

log = logging.getLogger("herojobs.watchdog")

LOOK = 2.0
"""Seconds between two looks whether the sending process is there, ours or another WatchDog's."""
LONGEST_PAUSE = 60.0


class Notifier:
    """Starts `python -m herojobs.hooks` and starts it again when it ends. Of all WatchDogs of a home one does so.

    Args:
        settings: the settings in force.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._is_needed = bool(settings.webhooks) or any_hooks(settings.hooks)
        self._path = settings.home / "var" / "hooks.lock"
        self._lock = -1
        self._process: subprocess.Popen[bytes] | None = None
        self._failures = 0

    async def run(self) -> None:
        """Look after the process until cancelled."""
        if not self._is_needed:
            await asyncio.Event().wait()
        while True:
            self.step()
            await asyncio.sleep(min(LONGEST_PAUSE, LOOK * 2.0 ** min(self._failures, 6)) if self._failures else LOOK)

    def step(self) -> None:
        """Start the process if it isn't there and no other WatchDog has it."""
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                self._failures = 0
                return
            log.error("the process that tells webhooks and hooks ended with code %d; it is started again", code)
            self._failures += 1
            self._process = None
        try:
            if self._lock < 0 and not self._take_lock():
                return
            self._start()
        except OSError as e:
            log.error("the process that tells webhooks and hooks can't be started: %s", e)
            self._failures += 1

    def close(self) -> None:
        """End the process; another WatchDog starts one."""
        if self._process is not None:
            assert self._process.stdin is not None
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _take_lock(self) -> bool:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._lock = descriptor
        return True

    def _start(self) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "herojobs.hooks"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=(self._lock,),  # held until the process has ended too, so that there are never two
            process_group=0,
        )
        assert process.stdin is not None
        data = msgspec.msgpack.encode(self._settings, enc_hook=str)
        process.stdin.write(len(data).to_bytes(4, "little") + data)
        process.stdin.flush()
        self._process = process
