"""What a session is, and what it allows."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from herojobs.names import queue_name_fix

ALL = "*"
"""Stands for all circles."""


class Role(IntEnum):
    """What a session may do; each role may do all that the ones before it may."""

    VIEWER = 1
    """Read jobs, queues and logs."""
    SUBMITTER = 2
    """Submit jobs."""
    OPERATOR = 3
    """Cancel, retry and delete jobs; pause and empty queues."""
    ADMIN = 4
    """Manage sessions and services; in all circles."""

    @property
    def word(self) -> str:
        """The role's name as people write it."""
        return self.name.lower()


class Session(msgspec.Struct, frozen=True):
    """A session; holds no secret.

    Attributes:
        id: eight hexadecimal digits, part of its keys.
        name: who it is for, unique among the sessions that hold.
        circles: the circles it sees and touches, as fixed names; ("*",) = all.
        role: what it may do there.
        created_ms: unix milliseconds.
        expires_ms: unix milliseconds from which on its keys are refused; 0 = never.
        revoked_ms: unix milliseconds of its revocation; 0 = it holds.
        login: whether it came of a login link, for a browser.
    """

    id: str
    name: str
    circles: tuple[str, ...]
    role: Role
    created_ms: int
    expires_ms: int = 0
    revoked_ms: int = 0
    login: bool = False

    def allows(self, role: int, circle: str | None = None) -> bool:
        """Return whether it has a role in a circle.

        Args:
            role: the least role that is needed.
            circle: the circle, spelled in any way; None = the matter concerns no circle.
        """
        return self.role >= role and (circle is None or self.sees(circle))

    def refusal(self, role: Role, circle: str | None = None) -> str:
        """Return in words why it has no such role in a circle, empty if it has; see `allows`."""
        if circle is not None and not self.sees(circle):
            return f"session {self.name!r} isn't for circle {circle!r}"
        return "" if self.role >= role else f"session {self.name!r} is {self.role.word}, it takes {role.word}"

    def sees(self, circle: str) -> bool:
        """Return whether a circle, spelled in any way, is one of its circles."""
        return ALL in self.circles or queue_name_fix(circle) in self.circles
