"""Keys of providers, taken out of everything that is written."""

from __future__ import annotations

from herojobs.job import MASK

SHORTEST_KEY = 6
"""Characters from which on a key is masked: a shorter one would be found in any text."""


class KeyMask:
    """Knows the keys that were used so far."""

    def __init__(self) -> None:
        self._keys: set[str] = set()

    def add(self, key: str) -> None:
        """Mask a key from now on."""
        if len(key) >= SHORTEST_KEY:
            self._keys.add(key)

    def hide(self, text: str) -> str:
        """Return a text without keys."""
        for key in self._keys:
            text = text.replace(key, MASK)
        return text

    def begun(self, text: str) -> int:
        """Return how many characters at a text's end may be the beginning of a key."""
        return max(
            (size for key in self._keys for size in range(1, len(key)) if text.endswith(key[:size])),
            default=0,
        )
