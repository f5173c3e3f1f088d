"""What Rhai scripts cost: against the plain crate, beside each other, and to end one.

Run it with the package built in the profile `release`:

    rhai/build.sh
    python benchmarks/rhai.py            # all figures, as a table
    python benchmarks/rhai.py --json     # the same for a program

The comparison is `rhai/examples/plain.rs`: the same crate, profile and limits with nothing of ours, built
here when it is missing.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import herojobs_rhai as rhai

CRATE = pathlib.Path(__file__).parent.parent / "rhai"

FIB = "fn fib(n) { if n < 2 { n } else { fib(n - 1) + fib(n - 2) } } fib(28)"
LOOP = "let sum = 0; let a = []; for i in 0..500000 { sum += i * 3 % 7; if i % 10 == 0 { a.push(i); } } sum + a.len()"
STRINGS = "let m = #{}; for i in 0..100000 { m[`key ${i % 1000}`] = `value ${i}`; } m.len()"
SCRIPTS = {"fib(28)": FIB, "loop": LOOP, "strings": STRINGS}
PUSH = "let a = []; for i in 0..{n} { a.push(i); } a.len()"


def best(call: Callable[[], object], times: int) -> float:
    """Seconds of the fastest of some calls."""
    fastest = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        call()
        fastest = min(fastest, time.perf_counter() - start)
    return fastest


def plain_program() -> pathlib.Path:
    """The comparison, built if it isn't there."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", CRATE / "target"))
    program = target / "release" / "examples" / "plain"
    cargo = shutil.which("cargo") or str(pathlib.Path.home() / ".cargo" / "bin" / "cargo")
    environment = os.environ | {"PYO3_PYTHON": sys.executable}
    command = [cargo, "build", "-q", "--release", "--example", "plain"]
    subprocess.run(command, cwd=CRATE, env=environment, check=True)
    return program


def plain(program: pathlib.Path, script: str, times: int, *options: str) -> float:
    """Seconds of the fastest of some runs in the plain program."""
    with tempfile.NamedTemporaryFile("w", suffix=".rhai") as file:
        file.write(script)
        file.flush()
        done = subprocess.run([program, file.name, str(times), *options], capture_output=True, text=True, check=True)
    return float(done.stdout)


def against_plain(program: pathlib.Path) -> dict[str, Any]:
    """Seconds of each script in the plain program, here, and here in bytecode; taken in turns."""
    engines = {"ours": rhai.RhaiEngine()} | ({"bytecode": rhai.RhaiEngine(bytecode=True)} if rhai.BYTECODE else {})
    figures: dict[str, Any] = {}
    for name, text in SCRIPTS.items():
        row = dict.fromkeys(["plain", *engines], float("inf"))
        for _ in range(3):
            row["plain"] = min(row["plain"], plain(program, text, 3))
            for kind, engine in engines.items():
                script = engine.compile(text)
                row[kind] = min(row[kind], best(functools.partial(engine.eval, script), 3))
        figures[name] = row | {"ratio": row["ours"] / row["plain"]}
    figures["trivial"] = trivial(program, engines)
    return figures


def often(engine: Any, text: str, times: int) -> None:
    """Evaluates a text again and again."""
    for _ in range(times):
        engine.eval(text)


