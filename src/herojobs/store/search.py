"""A text that somebody searches for, as a query that SQLite's full-text index takes whatever is in it."""

from __future__ import annotations

import re
from typing import NamedTuple

from herojobs.errors import InvalidJob
from herojobs.job import Job

MAX_LENGTH = 2_000
MAX_TERMS = 50
"""Terms that the index is asked for; it refuses expressions that are nested too deeply."""

QUOTE = '"'
_TERM = re.compile(r'"([^"]*)"|(\S+)')


class Search(NamedTuple):
    """What to look for.

    Attributes:
        match: an FTS5 expression, None if no term has a letter or digit, which is all that the index knows.
        literal: texts to look for in the jobs themselves, in lower case.
    """

    match: str | None
    literal: list[str]

    def fits(self, job: Job) -> bool:
        """Return whether a job that the index has found holds the rest, too."""
        if not self.literal:
            return True
        texts = [job.params.lower(), job.result.lower(), job.error.lower()]
        return all(any(text in each for each in texts) for text in self.literal)


def parse(text: str) -> Search:
    """Return the search that a text means: every term must occur, in double quotes as it stands.

    A term outside quotes may be the beginning of a word. Terms of punctuation alone are looked for in the jobs.

    Raises:
        InvalidJob: the text is too long.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidJob("text", text[:40] + "...", f"it has {len(text):,} characters", f"at most {MAX_LENGTH:,}")
    indexed: list[str] = []
    literal: list[str] = []
    for quoted, word in _TERM.findall(text.encode("utf-8", "replace").decode().replace("\0", " ")):
        term = quoted or word
        if not any(map(str.isalnum, term)) or len(indexed) == MAX_TERMS:
            if term.strip():
                literal.append(term.strip().lower())
        else:
            indexed.append(f'"{term}"' if quoted else f'"{term.replace(QUOTE, " ").strip()}" *')
    return Search(" ".join(indexed) or None, literal)
