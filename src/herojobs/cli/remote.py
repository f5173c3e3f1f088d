"""Which commands can ask a server, in the place of the home, and why the others can't."""

from __future__ import annotations

from herojobs.cli.common import USAGE, fail

REMOTE = frozenset({
    "run", "submit", "get", "wait", "list", "cancel", "retry", "duplicate", "delete", "history", "logs", "queues",
    "pause", "resume", "empty", "flow", "schedule", "limit", "prune",
    "session", "audit", "service",
})  # fmt: skip
"""Commands that are a client's."""

HOME_ONLY = {
    "ourdb": "databases are files of the home",
    "webhooks": "webhooks are told where the home is",
}
"""Commands about a home that one could take for a server's, and why they aren't."""


def server_for(command: str | None, url: str | None, is_option: bool) -> str | None:
    """Return the address of the server that a command is to ask, None if it works on this machine.

    Args:
        command: its name.
        url: the address that was given.
        is_option: whether by `--url`, not by the variable HEROJOBS_URL, which commands that serve a home pass over.
    """
    if not url or command is None:
        return None
    if command in REMOTE:
        if not url.startswith(("http://", "https://", "http+unix://")):
            fail(f"url {url!r}: no address of a server; write https://host:port or http+unix:///path", USAGE)
        return url
    if command in HOME_ONLY:
        given = "--url" if is_option else "HEROJOBS_URL"
        fail(f"herojobs {command}: {HOME_ONLY[command]}; run it there, without {given}", USAGE)
    if is_option:
        fail(f"herojobs {command} works on this machine alone; leave --url out", USAGE)
    return None
