"""Runs in a peer's environment: `python -m benchmarks.peers.inside NAME WHAT KIND COUNT`, prints JSON.

WHAT is `single` (submit one by one), `bulk`, `trips` (round trips, one after another), or `reset`: make its server
as new.
"""

from __future__ import annotations

import importlib
import json
import sys


def main() -> None:
    name, what, kind, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    adapter = importlib.import_module(f"benchmarks.peers.adapters.{name}")
    if what == "reset":
        adapter.reset()
        print("{}", flush=True)
        return
    if what == "trips":
        trips = sorted(adapter.trips(count))
        print(
            json.dumps({"p50": trips[len(trips) // 2] * 1000, "p99": trips[len(trips) * 99 // 100] * 1000}), flush=True
        )
        return
    seconds = getattr(adapter, what)(kind, count)
    print(json.dumps({"rate": count / seconds}), flush=True)


if __name__ == "__main__":
    main()
