"""Reads values: bare, quoted, blocks, lists (HeroScript 5.1 to 5.5).

A few compiled expressions do the work. All of them are possessive or search for one character, and a search that found
nothing is remembered, so that any text is read in linear time. Nothing recurses on the input.
"""

from __future__ import annotations

import re

from herojobs.heroscript.errors import HeroScriptError, shortened
from herojobs.heroscript.source import SPACE, Source, dedent

KEY = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.\-]*+):(?!//)")
_BARE = re.compile(r"[^ \t\n,]++")
_COMMA = re.compile(r"[ \t]*+,")
_WORD_COLON = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*+:(?!//)")
_REST_BLANK = re.compile(r"[ \t]*+\n")
_BLANKS = re.compile(r"[ \t\n]*+")
_ESCAPE = re.compile(r"\\(['\"\\n<])|<<BR>>|<BR>")
_ESCAPE_ONLY = re.compile(r"\\(['\"\\n<])")
_BREAK = re.compile(r"<<BR>>|<BR>")
_ACTION_IN_COLUMN_1 = re.compile(r"^!{1,4}+[A-Za-z0-9_]", re.MULTILINE)
_BRACKET = re.compile(
    r"(?<=[\[,:{ \t\n])(?:\"(?:[^\"\\]++|\\.)*+\"|'(?:[^'\\]++|\\.)*+')|[\[\]{}]",
    re.DOTALL,
)
_BREAK_IN_ITEM = re.compile(r"[ \t]*\n[ \t]*")
CLOSERS = {quote: re.compile(r"\n[ \t]*+" + quote + r"[ \t]*+(?=\n|//|<!--|\Z)") for quote in ("'", '"', "'''", '"""')}
"""For each quote, the line that closes a block opened with it."""


def _unescape(found: re.Match[str]) -> str:
    kind = found[1]
    return "\n" if kind is None or kind == "n" else kind


def list_text(items: list[str]) -> str:
    """Return a list as the text of a value: joined by commas, items with a space or a comma in double quotes."""
    return ",".join(
        f'"{item}"' if " " in item or "," in item or "\t" in item or "\n" in item else item for item in items
    )


class Lexer:
    """Reads values out of one source.

    Args:
        source: the text.
        actions: whether action lines end things (a playbook) or are text (params alone).
    """

    def __init__(self, source: Source, actions: bool) -> None:
        self.source = source
        self.text = source.text
        self.size = len(source.text)
        self.actions = actions
        self._next_action = -1
        self._closers: dict[str, tuple[int, int]] = {}

    def error(self, position: int, message: str) -> HeroScriptError:
        """Return a syntax error at a position."""
        return self.source.error(position, "syntax", message)

    def limit(self, position: int) -> int:
        """Return where a quote or bracket opened at `position` must have ended: the next action line, or the end."""
        if not self.actions:
            return self.size
        if self._next_action <= position:
            found = _ACTION_IN_COLUMN_1.search(self.text, position + 1)
            self._next_action = found.start() if found else self.size + 1
            self._closers.clear()
        return min(self._next_action, self.size)

    def quoted(self, start: int, limit: int) -> tuple[str, int]:
        """Read a quoted value or block; return it and the position after the closing quote.

        Args:
            start: position of the opening quote.
            limit: position where it must have ended.

        Raises:
            HeroScriptError: it isn't closed.
        """
        text = self.text
        quote = text[start]
        if text.startswith(quote * 3, start):
            quote *= 3
        inside = start + len(quote)
        opens_block = _REST_BLANK.match(text, inside)
        if opens_block is not None:
            return self._block(start, quote, opens_block.end() - 1, limit)
        end = self._closing(quote, inside, limit)
        if end < 0:
            raise self._unclosed(start, quote, limit)
        raw = text[inside:end]
        if "\n" in raw:
            lines = raw.split("\n")
            raw = "\n".join([lines[0], *dedent(lines[1:])])
            if "\\" in raw:
                raw = _ESCAPE_ONLY.sub(_unescape, raw)
        elif "\\" in raw or "<" in raw:
            raw = _ESCAPE.sub(_unescape, raw)
        return raw.strip(SPACE), end + len(quote)

    def _closing(self, quote: str, inside: int, limit: int) -> int:
        text = self.text
        end = text.find(quote, inside, limit)
        while end > inside and text[end - 1] == "\\":
            first = end - 1
            while first > inside and text[first - 1] == "\\":
                first -= 1
            if (end - first) % 2 == 0:
                break
            end = text.find(quote, end + 1, limit)
        return end

    def _unclosed(self, start: int, quote: str, limit: int) -> HeroScriptError:
        if limit < self.size:
            line, _ = self.source.locate(limit)
            until = f"before the action in line {line}"
        else:
            until = "before the end of the text"
        return self.error(start, f"the quote {quote} that opens here isn't closed {until}")

    def _block(self, start: int, quote: str, line_end: int, limit: int) -> tuple[str, int]:
        text = self.text
        searched, closer = self._closers.get(quote, (self.size + 1, 0))
        if not (searched <= line_end and (closer >= line_end or closer < 0)):
            found = CLOSERS[quote].search(text, line_end, limit)
            closer = found.start() if found else -1
            self._closers[quote] = (line_end, closer)
        if closer >= 0:
            lines = text[line_end + 1 : closer].split("\n") if closer > line_end else []
            end = text.index(quote, closer) + len(quote)
        else:
            lines, end = self._block_without_closing_line(start, quote, line_end, limit)
        return block_text(lines), end

    def _block_without_closing_line(self, start: int, quote: str, line_end: int, limit: int) -> tuple[list[str], int]:
        text = self.text
        lines: list[str] = []
        begin = line_end + 1
        while begin < limit:
            stop = text.find("\n", begin, limit)
            if stop < 0:
                stop = limit
            line = text[begin:stop]
            stripped = line.rstrip(SPACE)
            if stripped.endswith(quote) and stripped.count(quote) % 2:
                return [*lines, stripped[: -len(quote)]], begin + len(stripped)
            lines.append(line)
            begin = stop + 1
        raise self._unclosed(start, quote, limit)

    def bracket(self, start: int) -> tuple[str, list[str] | None, int] | None:
        """Read `[ … ]`; return its text, its items (None if it is taken verbatim), and the position after it.

        Returns None if text follows the bracket (`[ab]*.txt`), so that it is a bare value.

        Raises:
            HeroScriptError: it isn't closed, or is no list.
        """
        text = self.text
        limit = self.limit(start)
        depth = 0
        nested = False
        end = -1
        for found in _BRACKET.finditer(text, start, limit):
            mark = found[0]
            if mark == "[":
                depth += 1
                nested = nested or depth > 1
            elif mark == "]":
                depth -= 1
                if not depth:
                    end = found.end()
                    break
            elif mark in "{}":
                nested = True
        if end < 0:
            raise self.error(start, "the bracket [ that opens here isn't closed")
        if end < self.size and text[end] not in " \t\n,":
            if any(space in text[start:end] for space in SPACE):
                raise self.error(end, "text after the closing bracket ]; quote the whole value to keep it as text")
            return None
        if nested:
            lines = text[start:end].split("\n")
            return "\n".join([lines[0], *dedent(lines[1:])]), None, end
        items = self._bracket_items(start + 1, end - 1)
        return "[" + list_text(items) + "]", items, end

    def _bracket_items(self, position: int, end: int) -> list[str]:
        text = self.text
        items: list[str] = []
        while True:
            position = self._skip_blanks(position, end)
            if position >= end:
                return items
            if text[position] in "'\"":
                item, position = self.quoted(position, end)
                after = self._skip_blanks(position, end)
                if after < end and text[after] != ",":
                    raise self.error(after, "expected a comma or ] after the closing quote")
            else:
                if text.startswith("//", position):
                    raise self.error(position, "no comments inside [ ]; put it above or behind the list")
                after = text.find(",", position, end)
                if after < 0:
                    after = end
                item = _BREAK_IN_ITEM.sub(" ", text[position:after].strip(SPACE))
                if not item:
                    raise self.error(position, "nothing between two commas; write '' for an empty item")
                if "<" in item:
                    item = _BREAK.sub("\n", item).strip(SPACE)
            items.append(item)
            position = after + 1

    def _skip_blanks(self, position: int, end: int) -> int:
        found = _BLANKS.match(self.text, position, end)
        return found.end() if found else position

    def bare(self, start: int) -> tuple[str, int]:
        """Read a bare item of a value: up to white space or a comma."""
        found = _BARE.match(self.text, start)
        if found is None:
            raise self.error(start, "a value can't start with a comma; write '' for an empty item")
        value = found[0]
        if "<" in value:
            value = _BREAK.sub("\n", value).strip(SPACE)
        return value, found.end()

    def comma(self, position: int) -> int:
        """Return the position after a comma that continues a list at `position`, or -1."""
        found = _COMMA.match(self.text, position)
        return found.end() if found else -1

    def check_no_key(self, position: int) -> None:
        """Raise an error if a param starts at `position`, right after a comma."""
        found = _WORD_COLON.match(self.text, position)
        if found is not None:
            raise self.error(
                position, f"comma between params: leave out the comma before {shortened(found[0])} or quote the value"
            )

    def check_after_quote(self, start: int, end: int, also: str = "") -> None:
        """Raise an error unless a quoted value that ends at `end` is followed by something that may follow."""
        text = self.text
        if end < self.size and text[end] not in SPACE + also and not text.startswith("//", end):
            line, column = self.source.locate(start)
            raise self.error(
                end,
                f"text right after the closing quote of the value that opened at line {line}, column {column}; "
                f"write \\{text[start]} for a quote inside it",
            )


def block_text(lines: list[str]) -> str:
    """Return the value of a block: dedented, without blank lines at its ends and white space at its end."""
    lines = dedent(lines)
    first = 0
    while first < len(lines) and not lines[first].strip(" \t"):
        first += 1
    return "\n".join(lines[first:]).rstrip(SPACE)
