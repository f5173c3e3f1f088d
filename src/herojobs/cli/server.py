"""The command that serves the API."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from herojobs.cli.common import USAGE, fail, options
from herojobs.settings import Settings


def serve(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8811,
    unix: Annotated[Path | None, typer.Option(help="A Unix socket to listen at too.")] = None,
    watchdog: Annotated[bool, typer.Option(help="Run a WatchDog beside the server.")] = True,
    workers: Annotated[
        int | None, typer.Option(help="Exclusive worker processes of the WatchDog (one a core).")
    ] = None,
    actors: Annotated[list[str] | None, typer.Option("--actors", help="A module of actors; repeatable.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate in PEM form, with its chain.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key.")] = None,
    behind_proxy: Annotated[bool, typer.Option("--behind-proxy", help="A trusted proxy passes requests on.")] = False,
    insecure: Annotated[bool, typer.Option("--insecure", help="Listen for others without TLS or a proxy.")] = False,
) -> None:
    """Serve the API: JSON-RPC 2.0 at POST /rpc and WebSocket /rpc, with a WatchDog beside it, until TERM or Ctrl-C."""
    if (tls_cert is None) != (tls_key is None):
        fail("--tls-cert and --tls-key go together", USAGE)
    from herojobs.server.run import Server, watchdog_command

    settings = options.settings(workers=workers, actors=actors)
    server = Server(
        settings,
        host=host,
        port=port,
        unix=unix,
        tls=(tls_cert, tls_key) if tls_cert and tls_key else None,
        behind_proxy=behind_proxy,
        insecure=insecure,
        watchdog=watchdog_command(settings, workers, actors) if watchdog else (),
    )
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)

    def ready(addresses: list[str]) -> None:
        for address in addresses:
            print(f"listening at {address}")
        for line in _about_sessions(settings, addresses[0], behind_proxy):
            print(line)
        print("ready", flush=True)

    server.run(ready)


def _about_sessions(settings: Settings, address: str, behind_proxy: bool) -> list[str]:
    """Return what the operator must know of who may call: a link for a browser at the first start, and what is open."""
    from herojobs.sessions import Sessions, make_login_link

    sessions = Sessions(settings)
    try:
        first, any_made = not sessions.exist, sessions.any()
        told = [f"log in, once, with a browser: {make_login_link(sessions, address)}"] if first else []
    finally:
        sessions.close()
    if behind_proxy and not any_made:
        told.append("nobody may call yet: `herojobs session create` makes a key")
    elif not any_made:
        told.append(
            "no keys are asked for: this user's programs on this machine may do everything; `herojobs session create` "
            "makes a key, and from then on each call needs one"
        )
    return told


COMMANDS: dict[str, Any] = {"serve": serve}
