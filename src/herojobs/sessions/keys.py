"""Session keys: `hjs_<id>_<secret>`, an id to find the session by and 256 random bits.

The prefix lets scanners find keys that leaked. Kept is their SHA-256 alone: a slow hash protects passwords, which can
be guessed; nobody guesses 256 random bits, and a check must take microseconds.
"""

from __future__ import annotations

import hashlib
import re
import secrets

from herojobs.job import KEY_PREFIX

PATTERN = re.compile(KEY_PREFIX + r"([0-9a-f]{8})_[0-9a-f]{64}")
"""What a key looks like; for those who look for keys in texts."""


def new_id() -> str:
    """Return a new session's id."""
    return secrets.token_hex(4)


def new_key(id: str) -> str:
    """Return a new key of a session."""
    return f"{KEY_PREFIX}{id}_{secrets.token_hex(32)}"


def id_in(key: str) -> str | None:
    """Return the id in a key, None if this can be no key."""
    found = PATTERN.fullmatch(key)
    return found[1] if found else None


def digest(secret: str) -> bytes:
    """Return what is kept of a key or a login token."""
    return hashlib.sha256(secret.encode()).digest()
