"""What is measured of each peer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.peers.environments import constants
from benchmarks.peers.measure import Bench

Measure = Callable[[Bench, Path, str], Mapping[str, float]]

SINGLE = "submit one by one (jobs/s)"
BULK = "submit in bulk (jobs/s)"
TRIP = "round trip"


def figures(jobs: int) -> dict[str, Measure]:
    """Return the measurements by their short names; each gives one or several figures by title.

    Args:
        jobs: jobs of a drain, for peers that aren't slow.
    """

    def single(bench: Bench, python: Path, name: str) -> dict[str, float]:
        return {SINGLE: bench.single(python, name, max(200, jobs // 10))}

    def drain(kind: str, title: str) -> Measure:
        def measure(bench: Bench, python: Path, name: str) -> dict[str, float]:
            drained = bench.drain(python, name, kind, of_drain(name, jobs))
            found = {BULK: drained.filled} if kind == "sync" else {}
            return found | {
                f"{title} (jobs/s)": drained.rate,
                f"{title}: CPU of the workers (s per 10,000 jobs)": drained.cpu / 100,
                f"{title}: CPU of the server (s per 10,000 jobs)": drained.server_cpu / 100,
                f"{title}: most memory of the workers (MB)": drained.memory,
            }

        return measure

    def work(kind: str, title: str, count: int) -> Measure:
        def measure(bench: Bench, python: Path, name: str) -> dict[str, float]:
            return {f"{title} (jobs/s)": bench.drain(python, name, kind, count).rate}

        return measure

    def trips(bench: Bench, python: Path, name: str) -> dict[str, float]:
        found = bench.trips(python, name, of_trips(name, jobs))
        return {f"{TRIP}, p50 (ms)": found["p50"], f"{TRIP}, p99 (ms)": found["p99"]}

    return {
        "single": single,
        "sync": drain("sync", "drain, synchronous"),
        "async": drain("async", "drain, asynchronous"),
        "io": work("io", "100 ms of waiting, 100 at once", max(500, jobs // 20)),
        "cpu": work("cpu", "some ms of computing", max(500, jobs // 20)),
        "trips": trips,
    }


def has(bench: Bench, python: Path, name: str, figure: str) -> bool:
    """Return whether a peer has what a figure measures."""
    kinds = bench.commands(python, name)
    return figure == "single" or (figure in kinds if figure != "trips" else "sync" in kinds)


def of_drain(name: str, jobs: int) -> int:
    """Return the jobs of a peer's drain: fewer for one that would take minutes."""
    share = constants(name).get("SHARE", 1)
    assert isinstance(share, int | float)
    return int(jobs * share)


def of_trips(name: str, jobs: int) -> int:
    """Return the round trips of a peer: fewer for a slow one."""
    share = constants(name).get("SHARE_OF_TRIPS", 1)
    assert isinstance(share, int | float)
    return max(50, int(jobs / 50 * share))
