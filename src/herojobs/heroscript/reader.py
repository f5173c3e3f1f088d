"""Reads the params of one action, or params that stand alone (HeroScript 5)."""

from __future__ import annotations

import re
from typing import NamedTuple

from herojobs.heroscript.errors import shortened
from herojobs.heroscript.lexer import KEY, Lexer, block_text, list_text
from herojobs.heroscript.names import name_fix
from herojobs.heroscript.params import Param, Params
from herojobs.heroscript.source import SPACE, Source, width

_PARAM = r"""
    ([A-Za-z0-9_][A-Za-z0-9_.\-]*+):(?!//)[ \t]*+
    (?: (?!//)([^ \t\n,'"\[<][^ \t\n,<]*+) | '([^'\\\n<]*+)' | "([^"\\\n<]*+)" )
    (?=[ \t\n]|\Z) (?![ \t]*+,)
"""
# The commonest kinds of params, each in one match: a bare or plainly quoted value, on this line or on a line below.
_IN_ACTION = re.compile(r"(?:[ \t]*+(\n(?:[ \t]*+\n)*+(?:\t|[ ][ \t]))?+[ \t]*+)" + _PARAM, re.VERBOSE)
_ALONE = re.compile(r"[ \t]*+(\n[ \t\n]*+)?+" + _PARAM, re.VERBOSE)

_SPACES = re.compile(r"[ \t]*+")
_TOKEN = re.compile(r"[^ \t\n]++")
_LINE = re.compile(r"\n(?:[ \t]*+\n)*+([ \t]*+)")
_WHOLE_LINE = re.compile(r"\n([ \t]*+)([^\n]*+)")

_CACHED_KEYS = 4096
_keys: dict[str, str] = {}


class Duplicate(NamedTuple):
    """A key that was given twice; the last value wins."""

    key: str
    position: int


def comment_text(raw: str) -> str:
    """Return the text of one line of a comment, without its slashes."""
    return raw.lstrip("/ \t").rstrip(SPACE)


