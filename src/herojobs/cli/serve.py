"""Commands that run in the foreground, and the one that stops the embedded Redis."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from typing import Annotated, Any

import typer

from herojobs.cli import common
from herojobs.cli.common import options

Workers = Annotated[int | None, typer.Option(help="Exclusive worker processes (one a core).")]
Actors = Annotated[list[str] | None, typer.Option("--actors", help="A module of actors; may be given more than once.")]
Circles = Annotated[list[str] | None, typer.Option("--circle", "-c", help="A circle to serve (all); repeatable.")]


def dev(workers: Workers = None, actors: Actors = None) -> None:
    """Start everything here: the embedded Redis and a WatchDog. Ctrl-C stops the WatchDog."""
    from herojobs.live import embedded
    from herojobs.watchdog.watchdog import WatchDog

    settings = options.settings(workers=workers, actors=actors)
    watchdog = WatchDog(settings=settings)

    def ready() -> None:
        out = common.console()
        redis = settings.redis_url or embedded.url(settings.home)
        out.print(f"home      {settings.home}")
        out.print(f"Redis     {redis}" + ("" if settings.redis_url else "  (embedded; herojobs down stops it)"))
        out.print(f"WatchDog  {watchdog.name}")
        out.print("""try       herojobs run --text "!!fake.return_success message:'hello'"   (in another terminal)""")
        print("ready", flush=True)

    _log_to_stderr()
    watchdog.run(ready)


def watchdog(
    workers: Workers = None,
    actors: Actors = None,
    circle: Circles = None,
    watchdogs: Annotated[int, typer.Option(help="WatchDogs to run, each a process of its own.")] = 1,
) -> None:
    """Run jobs until TERM or Ctrl-C: the first one lets running jobs finish, the second puts them back at once."""
    from herojobs.watchdog.watchdog import WatchDog

    if watchdogs > 1:
        _run_several(watchdogs)
        return
    _log_to_stderr()
    settings = options.settings(workers=workers, actors=actors)
    WatchDog(settings=settings, circles=circle).run(lambda: print("ready", flush=True))


def down() -> None:
    """Stop the embedded Redis of this home; queued jobs stay on disk."""
    from herojobs.live import embedded

    settings = options.settings()
    print("stopped" if embedded.stop(settings.home) else "it wasn't running")


COMMANDS: dict[str, Any] = {"dev": dev, "watchdog": watchdog, "down": down}


def _run_several(number: int) -> None:
    """Run this very command several times, each with one WatchDog; pass signals on, end when all have."""
    arguments = list(sys.argv[1:])
    for place, word in enumerate(arguments):
        if word == "--watchdogs":
            arguments[place + 1] = "1"
        elif word.startswith("--watchdogs="):
            arguments[place] = "--watchdogs=1"
    children = [
        subprocess.Popen([sys.executable, "-m", "herojobs", *arguments], stdout=subprocess.PIPE, text=True)  # noqa: S603
        for _ in range(number)  # the command that runs us
    ]

    def pass_on(signal_number: int, _: object) -> None:
        for child in children:
            child.send_signal(signal_number)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the children as well
    for child in children:
        assert child.stdout is not None
        child.stdout.readline()
    print("ready", flush=True)
    codes = [child.wait() for child in children]
    raise typer.Exit(max(codes))


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
