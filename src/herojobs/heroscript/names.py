"""Names of actors, actions and keys: one rule fixes them all (HeroScript 4).

Circle and topic names follow another rule, which lives with the jobs.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import lru_cache

_SEPARATORS = re.compile(r"[_ \-;:.]+")
_DROPPED = re.compile(r"[^a-z0-9_ \-;:.]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@lru_cache(maxsize=8192)
def name_fix(name: str) -> str:
    """Return `name` as it is stored and compared; may be empty (HeroScript 4).

    Lower case; cut at the first `#`; runs of `_`, space, `-`, `;`, `:`, `.` become one `_`; everything but
    `a-z 0-9 _` is dropped; an extension (`read_me.txt`) keeps its dot.
    """
    name = name.strip().lower().partition("#")[0]
    dot = name.rfind(".")
    if 0 < dot < len(name) - 1 and "/" not in name[dot:]:
        extension = _fix_part(name[dot + 1 :])
        return _fix_part(name[:dot]) + ("." + extension if extension else "")
    return _fix_part(name)


def _fix_part(part: str) -> str:
    return _SEPARATORS.sub("_", _DROPPED.sub("", part))


def snake_case(name: str) -> str:
    """Return a Python name as an actor or action name: `ReturnJSON` gives `return_json`."""
    return name_fix(_CAMEL.sub("_", name))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean "x"?` for the nearest known name, or nothing when none is near."""
    # Comparing takes quadratic time; no name that anybody meant is that long.
    near = difflib.get_close_matches(name[:100], list(known), n=1, cutoff=0.6)
    return f'; did you mean "{near[0]}"?' if near else ""