class ParamsReader:
    """Reads params from a position on, up to the end of the action or text.

    Args:
        lexer: reads the values.
        start: position after the action's name, or of the text's start.
    """

    def __init__(self, lexer: Lexer, start: int) -> None:
        self.lexer = lexer
        self.text = lexer.text
        self.size = lexer.size
        self.actions = lexer.actions
        self.position = start
        self.params = Params()
        self.params.source = lexer.source
        self.duplicates: list[Duplicate] = []
        self._on_action_line = lexer.actions
        # A comment at the end of a line belongs to the line's first item: a Param, or the Params when that is an arg.
        self._first: Param | Params | None = None
        self._pending: list[str] = []
        # Joined at the end, since one item may have any number.
        self._behind: dict[Param, list[str]] = {}

    def read(self) -> int:
        """Read all params; return the position of the line end that ends them, or of the text's end."""
        match = (_IN_ACTION if self.actions else _ALONE).match
        text = self.text
        table = self.params.table
        keys = _keys
        position = self.position
        while True:
            found = match(text, position)
            if found is not None:
                raw = found[2]
                key = keys.get(raw) or _fix_key(raw)
                kind = found.lastindex or 0
                value = found[kind]
                if kind == 3:
                    param = Param(key, value, None, found.start(2), found.start(3))
                else:
                    param = Param(key, value.strip(SPACE), None, found.start(2), found.start(kind) - 1)
                if found.start(1) >= 0:
                    self._first = param
                    self._on_action_line = False
                elif self._first is None:
                    self._first = param
                if self._pending:
                    param.comment = self._take_pending()
                if key in table:
                    self._duplicate(param)
                table[key] = param
                position = found.end()
                continue
            position = self._other(position)
            if position < 0:
                self._finish()
                return self.position

    def _other(self, position: int) -> int:
        """Read whatever the fast expression doesn't know; return the position behind it, -1 at the end."""
        text = self.text
        found = _SPACES.match(text, position)
        if found is not None:
            position = found.end()
        if position >= self.size:
            self.position = position
            return -1
        if text[position] == "\n":
            following = self._next_line(position)
            if following < 0:
                self.position = position
                return -1
            self._first = None
            self._on_action_line = False
            return following
        if text.startswith("//", position):
            return self._line_comment(position)
        if text.startswith("<!--", position):
            return self._long_comment(position)
        key = KEY.match(text, position)
        if key is not None:
            return self._param(key)
        return self._arg(position)

    def _finish(self) -> None:
        if self._pending:
            comment = self._take_pending()
            if comment:
                self.params.comments.append(comment)
        for param, comments in self._behind.items():
            param.comment = "\n".join([param.comment] * bool(param.comment) + comments)

    # Lines

    def _next_line(self, position: int) -> int:
        """Return where the next line's content starts, or -1 if that line isn't part of these params.

        Args:
            position: position of a line end.
        """
        following = self._content_line(position)
        if following >= 0 or following == -1:
            return following
        # Unindented comments belong in here if what follows them does.
        text = self.text
        comments = []
        following = -following
        while True:
            end = text.find("\n", following)
            if end < 0:
                return -1
            comments.append(comment_text(text[following:end]))
            following = self._content_line(end)
            if following == -1:
                return -1
            if following >= 0:
                self._pending += comments
                return following
            following = -following

    def _content_line(self, position: int) -> int:
        """As `_next_line`; an unindented comment gives its position, negative."""
        text = self.text
        found = _LINE.match(text, position)
        if found is None or found.end() >= self.size:
            return -1
        following = found.end()
        if not self.actions:
            return following
        if text[following] == "!" and not text.startswith("![", following):
            return -1
        if width(found[1]) >= 2:
            return following
        return -following if text.startswith("//", following) else -1

    # Comments

    def _line_comment(self, position: int) -> int:
        end = self.text.find("\n", position)
        if end < 0:
            end = self.size
        self._comment(comment_text(self.text[position:end]))
        return end

    def _long_comment(self, position: int) -> int:
        end = self.text.find("-->", position + 4)
        if end < 0:
            raise self.lexer.error(position, "the comment <!-- that opens here isn't closed by -->")
        lines = self.text[position + 4 : end].split("\n")
        self._comment("\n".join(comment_text(line) for line in lines).strip("\n"))
        return end + 3

    def _comment(self, comment: str) -> None:
        first = self._first
        if first is None:
            self._pending.append(comment)
        elif comment:
            if isinstance(first, Params):
                first.comments.append(comment)
            else:
                self._behind.setdefault(first, []).append(comment)

    def _take_pending(self) -> str:
        comment = "\n".join(self._pending).strip("\n")
        self._pending.clear()
        return comment

    # Args and params

    def _arg(self, position: int) -> int:
        text = self.text
        if text[position] in "'\"":
            value, end = self.lexer.quoted(position, self.lexer.limit(position))
            self.lexer.check_after_quote(position, end)
        else:
            value, end = self._bare_arg(position)
        params = self.params
        params.args.append(value)
        params.arg_positions.append(position)
        if self._pending:
            comment = self._take_pending()
            if comment:
                params.comments.append(comment)
        # A quoted arg may have ended on another line than it started: that line's first item is this one.
        if self._first is None or "\n" in text[position:end]:
            self._first = params
        return end

    def _bare_arg(self, position: int) -> tuple[str, int]:
        found = _TOKEN.match(self.text, position)
        assert found is not None
        token = found[0]
        if ":" in token:
            before = token.partition(":")[0]
            if not before:
                raise self.lexer.error(position, "a key must stand right before the colon, as in key: value")
            if not KEY.match(before + ":"):
                raise self.lexer.error(
                    position,
                    f'"{shortened(before)}" can\'t be a key (letters, digits and _ . -); quote it to make it an arg',
                )
        if "<" in token:
            token = token.replace("<<BR>>", "\n").replace("<BR>", "\n").strip(SPACE)
        return token, found.end()

    def _param(self, found: re.Match[str]) -> int:
        text = self.text
        param = Param(_fix_key(found[1]), "", None, found.start(), found.end())
        if self._pending:
            param.comment = self._take_pending()
        own_line = self._first is None and not self._on_action_line
        if self._first is None:
            self._first = param
        position = self._skip_comments_behind_key(found.end())
        if position >= self.size or text[position] == "\n":
            position = self._value_below(param, position, own_line)
        else:
            position = self._value(param, position)
        if "\n" in text[param.position : position]:
            self._first = param
        if param.key in self.params.table:
            self._duplicate(param)
        self.params.table[param.key] = param
        return position

    def _skip_comments_behind_key(self, after_colon: int) -> int:
        text = self.text
        position = after_colon
        while True:
            spaces = _SPACES.match(text, position)
            if spaces is not None:
                position = spaces.end()
            if position == after_colon:
                return position
            if text.startswith("//", position):
                position = self._line_comment(position)
            elif text.startswith("<!--", position):
                position = self._long_comment(position)
            else:
                return position

    def _value_below(self, param: Param, line_end: int, own_line: bool) -> int:
        """Read the value of a key with nothing behind it on its line (HeroScript 5.4)."""
        text = self.text
        following = self._content_line(line_end)
        if following < 0:
            return line_end
        if text[following] in "'\"":
            return self._value(param, following)
        if not own_line:
            return line_end
        own_start = text.rfind("\n", 0, param.position) + 1
        spaces = _SPACES.match(text, own_start)
        margin = width(spaces[0]) if spaces else 0
        lines: list[str] = []
        count, end = 0, line_end
        for line in _WHOLE_LINE.finditer(text, line_end):
            indent, rest = line[1], line[2]
            if rest:
                if width(indent) <= margin or (self.actions and rest[0] == "!" and not rest.startswith("![")):
                    break
                count, end = len(lines) + 1, line.end()
            lines.append(indent + rest)
        if not count:
            return line_end
        param.value = block_text(lines[:count])
        param.value_position = following
        return end

    def _value(self, param: Param, start: int) -> int:
        """Read a value: one item, a list, or a bracket; return the position behind it."""
        lexer = self.lexer
        text = self.text
        param.value_position = start
        position = start
        if text[start] == "[":
            bracket = lexer.bracket(start)
            if bracket is not None:
                param.value, param.items, position = bracket
                after = lexer.comma(position)
                if after < 0:
                    return position
                following = self._skip_to_item(param, after)
                if following >= 0:
                    lexer.check_no_key(following)
                    raise lexer.error(following, "a list in brackets ends the value; put all items inside the [ ]")
                return after
        items: list[str] = []
        while True:
            if text[position] in "'\"":
                item, end = lexer.quoted(position, lexer.limit(position))
                lexer.check_after_quote(position, end, ",")
            else:
                item, end = lexer.bare(position)
            items.append(item)
            after = lexer.comma(end)
            if after < 0:
                break
            end = after
            following = self._skip_to_item(param, after)
            if following < 0:
                break
            lexer.check_no_key(following)
            position = following
        if len(items) > 1:
            param.items = [item.strip(SPACE) for item in items]
            param.value = list_text(param.items)
        else:
            param.value = items[0]
        return end

    def _skip_to_item(self, param: Param, position: int) -> int:
        """Return where a list goes on after a comma, over line ends and comments; -1 if it doesn't."""
        text = self.text
        while True:
            spaces = _SPACES.match(text, position)
            if spaces is not None:
                position = spaces.end()
            if position >= self.size:
                return -1
            if text[position] == "\n":
                position = self._next_line(position)
                if position < 0:
                    return -1
                if self._pending:
                    self._first = param
                    self._comment(self._take_pending())
            elif text.startswith("//", position):
                position = self._line_comment(position)
            else:
                return position

    def _duplicate(self, param: Param) -> None:
        del self.params.table[param.key]
        self.duplicates.append(Duplicate(param.key, param.position))


def _fix_key(raw: str) -> str:
    if len(_keys) >= _CACHED_KEYS:
        _keys.clear()
    key = _keys[raw] = name_fix(raw)
    return key


def read_params(source: Source) -> Params:
    """Read params that stand alone, without an action line."""
    reader = ParamsReader(Lexer(source, actions=False), 0)
    reader.read()
    return reader.params
