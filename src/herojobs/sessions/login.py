"""The operator's way in with a browser: a link that works once, as Jupyter has it."""

from __future__ import annotations

from urllib.parse import quote

from herojobs.sessions.sessions import LOGIN_TTL, Sessions

PATH = "/login"


def make_login_link(sessions: Sessions, server: str, ttl: float = LOGIN_TTL) -> str:
    """Return a link that logs one browser in as admin.

    Args:
        sessions: of the server's home.
        server: the server's address as the browser reaches it, like http://127.0.0.1:8811.
        ttl: seconds within which it must be used.

    Raises:
        SessionError: the sessions can't be changed.
    """
    return f"{server.rstrip('/')}{PATH}?token={quote(sessions.new_login(ttl))}"
