"""A parsed script (HeroScript 6)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from herojobs.heroscript.action import Action
from herojobs.heroscript.parser import Note, Parser
from herojobs.heroscript.source import MAX_SIZE, Source

_EXTENSIONS = (".md", ".hero", ".heroscript")


class PlayBook:
    """A list of actions, and the text around them.

    Attributes:
        actions: the actions, in the script's order.
        other_text: lines that are no part of an action, joined by line breaks; never executed.
        warnings: what is odd but no error: a key given twice, a param that isn't indented.
    """

    def __init__(self) -> None:
        self.actions: list[Action] = []
        self.other_text = ""
        self.warnings: list[Note] = []

    @classmethod
    def parse(
        cls,
        text: str,
        strict: bool = False,
        *,
        replace: Mapping[str, str] | None = None,
        path: str = "",
        max_size: int = MAX_SIZE,
    ) -> PlayBook:
        """Return the playbook of a script.

        Args:
            text: the script.
            strict: whether a param that somebody forgot to indent is an error (else a warning); jobs are strict.
            replace: text for names: `@name`, `${name}` and `{name}` are replaced before anything is read, so only
                use it for texts that you trust. A name that starts with `@ $ [ {` is taken as it stands.
            path: the file the text is from, for error messages.
            max_size: longest text in bytes.

        Raises:
            HeroScriptError: the first problem, with its line and column.
        """
        playbook = cls()
        playbook.add(text, strict, replace=replace, path=path, max_size=max_size)
        return playbook

    @classmethod
    def from_folder(
        cls, folder: Path | str, strict: bool = False, *, replace: Mapping[str, str] | None = None
    ) -> PlayBook:
        """Return the playbook of all `.md`, `.hero` and `.heroscript` files below a folder, sorted by path.

        Raises:
            HeroScriptError: a file is wrong; its `path` tells which.
            OSError: a file can't be read.
        """
        playbook = cls()
        folder = Path(folder)
        for file in sorted(file for file in folder.rglob("*") if file.suffix in _EXTENSIONS and file.is_file()):
            playbook.add(file.read_text("utf-8"), strict, replace=replace, path=str(file.relative_to(folder)))
        return playbook

    def add(
        self,
        text: str,
        strict: bool = False,
        *,
        replace: Mapping[str, str] | None = None,
        path: str = "",
        max_size: int = MAX_SIZE,
    ) -> None:
        """Append the actions of another script; their numbers go on. The arguments are those of `parse`."""
        if replace:
            text = _replaced(text, replace)
        parsed = Parser(Source(text, path, max_size), strict).parse(len(self.actions) + 1)
        self.actions += parsed.actions
        self.warnings += parsed.warnings
        other = "\n".join(parsed.other_text).rstrip()
        if other:
            self.other_text = f"{self.other_text}\n{other}" if self.other_text else other


def _replaced(text: str, names: Mapping[str, str]) -> str:
    forms: dict[str, str] = {}
    for name, value in names.items():
        if name[:1] in "@$[{":
            forms[name] = value
        else:
            forms.update({f"@{name}": value, f"${{{name}}}": value, f"{{{name}}}": value})
    forms.pop("", None)
    # The longest first, so that @names isn't taken for @name and an s.
    pattern = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
    return re.sub(pattern, lambda found: forms[found[0]], text) if pattern else text
