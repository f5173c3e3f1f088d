"""Commands that run in the foreground, and the one that stops the embedded Redis."""

from __future__ import annotations

import logging
import os
import queue
import signal
import subprocess
import sys
import threading
from typing import Annotated, Any

import typer

from herojobs.cli import common
from herojobs.cli.common import options

Workers = Annotated[int | None, typer.Option(help="Exclusive worker processes (one a core).")]
Actors = Annotated[list[str] | None, typer.Option("--actors", help="A module of actors; may be given more than once.")]
Circles = Annotated[list[str] | None, typer.Option("--circle", "-c", help="A circle to serve (all); repeatable.")]


def dev(workers: Workers = None, actors: Actors = None) -> None:
    """Start everything here: the embedded Redis and a WatchDog. Ctrl-C stops the WatchDog."""
    from herojobs.watchdog.watchdog import WatchDog

    settings = options.settings(workers=workers, actors=actors)
    watchdog = WatchDog(settings=settings)

    def ready() -> None:
        out = common.console()
        redis = common.shown_redis(settings) + ("" if settings.redis_url else "  (embedded; herojobs down stops it)")
        out.print(f"home      {settings.home}", markup=False)
        out.print(f"Redis     {redis}", markup=False)
        out.print(f"WatchDog  {watchdog.name}")
        out.print("""try       herojobs run --text "!!fake.return_success message:'hello'"   (in another terminal)""")
        print("ready", flush=True)

    _log_to_stderr()
    watchdog.run(ready)


def watchdog(
    workers: Workers = None,
    actors: Actors = None,
    circle: Circles = None,
    watchdogs: Annotated[int, typer.Option(min=1, max=256, help="WatchDogs to run, each a process of its own.")] = 1,
    ends_with: Annotated[int, typer.Option(hidden=True, help="A pipe; its other end's closing is as TERM.")] = -1,
) -> None:
    """Run jobs until TERM or Ctrl-C: the first one lets running jobs finish, the second puts them back at once."""
    from herojobs.watchdog.watchdog import WatchDog

    if watchdogs > 1:
        _run_several(watchdogs)
        return
    _log_to_stderr()
    if ends_with >= 0:
        threading.Thread(target=_end_with, args=(ends_with,), daemon=True).start()
    settings = options.settings(workers=workers, actors=actors)
    WatchDog(settings=settings, circles=circle).run(lambda: print("ready", flush=True))


def down() -> None:
    """Stop the embedded Redis of this home; queued jobs stay on disk."""
    from herojobs.live import embedded

    settings = options.settings()
    print("stopped" if embedded.stop(settings.home) else "it wasn't running")


COMMANDS: dict[str, Any] = {"dev": dev, "watchdog": watchdog, "down": down}


def _run_several(number: int) -> None:
    """Run this very command several times, each with one WatchDog, and pass signals on.

    Ends when all have ended. One that ends unasked makes the others stop too, so that whoever started us hears of it
    and starts all anew: half of the WatchDogs would go unnoticed.
    """
    arguments = list(sys.argv[1:])
    for place, word in enumerate(arguments):
        if word == "--watchdogs":
            arguments[place + 1] = "1"
        elif word.startswith("--watchdogs="):
            arguments[place] = "--watchdogs=1"
    our_life, _held_open = os.pipe()  # should we be killed, it closes, and they end as if told to
    children: list[subprocess.Popen[str]] = []
    ended: queue.SimpleQueue[int] = queue.SimpleQueue()
    asked = threading.Event()

    def pass_on(signal_number: int, _: object) -> None:
        asked.set()
        for child in children:
            child.send_signal(signal_number)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, pass_on)
    for _ in range(number):
        # A group of its own: a terminal's Ctrl-C comes from us alone, not twice, which would be the order to hurry.
        child = subprocess.Popen(  # noqa: S603 - the command that runs us
            [sys.executable, "-m", "herojobs", *arguments, "--ends-with", str(our_life)],
            pass_fds=(our_life,),
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        children.append(child)
        threading.Thread(target=lambda child=child: ended.put(child.wait()), daemon=True).start()
    if all(child.stdout.readline() for child in children if child.stdout):
        print("ready", flush=True)
    code = ended.get()
    if asked.is_set():
        code = max([code, *(ended.get() for _ in children[1:])], key=abs)
    else:  # how the first one ended is what went wrong; the others end because we ask them to
        pass_on(signal.SIGTERM, None)
        for _ in children[1:]:
            ended.get()
    raise typer.Exit(code if code >= 0 else 128 - code)


def _end_with(pipe: int) -> None:
    os.read(pipe, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
