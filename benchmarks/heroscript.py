"""How fast HeroScript is read and run: `python benchmarks/heroscript.py`.

Prints megabytes a second for scripts of rising size, for odd texts, and microseconds for a one-line job.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from herojobs.heroscript import HeroScriptError, PlayBook, Registry, ScriptCache, bind

ACTION = """\
// what the next action is for
!!parcel.pack name:'box 1' pieces:4 tags:red,'dark blue' fragile
    size: 20MB    // a comment
    url:https://example.org/a?b=c
    note:'a longer text with several words'
    text:'
        Several lines, *any* text,

        dedented.
        '

"""
LINE = "!!fake.return_success message:'This is a test job'"
ODD = {
    "one long value": "!!a.b x:" + "x" * 2_000_000,
    "one long quoted value": "!!a.b x:'" + "a b " * 500_000 + "'",
    "one long list": "!!a.b x:" + "a," * 1_000_000,
    "many params on a line": "!!a.b" + "".join(f" k{number}:1" for number in range(200_000)),
    "one key again and again": "!!a.b" + " k:1" * 500_000,
    "nested brackets": "!!a.b x:" + "[" * 1_000_000 + "]" * 1_000_000,
    "only quotes": "!!a.b x:" + "'" * 2_000_000,
    "only commas": "!!a.b x:a" + "," * 2_000_000,
    "other text": "some words of a page\n" * 100_000,
    "comments": "// some words\n" * 150_000,
}


def best(work: Callable[[], object], times: int = 3) -> float:
    """Return the shortest of several runs in seconds."""
    shortest = float("inf")
    for _ in range(times):
        gc.collect()
        start = time.perf_counter()
        work()
        shortest = min(shortest, time.perf_counter() - start)
    return shortest


def repeat(work: Callable[[], object], times: int) -> None:
    """Do it again and again, keeping nothing."""
    for _ in range(times):
        work()


def parse(text: str) -> None:
    """Parse, also what is wrong."""
    try:
        PlayBook.parse(text)
    except HeroScriptError as error:
        str(error)


def main() -> None:
    """Measure and print."""
    console = Console()
    table = Table("script", "actions", "MB", "parse MB/s", "write and hash MB/s", title="Reading and writing")
    for actions in (100, 1_000, 10_000, 50_000):
        text = ACTION * actions
        playbook = PlayBook.parse(text)
        size = len(text) / 1e6
        reading = best(lambda text=text: PlayBook.parse(text))  # type: ignore[misc]  # a default binds the text
        writing = best(lambda playbook=playbook: (playbook.regenerate(), playbook.hash()), 1)  # type: ignore[misc]  # as above
        table.add_row("realistic", f"{actions:,}", f"{size:.2f}", f"{size / reading:.1f}", f"{size / writing:.1f}")
    for name, text in ODD.items():
        size = len(text) / 1e6
        table.add_row(name, "", f"{size:.2f}", f"{size / best(lambda text=text: parse(text)):.1f}", "")  # type: ignore[misc]  # as above
    console.print(table)

    registry = Registry()
    cache = ScriptCache(registry)
    playbook = PlayBook.parse(LINE, strict=True)
    bound = bind(playbook, registry)
    waiting = bind(PlayBook.parse("!!fake.sleep seconds:0"), registry)

    async def run_async(times: int) -> None:
        for _ in range(times):
            await waiting.run_async(mark=False)

    steps = Table("step", "microseconds", title="A job of one line")
    count = 20_000
    for name, work in {
        "parse": lambda: PlayBook.parse(LINE, strict=True),
        "bind": lambda: bind(playbook, registry),
        "run": lambda: bound.run(mark=False),
        "parse, bind, run (a new script)": lambda: bind(PlayBook.parse(LINE, strict=True), registry).run(),
        "cache, run (a repeated script)": lambda: cache.get(LINE).run(mark=False),
    }.items():
        steps.add_row(name, f"{best(lambda work=work: repeat(work, count)) / count * 1e6:.2f}")  # type: ignore[misc]  # as above
    steps.add_row("run an async action", f"{best(lambda: asyncio.run(run_async(count))) / count * 1e6:.2f}")
    console.print(steps)


if __name__ == "__main__":
    main()
