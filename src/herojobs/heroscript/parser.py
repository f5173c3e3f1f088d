"""Reads a script: which lines are actions, comments, other text (HeroScript 2 and 3)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from herojobs.heroscript.action import TYPES, Action
from herojobs.heroscript.errors import HeroScriptError, shortened
from herojobs.heroscript.lexer import KEY, Lexer
from herojobs.heroscript.names import name_fix
from herojobs.heroscript.reader import ParamsReader, comment_text
from herojobs.heroscript.source import Source

_BLANK_LINES = re.compile(r"(?:[ \t]*+\n)++")
_HEAD = re.compile(r"[ \t]*+(!++)(?!\[)([^ \t\n]*+)")
_INDENT = re.compile(r"[ \t]*+")
MAX_ERRORS = 100
"""Most problems that are collected of one text."""

_ANY_ACTION_LINE = re.compile(r"^[ \t]*+!(?!\[)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Note:
    """Something odd that is no error.

    Attributes:
        line: line in the text as submitted, from 1.
        column: column in that line, from 1.
        message: what is odd.
    """

    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.message}"


@dataclass(slots=True)
class Parsed:
    """What a text holds."""

    actions: list[Action] = field(default_factory=list)
    other_text: list[str] = field(default_factory=list)
    warnings: list[Note] = field(default_factory=list)


class Parser:
    """Parses one source.

    Args:
        source: the text.
        strict: whether a param that somebody forgot to indent is an error (else a warning).
        errors: where problems are collected; None to raise the first.
    """

    def __init__(self, source: Source, strict: bool, errors: list[HeroScriptError] | None = None) -> None:
        self._source = source
        self._text = source.text
        self._lexer = Lexer(source, actions=True)
        self._strict = strict
        self._errors = errors
        self._result = Parsed()
        # The `//` lines since the last action or text, as (text, source line).
        self._comments: list[tuple[str, str]] = []
        # Whether the line before, without a blank one in between, belongs to an action.
        self._under_action = False

    def parse(self, first_id: int = 1) -> Parsed:
        """Return what the text holds.

        Args:
            first_id: number of the first action.

        Raises:
            HeroScriptError: the first problem, unless they are collected.
        """
        text = self._text
        size = len(text)
        actions = self._result.actions
        position = 0
        while position < size:
            blank = _BLANK_LINES.match(text, position)
            if blank is not None:
                self._blank()
                position = blank.end()
                if position >= size:
                    break
            head = _HEAD.match(text, position)
            if head is not None:
                try:
                    action, position = self._action(head, first_id + len(actions))
                    actions.append(action)
                except HeroScriptError as error:
                    position = self._recover(error, position)
                self._under_action = True
            else:
                position = self._other_line(position)
            # What was read ends at a line end.
            position += 1
        self._result.other_text += [line for _, line in self._comments]
        return self._result

    def _action(self, head: re.Match[str], number: int) -> tuple[Action, int]:
        marks, name = head[1], head[2]
        start = head.start(1)
        if len(marks) > 4:
            raise self._lexer.error(start, f"an action has one to four exclamation marks, not {len(marks)}")
        actor, action_name = self._names(name, head)
        reader = ParamsReader(self._lexer, head.end())
        end = reader.read()
        params = reader.params
        params.position = start
        given = params.table.pop("id", None) if "id" in params.table else None
        if given is not None and given.comment:
            params.comments.append(given.comment)
        action = Action(
            actor,
            action_name,
            TYPES[len(marks) - 1],
            params,
            comments=self._take_comments() if self._comments else "",
            id_param=given,
            id=number,
            source=self._source,
            position=start,
        )
        for key, at in reader.duplicates:
            note = Note(*self._source.locate(at), f'"{shortened(key)}" is given twice; the last value wins')
            self._result.warnings.append(note)
        return action, end

    def _names(self, name: str, head: re.Match[str]) -> tuple[str, str]:
        at = head.start(2)
        if not name:
            raise self._lexer.error(head.start(1), "an action's name must follow right after the exclamation marks")
        parts = name.split(".")
        if len(parts) > 2:
            raise self._lexer.error(
                at, f'"{shortened(name)}" has {len(parts)} parts; an action is actor.action or action'
            )
        fixed = [name_fix(part) for part in parts]
        if not all(fixed):
            raise self._lexer.error(
                at, f'nothing is left of a part of the name "{shortened(name)}"; use letters and digits'
            )
        if len(fixed) == 1:
            return "core", fixed[0]
        return fixed[0], fixed[1]

    def _recover(self, error: HeroScriptError, position: int) -> int:
        """Collect an error and return the line end before the next action line."""
        self._collect(error)
        self._comments.clear()
        after = max(position, self._source.line_start(error.line))
        line_end = self._text.find("\n", after)
        found = _ANY_ACTION_LINE.search(self._text, line_end + 1) if line_end >= 0 else None
        return found.start() - 1 if found else len(self._text)

    def _collect(self, error: HeroScriptError) -> None:
        # The limit keeps collecting linear: each problem may cost one look at the rest of the text.
        if self._errors is None or len(self._errors) >= MAX_ERRORS:
            raise error
        self._errors.append(error)

    def _other_line(self, position: int) -> int:
        """Read a comment or a line of other text; return the position of its end."""
        text = self._text
        indent = _INDENT.match(text, position)
        content = indent.end() if indent else position
        end = text.find("\n", position)
        if end < 0:
            end = len(text)
        if text.startswith("//", content):
            self._comments.append((comment_text(text[content:end]), text[content:end]))
            return end
        if text.startswith("<!--", content):
            closing = text.find("-->", content + 4)
            if closing < 0:
                self._collect(self._lexer.error(content, "the comment <!-- that opens here isn't closed by -->"))
                closing = len(text)
            end = text.find("\n", closing)
            if end < 0:
                end = len(text)
        elif self._under_action:
            self._check_forgotten_indent(content)
        self._other(text[position:end])
        return end

    def _check_forgotten_indent(self, content: int) -> None:
        found = KEY.match(self._text, content)
        if found is None:
            return
        error = self._lexer.error(
            content,
            f'"{shortened(found[0])}" is not indented, so it is no param of the action above; indent it by two spaces',
        )
        if self._strict:
            self._collect(error)
        else:
            self._result.warnings.append(Note(error.line, error.column, error.message))

    def _blank(self) -> None:
        self._under_action = False
        other = self._result.other_text
        if other and other[-1] and not self._comments:
            other.append("")

    def _other(self, line: str) -> None:
        other = self._result.other_text
        other += [source for _, source in self._comments]
        self._comments.clear()
        self._under_action = False
        other.append(line)

    def _take_comments(self) -> str:
        comments = "\n".join(comment for comment, _ in self._comments).strip("\n")
        self._comments.clear()
        return comments
