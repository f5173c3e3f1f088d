"""Names of circles and topics: how they are fixed, checked and put together.

The fixing rule is the original's (Redis layout, A4); other programs compute the same queue names by it, so it
must not change. HeroScript names follow another rule, `herojobs.heroscript.name_fix`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from herojobs.errors import InvalidName, InvalidReference

MAX_NAME_BYTES = 200
"""Longest fixed name; the file systems we know allow 255 bytes in a folder's name."""

_OTHER_RUNS = re.compile(r"[^a-z0-9.,]+")


@lru_cache(maxsize=4096)
def queue_name_fix(name: str) -> str:
    """Return `name` as it stands in Redis keys and folders; may be empty.

    Characters above U+007F are dropped, the rest is lower-cased, spaces and `'` at both ends go, every run of
    anything but `a-z 0-9 . ,` becomes one `_`, and one leading `_` goes. Source: Redis layout, A4.
    """
    ascii_only = name.encode("ascii", "ignore").decode().lower().strip(" '")
    return _OTHER_RUNS.sub("_", ascii_only).removeprefix("_")


@lru_cache(maxsize=4096)
def fixed_name(name: str, field: str) -> str:
    """Return the fixed form of a circle's or topic's name.

    Args:
        name: the name as given.
        field: what the name is of, for the error: `circle_id` or `topic`.

    Raises:
        InvalidName: nothing is left of the name, it is `.` or `..`, or longer than 200 bytes.
    """
    fixed = queue_name_fix(name)
    if not fixed:
        raise InvalidName(field, name, "no letter or digit is left of it", "a name like 'reports'")
    if fixed in (".", ".."):
        raise InvalidName(field, name, f"it becomes {fixed!r}, which names a folder", "a name like 'reports'")
    if len(fixed) > MAX_NAME_BYTES:
        raise InvalidName(field, name[:40] + "...", f"it has {len(fixed)} bytes", f"at most {MAX_NAME_BYTES}")
    return fixed


class Queue(NamedTuple):
    """A queue: one topic of one circle, both names fixed. Make it with `Queue.of`."""

    circle: str
    topic: str

    @classmethod
    def of(cls, circle_id: str, topic: str) -> Queue:
        """Return the queue of a circle and topic spelled in any way.

        Raises:
            InvalidName: see `fixed_name`.
        """
        return _queue_of(circle_id, topic)

    @classmethod
    def parse(cls, key: str) -> Queue | None:
        """Return the queue that `circle:topic` names, or None if these aren't two fixed names."""
        circle, colon, topic = key.partition(":")
        if not colon or not circle or not topic:
            return None
        if queue_name_fix(circle) != circle or queue_name_fix(topic) != topic:
            return None
        if circle in (".", "..") or topic in (".", ".."):
            return None
        return cls(circle, topic)

    @property
    def key(self) -> str:
        """`circle:topic`, the form used in Redis keys."""
        return f"{self.circle}:{self.topic}"

    def __str__(self) -> str:
        return f"{self.circle}/{self.topic}"


@lru_cache(maxsize=4096)
def _queue_of(circle_id: str, topic: str) -> Queue:
    return Queue(fixed_name(circle_id, "circle_id"), fixed_name(topic, "topic"))


class Ref(NamedTuple):
    """A job's name outside its queue, written `circle/topic/id`."""

    queue: Queue
    id: int

    @classmethod
    def parse(cls, text: str) -> Ref:
        """Return the reference that `circle/topic/id` names; circle and topic may be spelled in any way.

        Raises:
            InvalidReference: the text isn't of that form, or the id isn't a number from 1 to 4,294,967,295.
            InvalidName: circle or topic can't be a name.
        """
        parts = text.strip().split("/")
        if len(parts) != 3:
            raise InvalidReference(
                text, "it has 1 part, not 3" if len(parts) == 1 else f"it has {len(parts)} parts, not 3"
            )
        circle, topic, number = parts
        if not (number.isascii() and number.isdigit()) or not 0 < int(number) <= 0xFFFF_FFFF:
            raise InvalidReference(text, f"{number!r} is no job id (1 to 4294967295)")
        return cls(Queue.of(circle, topic), int(number))

    def __str__(self) -> str:
        return f"{self.queue.circle}/{self.queue.topic}/{self.id}"
