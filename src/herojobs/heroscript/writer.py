"""Writes params and actions back as text, and hashes them (HeroScript 10).

The layout is the original's, exactly, since hashes depend on it; where that wouldn't read back as it was, it is written
so that it does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from hashlib import blake2b, sha256
from typing import NamedTuple

from herojobs.heroscript.action import TYPES, Action
from herojobs.heroscript.lexer import CLOSERS, block_text
from herojobs.heroscript.names import name_fix
from herojobs.heroscript.params import PRESORT, Param, Params
from herojobs.heroscript.source import SPACE

_ACTION_PRESORT = ("id", "cid", "oid", "name")
_ACTION_POSTSORT = ("mtime", "ctime", "time")
_ACTION_COLUMNS = 30
_INDENT = "    "
_LONG_VALUE = 25
_ALWAYS_QUOTED = frozenset(("cid", "oid", "gid"))

_ITEM = r"(?!['\"]|//)[^ \t\n,:]++"
# A first item that starts with [ would be read as a bracket, so only a plain list in brackets may.
_BARE = re.compile(
    rf"(?!\[){_ITEM}(?:,{_ITEM})*+|\[(?:(?!['\"]|//)[^ \t\n,:\[\]{{}}]++(?:,(?!['\"]|//)[^ \t\n,:\[\]{{}}]++)*+)?\]"
)
_BARE_ITEM = re.compile(r"(?!['\"\[]|//)[^ \t\n,:]++")
_BARE_ARG = re.compile(r"(?!['\"!,]|//|<!--)(?:[^ \t\n:]++|[A-Za-z0-9_][A-Za-z0-9_.\-]*+://[^ \t\n]*+)")
_BREAK = re.compile(r"<(?=<BR>>|BR>)")
_BACKSLASH = re.compile(r"\\(?=['\"\\n<\n]|\Z)")


class ExportItem(NamedTuple):
    """One part of exported params.

    Attributes:
        key: the key, or the text of an arg, or empty for the comments of args.
        text: how it is written, without its comment; a block or a comment has several lines.
        comment: its comment.
        first_line: whether it stands on the first line.
        block: whether its value is a block, so that its comment stands above.
        is_arg: whether it is a positional value.
    """

    key: str
    text: str
    comment: str
    first_line: bool
    block: bool = False
    is_arg: bool = False


def quoted(value: str) -> str:
    """Return a value on one line in `'…'`, escaped."""
    value = _BACKSLASH.sub(r"\\\\", value)
    value = _BREAK.sub(r"\\<", value)
    return "'" + value.replace("'", "\\'").replace("\n", "\\n") + "'"


def _one_line(key: str, value: str) -> str:
    if key in _ALWAYS_QUOTED or not _BARE.fullmatch(value) or "<BR>" in value:
        return quoted(value)
    return value


def _arg_text(arg: str) -> str:
    return arg if _BARE_ARG.fullmatch(arg) and "<BR>" not in arg else quoted(arg)


def _list(items: Sequence[str], bracket: bool) -> str:
    """Return a list as it would be written by hand, so that it is read as the same items."""
    texts = []
    for item in items:
        bare = _BARE_ITEM.fullmatch(item) and "<BR>" not in item
        if bare and bracket:
            bare = not any(mark in item for mark in "[]{}")
        texts.append(item if bare else quoted(item))
    text = ", ".join(texts)
    return f"[{text}]" if bracket else text


def _block(value: str, prefix: str = "") -> str | None:
    """Return a value of several lines as a block, None if no block gives it back."""
    if block_text(value.split("\n")) != value:
        return None
    for quote, closer in CLOSERS.items():
        if not closer.search("\n" + value):
            lines = [_INDENT + line for line in value.split("\n")]
            return "\n".join([prefix + quote, *lines, _INDENT + quote])
    return None


def _param_text(param: Param, own: bool, indent: str) -> tuple[str, bool]:
    """Return a param as text and whether that is a block."""
    key, value = param.key, param.value
    if own and param.items is not None:
        return f"{key}:{_list(param.items, value.startswith('['))}", False
    if "\n" in value:
        block = _block(value, key + ":")
        if block is not None:
            return block, True
        if value != value.strip(SPACE):
            # Only lines below an empty key can have given this value, so they can give it again.
            lines = [indent + _INDENT + line if line else "" for line in value.split("\n")]
            return "\n".join([key + ":", *lines]), True
    return f"{key}:{_one_line(key, value)}", False


def export_items(
    params: Params,
    presort: Sequence[str] = PRESORT,
    postsort: Sequence[str] = (),
    maxcolsize: int = 120,
    indent: str = "",
    *,
    own: bool = False,
) -> list[ExportItem]:
    """Return the parts of params in the order they are written.

    Args:
        params: the params.
        presort: keys that come first.
        postsort: keys that come last.
        maxcolsize: once the first line is longer, keys go on lines of their own.
        indent: stands before the first line of each key below.
        own: whether args and lists keep their own order and spelling; else the canonical one.
    """
    items = []
    size = 0
    if params.comments and not own:
        items.append(ExportItem("", _comment_lines(params.comments), "", first_line=False))
    args: Iterable[str] = params.args if own else sorted(map(name_fix, params.args), key=_bytes)
    below: list[ExportItem] = []
    for arg in args:
        block = _block(arg) if own and arg != arg.strip(SPACE) else None
        if block is not None or below:
            # Only a block keeps white space at the start; args keep their order, so the later ones follow it.
            below.append(ExportItem(arg or "''", block or quoted(arg), "", first_line=False, block=True, is_arg=True))
            continue
        size += len(arg) + 1
        items.append(ExportItem(arg or "''", _arg_text(arg) if own else arg, "", first_line=True, is_arg=True))
    for param in _sorted(params.table, presort, postsort):
        text, is_block = _param_text(param, own, indent)
        value = text[len(param.key) + 1 :]
        long = len(_bytes(param.value)) > _LONG_VALUE or "\\n" in value or "\n" in text
        if long or param.comment or size > maxcolsize:
            below.append(ExportItem(param.key, text, param.comment, first_line=False, block=is_block))
        else:
            size += len(param.key) + len(value) + 2
            items.append(ExportItem(param.key, text, "", first_line=True))
    return items + below


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _sorted(table: dict[str, Param], presort: Sequence[str], postsort: Sequence[str]) -> list[Param]:
    special = {*presort, *postsort}
    keys = [key for key in presort if key in table]
    keys += sorted((key for key in table if key not in special), key=_bytes)
    keys += [key for key in postsort if key in table]
    return [table[key] for key in keys]


def _comment_lines(comments: Iterable[str]) -> str:
    return "\n".join(f"// {line}" for comment in comments for line in comment.split("\n"))


def export_lines(items: Sequence[ExportItem], indent: str = "", pre: str = "") -> list[str]:
    """Return the parts as lines: comments of args, the first line, what stands below.

    Args:
        items: the parts.
        indent: stands before the first line of each key below.
        pre: starts the first line; empty if there is nothing before the params.
    """
    lines = [item.text for item in items if not item.key and not item.first_line]
    first = " ".join([pre] * bool(pre) + [item.text for item in items if item.first_line])
    if first:
        lines.append(first)
    for item in items:
        if not item.first_line and item.key:
            comment = item.comment.split("\n") if item.comment else []
            if item.block:
                above = [f" // {line}" for line in comment]
            elif len(comment) > 1:
                above = [f"// {line}" for line in comment]
            else:
                above = []
            behind = f" //{comment[0]}" if comment and not above else ""
            lines.append(indent + "\n".join([*above, item.text + behind]))
    return "\n".join(lines).split("\n") if lines else []


def export(
    params: Params,
    presort: Sequence[str] = PRESORT,
    postsort: Sequence[str] = (),
    maxcolsize: int = 120,
    indent: str = "",
    pre: str = "",
) -> str:
    """Return params as canonical text; the arguments are those of `Params.export`."""
    return "\n".join(export_lines(export_items(params, presort, postsort, maxcolsize, indent), indent, pre))


def export_one_line(params: Params) -> str:
    """Return params as one line, for hashing only: it isn't read back."""
    parts = []
    for item in export_items(params):
        if not item.key:
            parts.append(_short_comment("\n".join(params.comments)))
            continue
        if item.comment:
            parts.append(_short_comment(item.comment))
        param = None if item.is_arg else params.table[item.key]
        parts.append(item.text if param is None else f"{param.key}:{_one_line(param.key, param.value)}")
    return " ".join(parts)


