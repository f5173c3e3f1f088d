"""The rules of a home that people change while WatchDogs run: what is paused, and what has limits.

They stand in one small JSON file, `<home>/var/rules.json`, beside the job databases, so a Redis that loses everything
changes nothing about them. A change replaces the file whole. Looking costs one `stat` while nothing has changed, which
is cheap enough for a WatchDog to look before every claim.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from herojobs.errors import SettingsError
from herojobs.limits import Limit
from herojobs.names import Queue


class Rules(msgspec.Struct, frozen=True):
    """The rules at a moment.

    Attributes:
        paused: circles, and topics as circle/topic, whose jobs don't start; names fixed.
        limits: limits that count before those of the setting `limit`, by name, see `herojobs.limits.limit_name`.
    """

    paused: frozenset[str] = frozenset()
    limits: dict[str, Limit] = {}

    def is_paused(self, queue: Queue) -> bool:
        """Return whether a queue's jobs don't start: it is paused, or its circle is."""
        return bool(self.paused) and (queue.circle in self.paused or str(queue) in self.paused)


NO_RULES = Rules()


class RuleFile:
    """The file of a home's rules. Safe for threads and processes.

    Args:
        home: the home folder.
    """

    def __init__(self, home: Path) -> None:
        self._path = home / "var" / "rules.json"
        self._seen: tuple[int, int, int] | None = None
        self._rules = NO_RULES
        self._lock = threading.Lock()

    def read(self) -> Rules:
        """Return the rules as they are now.

        Raises:
            SettingsError: somebody has written something else into the file.
        """
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return NO_RULES
        seen = (status.st_ino, status.st_mtime_ns, status.st_size)
        if seen != self._seen:
            try:
                self._rules = msgspec.json.decode(self._path.read_bytes(), type=Rules)
            except msgspec.DecodeError as e:
                raise SettingsError(f"{self._path}: {e}; mend it, or delete it to have no rules") from None
            self._seen = seen
        return self._rules

    def change(self, make: Callable[[Rules], Rules]) -> Rules:
        """Replace the rules by what is made of them; return the new ones. They are on disk then.

        Raises:
            SettingsError: as `read`; nothing was changed.
        """
        with self._changing():
            rules = make(self.read())
            temporary = self._path.with_suffix(".new")
            with temporary.open("wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(rules, order="deterministic"), indent=2) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        return rules

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Be the only one who changes the file. It is replaced, so the lock is on another one."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock:
            fd = os.open(self._path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                yield
            finally:
                os.close(fd)


def rule_name(circle_id: str, topic: str | None) -> str:
    """Return the name that a circle or topic has in the rules.

    Raises:
        InvalidName: it can't be a name.
    """
    return Queue.of(circle_id, "x").circle if topic is None else str(Queue.of(circle_id, topic))
