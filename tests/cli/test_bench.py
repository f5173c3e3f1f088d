"""`herojobs bench` measures what it names."""

from __future__ import annotations

import json
import os
import subprocess
import sys


def test_it_tells_every_figure() -> None:
    command = [sys.executable, "-m", "herojobs", "bench", "--runs", "1", "--jobs", "50", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, env={**os.environ, "COLUMNS": "200"})
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    names = [figure["name"] for figure in figures]
    assert {"submit, one by one (jobs/s)", "drain, asynchronous (jobs/s)", "round trip, p99 (ms)"} < set(names)
    assert len(names) == len(set(names)) == 15
    assert all(0 < figure["lowest"] <= figure["median"] <= figure["highest"] for figure in figures)