def _short_comment(comment: str) -> str:
    return "//" + comment.replace("\n", "\\n") + "-/"


def hexhash(params: Params) -> str:
    """Return the SHA-256 of the one-line form, in hex; equal params in any order hash alike."""
    return sha256(_bytes(export_one_line(params))).hexdigest()


def action_text(action: Action) -> str:
    """Return an action as canonical text; its comments aren't part of it."""
    head = f"{'!' * (TYPES.index(action.type) + 1)}{action.actor}.{action.name} id:{action.id} "
    items = export_items(action.params, _ACTION_PRESORT, _ACTION_POSTSORT, _ACTION_COLUMNS, _INDENT)
    lines = export_lines(items, _INDENT)
    if not lines:
        return head
    first = lines.pop(0) if items[0].first_line or not items[0].key else ""
    return "\n".join([(head + first).rstrip(SPACE), *(_INDENT + line for line in lines)]) + "\n"


def action_source(action: Action) -> str:
    """Return an action as text that reads back as it is, with its comments; ends with a line break."""
    params = action.params
    lines = []
    if action.comments:
        lines = [f"// {line}" for line in action.comments.split("\n")]
    items = export_items(params, _ACTION_PRESORT, _ACTION_POSTSORT, _ACTION_COLUMNS, _INDENT, own=True)
    identity = action.id_param
    if identity is not None:
        text, block = _param_text(identity, True, _INDENT)
        items.insert(0, ExportItem("id", text, "", first_line="\n" not in text, block=block))
    head = f"{'!' * (TYPES.index(action.type) + 1)}{action.actor}.{action.name}"
    body = export_lines(items, _INDENT, head)
    lines += [body[0], *(_INDENT + line for line in body[1:])]
    if params.comments:
        lines += [_INDENT + line for line in _comment_lines(params.comments).split("\n")]
    return "\n".join(lines) + "\n"


def hash_text(text: str) -> str:
    """Return the BLAKE2b-160 of a text, in hex."""
    return blake2b(_bytes(text), digest_size=20).hexdigest()
