"""How many calls the server answers: submissions one by one, in batches, and reads, over HTTP and 32 connections.

    python -m benchmarks.server                  # all figures, as a table
    python -m benchmarks.server --calls 20000    # more of each

Client and server share this machine. The client speaks HTTP over plain sockets, so that it costs little of the time.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import uvloop

from herojobs.jsonrpc import encode_batch, encode_request, read_answers

CONNECTIONS = 32
SCRIPT = "!!fake.return_success message:'hello'"


@contextmanager
def server() -> Iterator[tuple[str, psutil.Process]]:
    """A server on a fresh home, without a WatchDog; its address and process."""
    with tempfile.TemporaryDirectory(prefix="hj-bench-") as folder:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("HEROJOBS_")}
        environ |= {"HEROJOBS_HOME": str(Path(folder) / "home")}
        command = [sys.executable, "-m", "herojobs", "serve", "--port", "0", "--no-watchdog"]
        process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split()[-1]
            while process.stdout.readline() != "ready\n":
                assert process.poll() is None, "the server didn't start"
            yield address.removeprefix("http://"), psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait()
            subprocess.run(
                [sys.executable, "-m", "herojobs", "down"], env=environ, stdout=subprocess.DEVNULL, check=True
            )


async def load(address: str, body: Callable[[int], bytes], requests: int) -> list[float]:
    """Send requests over all connections at once; return how long each took, in seconds."""
    host, port = address.split(":")
    numbers = iter(range(requests))
    took: list[float] = []

    async def connection() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for number in numbers:
            data = body(number)
            head = (
                b"POST /rpc HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
            )
            began = time.perf_counter()
            writer.write(head % len(data) + data)
            headers = await reader.readuntil(b"\r\n\r\n")
            length = int(headers.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            answer = await reader.readexactly(length)
            took.append(time.perf_counter() - began)
            for each in read_answers(answer)[0] if number % 100 == 0 else ():
                each.value()
        writer.close()

    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    return took


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=10_000, help="calls of each sort")
    calls = parser.parse_args().calls
    submit = [SCRIPT, "heroscript", "bench", "server"]
    batch = encode_batch([encode_request("job.submit", submit, n) for n in range(100)])
    many = encode_request("job.submit_many", [[{"params": SCRIPT, "circle_id": "bench"}] * 100], 1)
    sorts: list[tuple[str, Callable[[int], bytes], int]] = [
        ("job.submit", lambda n: encode_request("job.submit", submit, n), 1),
        ("job.submit, batches of 100", lambda _: batch, 100),
        ("job.submit_many of 100", lambda _: many, 100),
        ("job.get", lambda n: encode_request("job.get", [f"bench/server/{n % calls + 1}"], n), 1),
        ("queue.size", lambda n: encode_request("queue.size", ["bench", "server"], n), 1),
    ]
    print(f"{'':28}{'calls/s':>10}{'median ms':>11}{'p99 ms':>9}{'server us a call':>18}")
    with server() as (address, process):
        uvloop.run(load(address, sorts[0][1], 500))  # warm
        for name, body, each in sorts:
            cpu = sum(process.cpu_times()[:2])
            began = time.perf_counter()
            took = sorted(uvloop.run(load(address, body, max(CONNECTIONS, calls // each))))
            seconds = time.perf_counter() - began
            number = len(took) * each
            cost = (sum(process.cpu_times()[:2]) - cpu) / number * 1e6
            middle, high = took[len(took) // 2] * 1000, took[int(len(took) * 0.99)] * 1000
            print(f"{name:28}{number / seconds:>10,.0f}{middle:>11.1f}{high:>9.1f}{cost:>18.0f}")


if __name__ == "__main__":
    main()
