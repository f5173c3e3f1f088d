"""What OurDB's calls cost: `python -m benchmarks.ourdb`. Records of 400 bytes, on the disk of the temporary folder."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from herojobs.ourdb import OurDB

DATA = b"x" * 400


def rate(count: int, work: Callable[[], object]) -> float:
    """Return how many of `count` things are done a second."""
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def bare(folder: Path, count: int, sync: bool) -> float:
    """Return the rate of plain writes of the same bytes, with or without fdatasync."""
    fd = os.open(folder / "bare", os.O_CREAT | os.O_WRONLY)

    def work() -> None:
        for n in range(count):
            os.pwrite(fd, DATA, n * len(DATA))
            if sync:
                os.fdatasync(fd)

    found = rate(count, work)
    os.close(fd)
    return found


def main() -> None:
    rows: list[tuple[str, float]] = []
    with tempfile.TemporaryDirectory(prefix="hj-ourdb-") as name:
        folder = Path(name)
        rows.append(("bare write and fdatasync", bare(folder, 500, True)))
        with OurDB(folder / "always", sync="always") as db:
            rows.append(("add, always", rate(500, lambda: [db.add(DATA) for _ in range(500)])))
        rows.append(("bare write", bare(folder, 20_000, False)))
        for sync in ("interval", "never"):
            with OurDB(folder / sync, sync=sync) as db:
                rows.append((f"add, {sync}", rate(10_000, lambda db=db: [db.add(DATA) for _ in range(10_000)])))  # type: ignore[misc]
        with OurDB(folder / "bulk") as db:
            rows.append(("add_many of 1,000", rate(100_000, lambda: [db.add_many([DATA] * 1000) for _ in range(100)])))

            def advance() -> None:
                for start in range(1, 50_001, 100):
                    ids = range(start, start + 100)
                    db.set_many([(id, DATA, tip and tip[0]) for id, tip in zip(ids, db.tips(ids), strict=True)])

            rows.append(("tips and set_many of 100", rate(50_000, advance)))
            rows.append(("get", rate(20_000, lambda: [db.get(id) for id in range(1, 20_001)])))
            rows.append(("history of two", rate(20_000, lambda: [db.history(id) for id in range(1, 20_001)])))
            rows.append(("scan", rate(150_000, lambda: sum(1 for _ in db.scan()))))

        def reopen() -> None:
            for _ in range(200):
                OurDB(folder / "bulk").close()

        rows.append(("open and close", rate(200, reopen)))
    table = Table("call", "a second", "µs each")
    for name, each in rows:
        table.add_row(name, f"{each:,.0f}", f"{1e6 / each:,.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
