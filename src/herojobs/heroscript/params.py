"""The params of an action: named values in order, and positional ones (HeroScript 5, 7, 9)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from herojobs.heroscript.errors import HeroScriptError
from herojobs.heroscript.find import params_match
from herojobs.heroscript.getters import Getters
from herojobs.heroscript.names import name_fix
from herojobs.heroscript.source import MAX_SIZE, Source

T = TypeVar("T")

PRESORT = ("id", "cid", "gid", "oid", "name", "alias")
"""Keys that come first in canonical text, unless told otherwise."""

_VARIABLE = re.compile(r"\{(\w+)\}")


def _filled(text: str, texts: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda found: texts.get(name_fix(found[1]), str(found[0])), text)


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

    def fill_in(self, texts: Mapping[str, str]) -> None:
        """Replace `{name}` by the texts of names, which are fixed; unknown ones stay."""
        if "{" in self.value:
            self.value = _filled(self.value, texts)
            if self.items is not None:
                self.items = [_filled(item, texts) for item in self.items]

    def copy(self) -> Param:
        """Return a param that can be changed without changing this one."""
        copied = Param(self.key, self.value, self.items, self.position, self.value_position)
        copied.comment = self.comment
        return copied

    def __repr__(self) -> str:
        return f"Param({self.key!r}, {self.value!r})"


class Params(Getters):
    """Named values in order, and positional values.

    Parsing, writing and structs are modules that build on this one, so the methods for them import them when called.

    Attributes:
        table: the params by fixed key, in order.
        args: the positional values, in order, duplicates included.
        arg_positions: where each of them is in the source; shorter than `args` if some are from no source.
        comments: comments of positional values, and those after the last value.
        source: the text they are from, or None.
        position: where the action is in the source, -1 if there is none.
    """

    def __init__(self) -> None:
        self.table: dict[str, Param] = {}
        self.args: list[str] = []
        self.arg_positions: list[int] = []
        self.comments: list[str] = []
        self.source: Source | None = None
        self.position = -1

    @classmethod
    def parse(cls, text: str, *, max_size: int = MAX_SIZE) -> Params:
        """Return the params of a text that has no action line.

        Raises:
            HeroScriptError: the text is wrong or too long.
        """
        from herojobs.heroscript.reader import read_params

        return read_params(Source(text, "", max_size))

    @classmethod
    def encode(cls, value: object) -> Params:
        """Return a dataclass or msgspec.Struct as params; None is left out.

        Raises:
            TypeError: it is none of these, or holds what no text can give back.
        """
        from herojobs.heroscript.structs import encode

        return encode(value)

    def decode(self, kind: type[T]) -> T:
        """Return a dataclass or msgspec.Struct filled from the params; a missing one keeps the field's default.

        Raises:
            HeroScriptError: a field without default is missing, or a text doesn't fit its field.
            TypeError: it is none of these, or has a field that no text can become.
        """
        from herojobs.heroscript.structs import decode

        return decode(self, kind)

    def items(self) -> list[tuple[str, str]]:
        """Return keys and values in order."""
        return [(key, param.value) for key, param in self.table.items()]

    def keys(self) -> list[str]:
        """Return the keys in order."""
        return list(self.table)

    def exists(self, key: str) -> bool:
        """Whether there is such a key."""
        return name_fix(key) in self.table

    def exists_arg(self, arg: str) -> bool:
        """Whether there is such a positional value; case doesn't matter."""
        arg = arg.lower()
        return any(one.lower() == arg for one in self.args)

    def comment(self, key: str) -> str:
        """Return the comment of a param; empty if there is none."""
        param = self.table.get(name_fix(key))
        return "" if param is None else param.comment

    def empty(self) -> bool:
        """Whether there are no params, no positional values and no comments."""
        return not (self.table or self.args or self.comments)

    def __len__(self) -> int:
        return len(self.table)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.exists(key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Params) and self.items() == other.items() and self.args == other.args

    __hash__ = None  # type: ignore[assignment]  # it can be changed

    def __repr__(self) -> str:
        return f"Params({dict(self.items())!r}, args={self.args!r})"

    def error(self, code: str, message: str, position: int = -1) -> HeroScriptError:
        """Return an error at a position in the source, by default at the action."""
        if self.source is None:
            return HeroScriptError(0, 0, code, message)
        return self.source.error(max(self.position, 0) if position < 0 else position, code, message)

    # Changing

    def set(self, key: str, value: object) -> None:
        """Set a param, in its place if it is there, else at the end; its comment stays.

        Raises:
            ValueError: nothing is left of the key.
        """
        fixed = name_fix(key)
        if not fixed:
            raise ValueError(f"{key!r} can't be a key; use letters and digits")
        old = self.table.get(fixed)
        new = Param(fixed, str(value).lower() if isinstance(value, bool) else str(value))
        if old is not None:
            new.comment = old.comment
            new.position, new.value_position = old.position, old.value_position
        self.table[fixed] = new

    def set_arg(self, arg: str) -> None:
        """Add a positional value unless it is there already."""
        if not self.exists_arg(arg):
            self.args.append(arg)

    def delete(self, key: str) -> None:
        """Delete a param; nothing happens if it isn't there."""
        self.table.pop(name_fix(key), None)

    def delete_arg(self, arg: str) -> None:
        """Delete a positional value, wherever it is; case doesn't matter."""
        kept = [number for number, one in enumerate(self.args) if one.lower() != arg.lower()]
        self.arg_positions = [self.arg_positions[number] for number in kept if number < len(self.arg_positions)]
        self.args = [self.args[number] for number in kept]

    def merge(self, other: Params) -> None:
        """Take over what another has: its values win, its positional values are added if not there yet."""
        for key, param in other.table.items():
            copied = param.copy()
            # A place in another source would be wrong in this one.
            copied.position = copied.value_position = -1
            self.table[key] = copied
        for arg in other.args:
            self.set_arg(arg)

    def replace(self, names: Mapping[str, str] | Params) -> None:
        """Replace `{name}` in all values by the texts of names; unknown ones stay."""
        texts = {name_fix(name): text for name, text in names.items()}
        for param in self.table.values():
            param.fill_in(texts)

    # Matching and writing

    def filter_match(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> bool:
        """Return whether one of `include` matches, or there is none, and none of `exclude` does.

        Args:
            include: entries of one or more terms joined by `+`, all of which must hold: `key:value` compares a param,
                a term without colon looks for a positional value; both may be globs (`*`, `?`, `[abc]`, `[^abc]`).
            exclude: entries of the same form.
        """
        return params_match(self, include, exclude)

    def export(
        self,
        presort: Sequence[str] = PRESORT,
        postsort: Sequence[str] = (),
        maxcolsize: int = 120,
        indent: str = "",
        pre: str = "",
    ) -> str:
        """Return the params as canonical text, that reads back as the same params.

        Args:
            presort: keys that come first.
            postsort: keys that come last.
            maxcolsize: once the first line is longer, keys go on lines of their own.
            indent: stands before the first line of each key below.
            pre: stands before the first line, with a space.
        """
        from herojobs.heroscript.writer import export

        return export(self, presort, postsort, maxcolsize, indent, pre)

    def hexhash(self) -> str:
        """Return the SHA-256 of the params, in hex; equal params in any order hash alike."""
        from herojobs.heroscript.writer import hexhash

        return hexhash(self)