def trivial(program: pathlib.Path, engines: dict[str, Any]) -> dict[str, float]:
    """Seconds of a cached script that does nothing much, from its text and with all that one may ask for."""
    many = 100_000
    text = "let x = 40; x + 2"
    row = {"plain": plain(program, text, many)}
    for kind, engine in engines.items():
        row[kind] = best(functools.partial(often, engine, text, many // 10), 5) / (many // 10)
    engine = engines["ours"]

    def whole() -> None:
        for _ in range(many // 10):
            run = engine.run(text, {"x": 1}, deadline=60)
            run.result()
            _ = run.output

    row["with scope, deadline and output"] = best(whole, 5) / (many // 10)
    return row


def beside_each_other() -> dict[str, float]:
    """Wall time of two CPU-bound scripts on two threads, against one alone."""
    engine = rhai.RhaiEngine()
    script = engine.compile(FIB)

    def on_threads(count: int) -> float:
        threads = [threading.Thread(target=engine.eval, args=(script,)) for _ in range(count)]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - start

    one = min(on_threads(1) for _ in range(5))
    two = min(on_threads(2) for _ in range(5))
    return {"one": one, "two": two, "ratio": two / one}


def ends(script: str, rounds: int = 50) -> dict[str, float]:
    """Seconds from `stop` to the end of the run, as the evaluating thread sees it."""
    started = threading.Event()
    engine = rhai.RhaiEngine(functions={"started": started.set})
    took = []
    for _ in range(rounds):
        started.clear()
        run = engine.run("started(); " + script)
        over: list[float] = []

        def work(run: Any = run, over: list[float] = over) -> None:
            try:
                run.result()
            except rhai.RhaiError:
                over.append(time.perf_counter())

        thread = threading.Thread(target=work)
        thread.start()
        started.wait()
        time.sleep(0.002)
        asked = time.perf_counter()
        run.stop("benchmark")
        thread.join()
        took.append(over[0] - asked)
    return {"median": statistics.median(took), "worst": max(took)}


def late() -> float:
    """Seconds that a deadline of 20 ms was late, at worst."""
    engine = rhai.RhaiEngine()
    script = engine.compile("loop { }")
    worst = 0.0
    for _ in range(30):
        start = time.perf_counter()
        try:
            engine.eval(script, deadline=0.02)
        except rhai.RhaiError:
            worst = max(worst, time.perf_counter() - start - 0.02)
    return worst


def size_limits() -> dict[str, dict[str, float]]:
    """Seconds to build an array by push, without and with one of Rhai's size limits."""
    free, limited = rhai.RhaiEngine(), rhai.RhaiEngine(limits=rhai.Limits(max_array_size=10_000_000))
    figures = {}
    for n in (10_000, 20_000, 100_000):
        text = PUSH.replace("{n}", str(n))
        row = {"without": best(functools.partial(free.eval, text), 3)}
        row["with"] = best(functools.partial(limited.eval, text), 1)
        figures[f"push of {n:,}"] = row
    return figures


START = """
import time
a = time.perf_counter()
import herojobs_rhai as rhai
b = time.perf_counter()
rhai.RhaiEngine().eval("40 + 2")
print(b - a, time.perf_counter() - b)
"""


def start_up() -> dict[str, float]:
    """Seconds of the import, and of the first engine and run together, in a new process."""
    runs = [subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=True) for _ in range(7)]
    pairs = [tuple(map(float, run.stdout.split())) for run in runs]
    return {"import": min(pair[0] for pair in pairs), "first run": min(pair[1] for pair in pairs)}


def python_calls() -> float:
    """Seconds of one call of a Python function from a script."""
    engine = rhai.RhaiEngine(functions={"f": lambda x: x})
    script = engine.compile("for i in 0..100000 { f(i); }")
    bare = engine.compile("fn g(x) { x } for i in 0..100000 { g(i); }")
    return (best(lambda: engine.eval(script), 3) - best(lambda: engine.eval(bare), 3)) / 100_000


def shown(value: Any, name: str) -> str:
    """A figure in its unit."""
    if name == "ratio":
        return f"{value:.2f} x"
    return f"{value * 1e6:.2f} us" if value < 1e-3 else f"{value * 1e3:.2f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON, seconds throughout")
    asked = parser.parse_args()
    figures: dict[str, Any] = {
        "start": start_up(),
        **against_plain(plain_program()),
        "two threads": beside_each_other(),
        "stop of loop { }": ends("loop { }"),
        "stop of sleep(3600)": ends("sleep(3600)"),
        "deadline": {"late at worst": late()},
        "Python": {"call, beyond a script's own": python_calls()},
        **size_limits(),
    }
    if asked.json:
        print(json.dumps(figures, indent=2))
        return
    for group, row in figures.items():
        print(f"{group}: " + ", ".join(f"{name} {shown(value, name)}" for name, value in row.items()))


if __name__ == "__main__":
    main()
