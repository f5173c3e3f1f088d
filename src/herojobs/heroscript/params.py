"""The params of an action: named values in order, and positional ones (HeroScript 5, 7, 9)."""

from __future__ import annotations

from herojobs.heroscript.names import name_fix
from herojobs.heroscript.source import MAX_SIZE, Source


class Param:
    """One named value.

    Attributes:
        key: its fixed name.
        value: its text.
        comment: the comment above or behind it.
        items: the items, where the value was written as a list; else None.
        position: where the key is in the source, -1 if it is from no source.
        value_position: where the value is in the source.
    """

    __slots__ = ("comment", "items", "key", "position", "value", "value_position")

    def __init__(
        self,
        key: str,
        value: str,
        items: list[str] | None = None,
        position: int = -1,
        value_position: int = -1,
    ) -> None:
        self.key = key
        self.value = value
        self.comment = ""
        self.items = items
        self.position = position
        self.value_position = value_position

    def copy(self) -> Param:
        """Return a param that can be changed without changing this one."""
        copied = Param(self.key, self.value, self.items, self.position, self.value_position)
        copied.comment = self.comment
        return copied

    def __repr__(self) -> str:
        return f"Param({self.key!r}, {self.value!r})"


class Params:
    """Named values in order, and positional values."""

    def __init__(self) -> None:
        self.table: dict[str, Param] = {}
        self.args: list[str] = []
        self.arg_positions: list[int] = []
        self.comments: list[str] = []
        self.source: Source | None = None

    @classmethod
    def parse(cls, text: str, *, max_size: int = MAX_SIZE) -> Params:
        """Return the params of a text that has no action line.

        Raises:
            HeroScriptError: the text is wrong or too long.
        """
        from herojobs.heroscript.reader import read_params

        return read_params(Source(text, "", max_size))

    def set(self, key: str, value: object) -> None:
        """Set a param, in its place if it is there, else at the end."""
        key = name_fix(key)
        self.table[key] = Param(key, _text(value))

    def items(self) -> list[tuple[str, str]]:
        """Return keys and values in order."""
        return [(key, param.value) for key, param in self.table.items()]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
