"""A parsed script (HeroScript 6)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from herojobs.heroscript.action import Action
from herojobs.heroscript.errors import HeroScriptError
from herojobs.heroscript.find import action_filter
from herojobs.heroscript.injected import Injected
from herojobs.heroscript.params import Params
from herojobs.heroscript.parser import Note, Parser
from herojobs.heroscript.source import MAX_SIZE, Source
from herojobs.heroscript.writer import action_source, action_text, hash_text

DEFAULT_PRIORITY = 50
"""Priority of actions that no filter matched."""

_EXTENSIONS = (".md", ".hero", ".heroscript")


class PlayBook(Injected):
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
        self._sorted: list[Action] | None = None

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
        self._sorted = None
        self.warnings += parsed.warnings
        other = "\n".join(parsed.other_text).rstrip()
        if other:
            self.other_text = f"{self.other_text}\n{other}" if self.other_text else other

    # Finding (HeroScript 6.1)

    def find(self, filter: str = "", include_done: bool = False) -> list[Action]:  # noqa: A002 -- the word for it
        """Return the actions that match, in the script's order, each once.

        Args:
            filter: `actor.name` patterns with commas between them; an empty side matches anything, globs are `*`, `?`,
                `[abc]`, `[^abc]`, and a name without a dot is of the actor `core`. Empty finds all.
            include_done: whether to find actions that are done.
        """
        matches = action_filter(filter)
        return [action for action in self.actions if (include_done or not action.done) and matches(action)]

    def exists(self, filter: str) -> bool:  # noqa: A002 -- as in find
        """Whether an action matches that isn't done."""
        return bool(self.find(filter))

    def exists_once(self, filter: str) -> bool:  # noqa: A002 -- as in find
        """Whether exactly one action matches that isn't done."""
        return len(self.find(filter)) == 1

    def get(self, filter: str) -> Action:  # noqa: A002 -- as in find
        """Return the one action that matches and isn't done.

        Raises:
            HeroScriptError: there is none, or more than one.
        """
        found = self.find(filter)
        if not found:
            raise HeroScriptError(0, 0, "unknown_action", f'no action matches "{filter}"')
        self._at_most_one(filter, found)
        return found[0]

    def ensure_once(self, filter: str) -> None:  # noqa: A002 -- as in find
        """Raise a HeroScriptError unless exactly one action matches that isn't done."""
        self.get(filter)

    def max_once(self, filter: str) -> bool:  # noqa: A002 -- as in find
        """Return whether an action matches that isn't done.

        Raises:
            HeroScriptError: more than one matches.
        """
        found = self.find(filter)
        self._at_most_one(filter, found)
        return bool(found)

    def _at_most_one(self, filter: str, found: list[Action]) -> None:  # noqa: A002 -- as in find
        if len(found) > 1:
            lines = ", ".join(str(action.line) for action in found)
            raise found[1].error("unknown_action", f'{len(found)} actions match "{filter}" (lines {lines}), not one')

    def ensure_processed(self, filter: str = "") -> None:  # noqa: A002 -- as in find
        """Raise a HeroScriptError naming the first action that matches and isn't done."""
        for action in self.find(filter):
            raise action.error("failed", f"{action.full_name} wasn't processed")

    def params_get(self, filter: str = "") -> Params:  # noqa: A002 -- as in find
        """Return the params of all actions that match and aren't done, merged in order."""
        merged = Params()
        for action in self.find(filter):
            merged.merge(action.params)
        return merged

    def empty_check(self) -> None:
        """Raise a HeroScriptError if an action isn't done, naming each with its line."""
        left = self.find()
        if left:
            names = ", ".join(f"{action.full_name} (line {action.line})" for action in left)
            raise left[0].error("failed", f"not processed: {names}")

    # Sorting (HeroScript 6.2)

    def filtersort(self, priorities: Mapping[int, str]) -> None:
        """Give actions a priority by the first filter that matches; the rest follow as 50. Each call starts afresh.

        Args:
            priorities: priority, 0 (first) to 49, to filter.

        Raises:
            ValueError: a priority is out of range.
        """
        for priority in priorities:
            if not 0 <= priority < DEFAULT_PRIORITY:
                raise ValueError(f"a priority is 0 to {DEFAULT_PRIORITY - 1}, not {priority}")
        filters = [(priority, action_filter(priorities[priority])) for priority in sorted(priorities)]
        for action in self.actions:
            action.priority = next((priority for priority, matches in filters if matches(action)), DEFAULT_PRIORITY)
        self._sorted = sorted(self.actions, key=lambda action: action.priority)

    def actions_sorted(self, prio_only: bool = False) -> list[Action]:
        """Return the actions in the order of their priorities, or the script's if they weren't sorted.

        Args:
            prio_only: whether to leave out those that got no priority.
        """
        if self._sorted is None:
            return [] if prio_only else list(self.actions)
        return [action for action in self._sorted if not prio_only or action.priority < DEFAULT_PRIORITY]

    # Writing (HeroScript 10)

    def canonical(self, include_done: bool = False) -> str:
        """Return the script in the one layout that hashes are made of, without comments of actions and other text.

        Args:
            include_done: whether to write actions that are done.
        """
        texts = [action_text(action) for action in self.actions_sorted() if include_done or not action.done]
        return "\n".join(texts).rstrip("\n") + "\n\n" if texts else ""

    def regenerate(self) -> str:
        """Return the script in that layout, as it was: parsing it gives equal actions, with their comments."""
        return "\n".join(action_source(action) for action in self.actions)

    def hash(self) -> str:
        """Return the BLAKE2b-160 of the actions' hashes, in hex."""
        return hash_text("\n".join(hash_text(action_text(action)) for action in self.actions_sorted()))


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
