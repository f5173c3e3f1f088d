"""What `make demo` shows: HeroJobs starts, runs jobs of every kind, shows how they ended, and stops."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from herojobs import HeroJobs, Job, WatchDog
from herojobs.live import embedded

CIRCLE = "demo"
CAT = """{"prompt": "Describe a cat.", "schema": {"type": "object", "required": ["name", "age"], "properties":
  {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0, "maximum": 20}}}}"""
JOBS = [
    ("heroscript", "!!fake.return_success message:'This is a test job'", 30),
    ("heroscript", "!!core.echo content:'two actions'\n!!core.echo content:'in one script'", 30),
    ("heroscript", "!!job.create params:\"!!core.echo content:'a job made by a job'\"", 30),
    ("rhaiscript", "let total = 0;\nfor n in 1..=10 { total += n * n; }\n`sum of squares: ${total}`", 30),
    ("openrpc", '{"method": "pets:pets.add", "params": {"name": "Spike", "kind": "dog"}}', 30),
    ("openrpc", '{"method": "pets:pets.add", "params": {"name": "Nibbles", "kind": "mouse"}}', 30),
    ("ai", "What is the capital of France?", 60),
    ("ai", CAT, 60),
    ("heroscript", "!!fake.return_error message:'on purpose'", 30),
    ("heroscript", "!!fake.retrun_success", 30),
    ("heroscript", "!!fake.spin seconds:60", 1),
    ("rhaiscript", "loop {}", 1),
]


def main() -> None:
    out = Console(width=None if sys.stdout.isatty() else 160)
    with tempfile.TemporaryDirectory(prefix="herojobs-") as folder:
        home = Path(folder)
        try:
            out.print("Starting the embedded Redis and a WatchDog with two workers ...")
            with (
                service() as url,
                HeroJobs(home=home) as hero,
                WatchDog(home=home, workers=2, services={"pets": {"url": url}}),
            ):
                show(out, run_all(hero))
        finally:
            embedded.stop(home)
    out.print("Stopped. Next, in two terminals (after `source .venv/bin/activate`):\n")
    out.print("  herojobs dev")
    out.print("""  herojobs run --text "!!fake.return_success message:'hello'"\n""", markup=False)


@contextmanager
def service() -> Iterator[str]:
    """Run the service of openrpc/pets.py, which the OpenRPC jobs call, as a process of its own."""
    program = Path(__file__).parent / "openrpc" / "pets.py"
    with subprocess.Popen([sys.executable, program, "0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


def run_all(hero: HeroJobs) -> list[Job]:
    jobs = [
        hero.submit(params, params_type=kind, circle_id=CIRCLE, topic=kind, timeout=timeout)
        for kind, params, timeout in JOBS
    ]
    cancelled = hero.submit("!!fake.sleep seconds:60", circle_id=CIRCLE, topic="cancelled")
    hero.cancel(cancelled)
    return [hero.wait(job, timeout=120) for job in [*jobs, cancelled]]


def show(out: Console, jobs: list[Job]) -> None:
    table = Table("job", "kind", "state", "took", "result or error", title="Jobs of every kind")
    for job in jobs:
        state = "[green]done[/]" if job.status == "done" else f"[red]{job.explain_end()}[/]"
        took = f"{(job.ended_ms - job.started_ms) / 1000:.2f} s" if job.started_ms else ""
        table.add_row(str(job.ref), job.params_type, state, took, escape((job.result or job.error).strip()))
    out.print(table)


if __name__ == "__main__":
    main()
