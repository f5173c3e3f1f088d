"""Filters over actions and params: names with globs (HeroScript 6.1 and 7)."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from herojobs.heroscript.names import name_fix

if TYPE_CHECKING:
    from herojobs.heroscript.action import Action
    from herojobs.heroscript.params import Params


@lru_cache(maxsize=1024)
def glob(pattern: str) -> Callable[[str], re.Match[str] | None]:
    """Return what matches a glob: `*` any text, `?` any character, `[abc]` one of these, `[^abc]` none of these."""
    return re.compile(fnmatch.translate(pattern.replace("[^", "[!"))).match


def is_glob(pattern: str) -> bool:
    """Whether a pattern is more than a plain text."""
    return any(mark in pattern for mark in "*?[")


@lru_cache(maxsize=1024)
def action_filter(text: str) -> Callable[[Action], bool]:
    """Return what matches `actor.name` patterns with commas between them; the empty filter matches all."""
    entries = [_entry(part.strip()) for part in text.split(",") if part.strip()]
    if not entries:
        return lambda action: True
    return lambda action: any(actor(action.actor) and name(action.name) for actor, name in entries)


def _entry(text: str) -> tuple[Callable[[str], object], Callable[[str], object]]:
    text = text.replace(":", ".")
    if "." not in text:
        return _side("core"), _side(text)
    return _side(text.partition(".")[0]), _side(text.rpartition(".")[2])


def _side(text: str) -> Callable[[str], object]:
    text = text.strip()
    if not text:
        return lambda name: True
    if is_glob(text):
        return glob(text.lower())
    return name_fix(text).__eq__


def params_match(params: Params, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Return whether one of `include` matches (or there is none) and none of `exclude` does."""
    if include and not any(_all_terms(params, entry) for entry in include):
        return False
    return not any(_all_terms(params, entry) for entry in exclude)


def _all_terms(params: Params, entry: str) -> bool:
    return all(_term(params, term.strip()) for term in entry.split("+"))


def _term(params: Params, term: str) -> bool:
    key, colon, value = term.partition(":")
    if not colon:
        if is_glob(term):
            matches = glob(term.lower())
            return any(matches(arg.lower()) for arg in params.args)
        return params.exists_arg(term)
    param = params.table.get(name_fix(key))
    if param is None:
        return False
    return bool(glob(value.strip())(param.value)) if is_glob(value) else param.value == value.strip()
