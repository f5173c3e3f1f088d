"""New versions of records, each accepted only if its record is as its writer knows it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import TYPE_CHECKING

from herojobs.ourdb.commit import Commit

if TYPE_CHECKING:
    from herojobs.ourdb.db import OurDB

CHAINED = -1
"""Condition of `set_many`: the item before of the same id, in the same batch, was accepted."""


def follow(db: OurDB, commit: Commit, items: Sequence[tuple[int, bytes, int | None]]) -> list[int | None]:
    """Add versions to a commit, each under its condition; see `OurDB.set_many`."""
    if len(items) < 2:
        return _follow_singly(db, commit, items)
    ids, data, conditions = zip(*items, strict=True)
    db.check_id(min(ids))
    db.check_id(max(ids))
    if len(set(ids)) < len(ids):
        return _follow_singly(db, commit, items)
    previous = commit.locate_many(ids)
    fits = [
        (after is None or after == at) and bool(at or not db.incremental)
        for at, after in zip(previous, conditions, strict=True)
    ]
    if all(fits):
        located = commit.extend(data, previous)
        commit.entries.update(zip(ids, located, strict=True))
        return list(located)
    located = commit.extend(list(compress(data, fits)), list(compress(previous, fits)))
    commit.entries.update(zip(compress(ids, fits), located, strict=True))
    places = iter(located)
    return [next(places) if fit else None for fit in fits]


def _follow_singly(db: OurDB, commit: Commit, items: Sequence[tuple[int, bytes, int | None]]) -> list[int | None]:
    """Add versions of which several may be one id's."""
    located: list[int | None] = []
    accepted: set[int] = set()
    for id, data, condition in items:
        db.check_id(id)
        at = commit.locate(id)
        fits = condition is None or condition == at or (condition == CHAINED and id in accepted)
        if fits and (at or not db.incremental):
            if not data:
                raise ValueError("a record must not be empty")
            commit.entries[id] = location = commit.append(data, at)
            accepted.add(id)
            located.append(location)
        else:
            accepted.discard(id)
            located.append(None)
    return located
