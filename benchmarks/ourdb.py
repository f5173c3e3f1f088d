"""What OurDB costs: `python -m benchmarks.ourdb [folder]`.

Each figure is the best of several rounds, since other programs only ever add time. One record's writes are set against
a bare write of the same bytes, with or without a flush, in the same folder, the two in turn.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import get_args

from herojobs.ourdb import OurDB, SyncPolicy

SIZE = 450
BATCH = 1_000


def record(id: int) -> bytes:
    return (b'{"jobid":%d,"text":"' % id).ljust(SIZE - 2, b"x") + b'"}'


def best(action: Callable[[], object], repeat: int, rounds: int = 7) -> float:
    """Return seconds for one call: `repeat` calls a round, the best round counts."""
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        for _ in range(repeat):
            action()
        times.append((time.perf_counter() - begun) / repeat)
    return min(times)


def side_by_side(one: Callable[[], object], other: Callable[[], object], repeat: int, rounds: int = 15) -> float:
    """Return how much longer `other` takes than `one`: rounds in turn, the median of their ratios.

    A disk's mood changes from one second to the next, so figures of different moments can't be divided.
    """
    ratios = []
    for _ in range(rounds):
        first = best(one, repeat, 1)
        ratios.append(best(other, repeat, 1) / first)
    return statistics.median(ratios)


def bare(folder: Path, flush: bool) -> Callable[[], None]:
    """Return what appends a record's bytes to a plain file."""
    fd = os.open(folder / f"bare{flush}", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    data = bytes(12) + record(1)

    def write() -> None:
        os.write(fd, data)
        if flush:
            os.fdatasync(fd)

    return write


def row(name: str, seconds: float, each: int = 1, ratio: float = 0.0) -> None:
    per_record = seconds / each
    print(f"{name:<38}{per_record * 1e6:10.2f} us {1 / per_record:12,.0f}/s {f'{ratio:8.2f}x' if ratio else ''}")


def writes(folder: Path) -> None:
    plain, flushed = bare(folder, False), bare(folder, True)
    row("bare write", best(plain, 2_000))
    row("bare write + fdatasync", best(flushed, 50))
    for policy in get_args(SyncPolicy):
        against, repeat = (flushed, 20) if policy == "always" else (plain, 2_000)
        with OurDB(folder / policy, sync=policy, dump=False) as db:
            add, add_many = partial(db.add, record), partial(db.add_many, [record] * BATCH)
            add()
            row(f"add, sync={policy}", best(add, repeat), 1, side_by_side(against, add, repeat))
            row(f"add_many of {BATCH:,}, sync={policy}", best(add_many, 5), BATCH)


def reads(folder: Path) -> None:
    path = folder / "reads"
    with OurDB(path, sync="never") as db:
        for _ in range(100):
            db.add_many([record] * BATCH)
        ids = range(5_001, 5_001 + BATCH)
        data = [(id, record(id), None) for id in ids]
        row(f"set_many of {BATCH:,}", best(lambda: db.set_many(data), 3), BATCH)
        row("get", best(lambda: db.get(777), 2_000))
        row(f"tips of {BATCH:,}", best(lambda: db.tips(ids), 3), BATCH)
        depth = len(db.history(5_500))
        row(f"history, a version of {depth}", best(lambda: db.history(5_500), 200), depth)
        count = sum(1 for _ in db.scan())
        row("scan, a version", best(lambda: sum(1 for _ in db.scan()), 1, 3), count)
    opened: list[OurDB] = []
    row("open, 100,000 ids", best(lambda: opened.append(OurDB(path)), 20))
    for each in opened:
        each.close()
    row("open and close", best(lambda: OurDB(path).close(), 20))
    with OurDB(path) as db:
        begun = time.perf_counter()
        db.check(repair=True)
        row("check(repair=True), a version", time.perf_counter() - begun, count)
        begun = time.perf_counter()
        db.compact()
        row("compact, a version", time.perf_counter() - begun, count)


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        print(f"records of {SIZE} bytes\n{'':<38}{'each':>13} {'rate':>14} {'to bare':>9}")
        writes(Path(folder))
        reads(Path(folder))


if __name__ == "__main__":
    main()
