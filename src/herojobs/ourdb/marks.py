"""Small files in `lookup/`: ids not to act on unasked, lengths of finished data files, what deletions have left."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from herojobs.ourdb.files import DataFiles, replace

FOREIGN = "foreign"
UNCERTAIN = "uncertain"
SEALED = "sealed"
GARBAGE = "garbage"


def read(folder: Path, name: str) -> list[int]:
    """Return the ids that a file holds, none if there is none."""
    try:
        return [int(word) for word in (folder / "lookup" / name).read_bytes().split()]
    except (OSError, ValueError):
        return []


def write(folder: Path, name: str, ids: Iterable[int]) -> None:
    """Have a file hold some ids and no others."""
    path = folder / "lookup" / name
    text = "".join(f"{id}\n" for id in sorted(set(ids)))
    if text:
        replace(path, text.encode())
    else:
        path.unlink(missing_ok=True)


def add(folder: Path, name: str, ids: Iterable[int]) -> None:
    """Add ids to a file."""
    ids = list(ids)
    if ids:
        write(folder, name, [*read(folder, name), *ids])


def sealed(folder: Path) -> dict[int, int]:
    """Return the lengths that data files had when the next one was begun, by number."""
    try:
        lines = (folder / "lookup" / SEALED).read_bytes().splitlines()
    except OSError:
        return {}
    found = {}
    for words in map(bytes.split, lines):
        if len(words) == 2 and words[0].isdigit() and words[1].isdigit():  # the last line may be torn
            found[int(words[0])] = int(words[1])
    return found


def seal(folder: Path, files: DataFiles, numbers: Iterable[int]) -> None:
    """Note the lengths of data files after which another one was begun."""
    lines = "".join(f"{number} {files.size(number)}\n" for number in numbers)
    with (folder / "lookup" / SEALED).open("a") as file:
        file.write("\n" + lines)


def seal_all(folder: Path, files: DataFiles, end: int) -> None:
    """Note the lengths of all data files before the one in which the records end."""
    lines = "".join(f"{number} {files.size(number)}\n" for number in files.numbers() if number < end >> 32)
    replace(folder / "lookup" / SEALED, lines.encode())


def as_sealed(folder: Path, before: int) -> bool:
    """Return whether the data files before a number have the lengths that they had when they were finished."""
    lengths = sealed(folder)
    try:
        return all(os.stat(f"{folder}/{n}.db").st_size == lengths.get(n, -1) for n in range(before))
    except FileNotFoundError:
        return False


def garbage(folder: Path) -> int:
    """Return how many bytes deletions have left since the last compaction, as far as they were counted."""
    return sum(read(folder, GARBAGE))


def add_garbage(folder: Path, count: int) -> None:
    """Count bytes that a deletion has left; nothing but the time of a compaction depends on it."""
    path = folder / "lookup" / GARBAGE
    with contextlib.suppress(OSError):
        replace(path, b"%d\n" % (garbage(folder) + count), sync=False)
