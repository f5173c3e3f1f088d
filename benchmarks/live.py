"""What a job costs in Redis and on the way there: submit, claim and finish, one by one and a hundred at once.

    python benchmarks/live.py                            # all figures, as a table
    python benchmarks/live.py --json                     # the same for a program
    python benchmarks/live.py --program valkey-server    # with another server

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

from msgspec.structs import replace
from redis import Redis as Bare

from herojobs.job import Job, decode, encode
from herojobs.live import calls, embedded
from herojobs.live.call import Call, script
from herojobs.live.redis import BlockingRedis, run_sync
from herojobs.names import Queue

QUEUE = Queue.of("bench", "live")
TIMES = {
    "time_start": 1_795_500_000,
    "time_end": 1_795_500_001,
    "started_ms": 1_795_500_000_123,
    "ended_ms": 1_795_500_001_123,
}
"""What a job has more of when it is over."""


EMBEDDED = ("--hash-max-ziplist-value", "2048", "--zset-max-ziplist-entries", "0")
"""What the embedded server is told about how to keep data."""


@contextmanager
def server(program: str, *options: str) -> Iterator[str]:
    """A Redis of its own."""
    folder = Path(tempfile.mkdtemp(prefix="hj-bench-"))
    command = [program, "--port", "0", "--unixsocket", str(folder / "s"), "--save", "", "--dir", str(folder)]
    process = subprocess.Popen([*command, *options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        while not (folder / "s").exists():
            time.sleep(0.01)
        yield f"unix://{folder}/s"
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def jobs(count: int, first: int = 1) -> list[tuple[int, bytes, int, int]]:
    """Entries of typical jobs of some 400 bytes."""
    return [
        (
            id,
            encode(Job(job_id=id, circle_id="bench", topic="live", params="!!fake.echo text:'" + "x" * 60 + "'")),
            0,
            0,
        )
        for id in range(first, first + count)
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


def memory(redis: BlockingRedis, count: int) -> dict[str, float]:
    """Return the bytes of Redis memory that a finished job takes with its result kept, and after its time."""
    run_sync(redis.command("FLUSHALL", "SYNC"))
    before = used(redis)
    for start in range(1, count, 100):
        part = jobs(100, start)
        run_sync(redis.run(calls.submit(QUEUE, part)))
        run_sync(redis.run(calls.claim(QUEUE, 100, 60_000, "host-1234-abcdef.1")))
        ends = [
            (id, "host-1234-abcdef.1", encode(replace(decode(data), status="done", result="x" * 60, **TIMES)), "done")
            for id, data, _, _ in part
        ]
        run_sync(redis.run(calls.finish(QUEUE, ends, 600)))
    kept = used(redis) - before
    for start in range(1, count, 100):
        run_sync(redis.exchange([("PEXPIRE", redis.keys.job(QUEUE, id), 1) for id in range(start, start + 100)]))
    while run_sync(redis.command("DBSIZE")) > 1:  # `herotopics` stays
        time.sleep(0.05)
    return {"kept": kept / count, "after": max(0, used(redis) - before) / count}


def used(redis: BlockingRedis) -> int:
    """Bytes of memory that the server uses for its data."""
    info = fields(run_sync(redis.command("INFO", "memory")))
    return int(info["used_memory_dataset"])


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
    parser.add_argument("--program", help="the server's program (default: what the embedded server would be)")
    arguments = parser.parse_args()
    program = shutil.which(arguments.program) if arguments.program else embedded.find_program()
    if program is None:
        parser.error(f"no program {arguments.program}")
    with server(program, *EMBEDDED) as url:
        redis = BlockingRedis(url)
        measure(redis, 1000, 100)  # warm up: scripts loaded, code compiled
        table = {batch: measure(redis, arguments.jobs, batch) for batch in (1, 100)}
        small = overhead(redis, url, 3000)
        kept = {"as the embedded server": memory(redis, arguments.jobs)}
        run_sync(redis.close())
    with server(program) as url:
        redis = BlockingRedis(url)
        kept["with the server's defaults"] = memory(redis, arguments.jobs)
        run_sync(redis.close())
    if arguments.json:
        print(json.dumps({"batches": table, "call": small, "memory": kept}))
        return
    print(f"{'microseconds a job':24}{'wall':>8}{'Python':>8}{'Redis':>8}{'script':>8}")
    for batch, operations in table.items():
        for name, figures in operations.items():
            print(f"{name + ', batch ' + str(batch):24}" + "".join(f"{value:8.1f}" for value in figures.values()))
    print(f"\na small call: {small['ours']:.0f} us by ours, {small['redis-py']:.0f} us by redis-py's client\n")
    for how, bytes_ in kept.items():
        print(f"a finished job, {how}: {bytes_['kept']:.0f} bytes of memory; after its time {bytes_['after']:.0f}")


if __name__ == "__main__":
    main()
