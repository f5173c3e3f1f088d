"""The browser's way in: a link that works once gives it a cookie, which is its session key."""

from __future__ import annotations

import time
from collections.abc import Mapping

from starlette.requests import Request, cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from herojobs.server.backend import Backend

COOKIE = "herojobs_session"
_HEADERS = {"cache-control": "no-store", "referrer-policy": "no-referrer"}
_STALE = "this link was used already, or it is too old; `herojobs session link` on the server makes a new one\n"
_DONE = "you are logged in; this page can be closed\n"


def key_of(headers: Mapping[str, str]) -> str:
    """Return the session key that a request shows: in its header Authorization, else as a cookie; empty if none."""
    if key := bearer_of(headers):
        return key
    cookies = headers.get("cookie")
    return "" if cookies is None else cookie_parser(cookies).get(COOKIE, "")


def bearer_of(headers: Mapping[str, str]) -> str:
    """Return the session key in a request's header Authorization, empty if there is none."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


class Login:
    """GET /login and POST /logout.

    Args:
        backend: knows the sessions.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def login(self, request: Request) -> Response:
        """Exchange a link's token for a cookie."""
        token = request.query_params.get("token", "")
        made = await self._backend.in_thread(lambda: self._backend.sessions.login(token))
        if made is None:
            return PlainTextResponse(_STALE, 403, _HEADERS)
        session, key = made
        self._backend.audit.note(session, "session.login", ref=session.id)
        has_pages = any(getattr(route, "path", "") == "/" for route in request.app.routes)
        response: Response = (
            RedirectResponse("/", 303, _HEADERS) if has_pages else PlainTextResponse(_DONE, headers=_HEADERS)
        )
        response.set_cookie(
            COOKIE,
            key,
            max_age=max(1, session.expires_ms // 1000 - int(time.time())),
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return response

    async def logout(self, request: Request) -> Response:
        """End the browser's session, and have it forget the cookie."""
        sessions = self._backend.sessions
        session = sessions.check(cookie_parser(request.headers.get("cookie", "")).get(COOKIE, ""))
        if session is not None and session.login:
            await self._backend.in_thread(lambda: sessions.revoke(session.id))
            self._backend.audit.note(session, "session.logout", ref=session.id)
        response = PlainTextResponse("you are logged out\n", headers=_HEADERS)
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return response
