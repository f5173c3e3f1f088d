"""How circles and topics were spelled when first seen, and who else spells them otherwise (Redis layout, B15).

A fixed name can stand for several spellings ("myCircle", "my circle"), so two tenants may share a queue without
knowing. The first spelling is kept for display; each other one is told once. A file `spelling` in the circle's and in
the topic's folder holds one JSON string a line, the first spelling first.
"""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import msgspec

from herojobs.names import Queue
from herojobs.store.base import Spelling

MAX_SPELLINGS = 20
"""Spellings kept of one name; past it they are not told any more, so that nobody can grow the file at will."""

MAX_SHOWN = 200

_log = logging.getLogger("herojobs.store")


class Spellings:
    """The spellings of all names below a folder of circles.

    Args:
        circles_dir: the folder that holds a folder for each circle.
    """

    def __init__(self, circles_dir: Path) -> None:
        self._dir = circles_dir
        self._known: set[tuple[Queue, str, str]] = set()
        self._lock = threading.Lock()

    def remember(self, queue: Queue, circle_id: str, topic: str) -> list[str]:
        """Note a spelling; return the warnings about it, none if it isn't new. The circle's folder must exist."""
        if (queue, circle_id, topic) in self._known:
            return []
        with self._lock:
            if len(self._known) >= 100_000:  # a bound, not a working size
                self._known.clear()
            self._known.add((queue, circle_id, topic))
            warnings = [
                *_remember(self._dir / queue.circle, "circle", queue.circle, circle_id),
                *_remember(self._dir / queue.circle / queue.topic, "topic", queue.topic, topic),
            ]
        for warning in warnings:
            _log.warning("%s", warning)
        return warnings

    def first(self, queue: Queue) -> Spelling:
        """Return the first spelling seen of a queue's names; the fixed name where none is known."""
        circle = _read(self._dir / queue.circle / "spelling")
        topic = _read(self._dir / queue.circle / queue.topic / "spelling")
        return Spelling(circle[0] if circle else queue.circle, topic[0] if topic else queue.topic)


def _remember(folder: Path, what: str, fixed: str, spelled: str) -> list[str]:
    spelled = spelled[:MAX_SHOWN].encode("utf-8", "replace").decode()
    path = folder / "spelling"
    line = msgspec.json.encode(spelled) + b"\n"
    known = _read(path)
    if not known:
        if _create(path, line):
            return []
        known = _read(path)
    if spelled in known or len(known) >= MAX_SPELLINGS or not known:
        return []
    with path.open("ab") as file:
        file.write(line)
    return [
        f"the {what} {fixed!r} is spelled {spelled!r} now and was {known[0]!r} at first: both are one {what}, "
        "shared by whoever uses either"
    ]


def _create(path: Path, content: bytes) -> bool:
    """Make a file with its content, both or neither; False if it was there already."""
    temporary = path.with_name(f"spelling.{os.getpid()}.{threading.get_ident()}")
    temporary.write_bytes(content)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True


def _read(path: Path) -> list[str]:
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    spellings = []
    for line in lines:
        try:
            spellings.append(msgspec.json.decode(line, type=str))
        except msgspec.DecodeError:  # a line cut off by a crash; display names are no reason to fail
            continue
    return spellings
