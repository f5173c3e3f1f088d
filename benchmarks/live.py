"""What a job costs in Redis and on the way there: submit, claim and finish, one by one and a hundred at once.

    python benchmarks/live.py            # all figures, as a table
    python benchmarks/live.py --json     # the same for a program

Python is this process's CPU time, Redis the server's own by its `INFO commandstats` (time in scripts) and by its whole
CPU time, which counts sockets and parsing too. The server is a fresh one without a file, over a Unix socket.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis import Redis as Bare

from herojobs.job import Job, encode
from herojobs.live import calls, embedded
from herojobs.live.call import Call, script
from herojobs.live.redis import BlockingRedis, run_sync
from herojobs.names import Queue

QUEUE = Queue.of("bench", "live")


@contextmanager
def server() -> Iterator[str]:
    """A Redis of its own."""
    folder = Path(tempfile.mkdtemp(prefix="hj-bench-"))
    command = [
        embedded.find_program(),
        "--port",
        "0",
        "--unixsocket",
        str(folder / "s"),
        "--save",
        "",
        "--dir",
        str(folder),
    ]
    process = subprocess.Popen(
        [*command, "--hash-max-ziplist-value", "2048"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        while not (folder / "s").exists():
            time.sleep(0.01)
        yield f"unix://{folder}/s"
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def jobs(count: int) -> list[tuple[int, bytes, int, int]]:
    """Entries of typical jobs of some 400 bytes."""
    return [
        (
            id,
            encode(Job(job_id=id, circle_id="bench", topic="live", params="!!fake.echo text:'" + "x" * 60 + "'")),
            0,
            0,
        )
        for id in range(1, count + 1)
    ]


def measure(redis: BlockingRedis, count: int, batch: int) -> dict[str, dict[str, float]]:
    """Return microseconds a job of each operation."""
    run_sync(redis.command("FLUSHALL"))
    entries = jobs(count)
    parts = [entries[i : i + batch] for i in range(0, count, batch)]
    found: dict[str, dict[str, float]] = {}

    def each(name: str, make: Callable[[Any], Call[Any]]) -> None:
        run_sync(redis.command("CONFIG", "RESETSTAT"))
        whole, wall, own = server_cpu(redis), time.perf_counter(), time.process_time()
        for part in parts:
            run_sync(redis.run(make(part)))
        own, wall = time.process_time() - own, time.perf_counter() - wall
        found[name] = {
            "wall": wall / count * 1e6,
            "python": own / count * 1e6,
            "redis": (server_cpu(redis) - whole) / count * 1e6,
            "script": script_time(redis) / count,
        }

    each("submit", lambda part: calls.submit(QUEUE, part))
    each("claim", lambda part: calls.claim(QUEUE, len(part), 60_000, "t"))
    each("finish", lambda part: calls.finish(QUEUE, [(e[0], "t", e[1], "done") for e in part], 600))
    assert run_sync(redis.run(calls.counts(QUEUE))).total == 0
    return found


def server_cpu(redis: BlockingRedis) -> float:
    """Seconds of CPU that the server has used."""
    info = fields(run_sync(redis.command("INFO", "cpu")))
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


def script_time(redis: BlockingRedis) -> float:
    """Microseconds that scripts ran."""
    info = fields(run_sync(redis.command("INFO", "commandstats")))
    return float(info["cmdstat_evalsha"].split("usec=")[1].split(",")[0])


def fields(text: bytes) -> dict[str, str]:
    """What INFO says, by name."""
    return dict(line.split(":", 1) for line in text.decode().split("\r\n") if ":" in line)


def overhead(redis: BlockingRedis, url: str, count: int) -> dict[str, float]:
    """Microseconds of a small call by ours, and by redis-py's client."""
    bare: Any = Bare.from_url(url)
    sha = script("counts").sha.decode()
    rounds: dict[str, list[float]] = {"ours": [], "redis-py": []}
    for _ in range(5):
        for name, run in (
            ("ours", lambda: run_sync(redis.run(calls.counts(QUEUE)))),
            ("redis-py", lambda: bare.evalsha(sha, 1, "heroqueue:bench:live", 0)),
        ):
            start = time.perf_counter()
            for _ in range(count):
                run()
            rounds[name].append((time.perf_counter() - start) / count * 1e6)
    bare.close()
    return {name: min(times) for name, times in rounds.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--jobs", type=int, default=20_000, help="jobs a figure (default 20000)")
    arguments = parser.parse_args()
    with server() as url:
        redis = BlockingRedis(url)
        measure(redis, 1000, 100)  # warm up: scripts loaded, code compiled
        table = {batch: measure(redis, arguments.jobs, batch) for batch in (1, 100)}
        small = overhead(redis, url, 3000)
        run_sync(redis.close())
    if arguments.json:
        print(json.dumps({"batches": table, "call": small}))
        return
    print(f"{'microseconds a job':24}{'wall':>8}{'Python':>8}{'Redis':>8}{'script':>8}")
    for batch, operations in table.items():
        for name, figures in operations.items():
            print(f"{name + ', batch ' + str(batch):24}" + "".join(f"{value:8.1f}" for value in figures.values()))
    print(f"\na small call: {small['ours']:.0f} us by ours, {small['redis-py']:.0f} us by redis-py's client")


if __name__ == "__main__":
    main()
