"""The methods of sessions: who calls, and for admins all who may."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Annotated

from msgspec import Meta

from herojobs.jsonrpc import Example, RpcError
from herojobs.jsonrpc.codes import Code
from herojobs.server.caller import LOCAL, Caller
from herojobs.server.methods.registry import method
from herojobs.server.shapes import CircleId, Limit, Millis, NewSession, Session, shown_session, with_key
from herojobs.sessions import Entry, Role
from herojobs.sessions import Session as Known

_SHOWN = {
    "id": "local", "name": "local", "circles": ["*"], "role": "admin", "created_ms": 0, "expires_ms": 0,
    "revoked_ms": 0, "login": False,
}  # fmt: skip
_MADE = _SHOWN | {"id": "5f0c91ab", "name": "deploy", "created_ms": 1790000000000}
_NEW = _MADE | {"key": "hjs_5f0c91ab_" + 64 * "0"}

SessionName = Annotated[str, Meta(description="a session's name or id")]
Seconds = Annotated[float, Meta(ge=0)]


@method("session.open", None, errors=(Code.UNAUTHORIZED,), example=Example({"token": ""}, _SHOWN))
def open_session(caller: Caller, token: str) -> Session:
    """Show a session key: over a WebSocket all further calls are of this session; over HTTP it is only checked.

    Args:
        token: the session key; empty for the local session, where no sessions were made
    """
    session = caller.backend.session_of(token, caller.local)
    if session is None:
        raise RpcError(Code.UNAUTHORIZED, "Unauthorized: no such session, or it has ended", {"field": "token"})
    if caller.stream is not None:
        caller.stream.adopt(token)
    return shown_session(session)


@method("session.get", Role.VIEWER, example=Example({}, _SHOWN))
def get_session(caller: Caller) -> Session:
    """Return the session of this call."""
    assert caller.session is not None
    return shown_session(caller.session)


@method("session.close", Role.VIEWER, example=Example({}, True))
def close_session(caller: Caller) -> bool:
    """Forget the session on this WebSocket; its key stays valid. Where no sessions were made nothing changes."""
    if caller.stream is not None and caller.session is not LOCAL:
        caller.stream.adopt(None)
    return True


@method("session.list", Role.ADMIN, errors=(Code.UNAVAILABLE,), example=Example({}, []))
async def list_sessions(caller: Caller, ended: bool = False) -> list[Session]:
    """Return the sessions that hold, never their keys.

    Args:
        ended: also those that expired or were revoked
    """
    sessions = await caller.backend.in_thread(lambda: caller.backend.sessions.list(ended=ended))
    return [shown_session(session) for session in sessions]


@method("session.audit", Role.ADMIN, errors=(Code.UNAVAILABLE,), example=Example({}, []))
async def audit(
    caller: Caller,
    since: Millis = 0,
    circle_id: CircleId | None = None,
    session: SessionName | None = None,
    limit: Limit = 100,
) -> list[Entry]:
    """Return who changed what, the newest first: times are unix ms, `outcome` is ok or an error's code.

    Args:
        since: not what was before
        circle_id: what concerned a circle
        session: what a session did
        limit: most entries to return
    """
    log = caller.backend.audit

    def read() -> list[Entry]:
        log.flush()
        return list(islice(log.read(since_ms=since, circle=circle_id, session=session), limit))

    return await caller.backend.in_thread(read)


@method(
    "session.create",
    Role.ADMIN,
    errors=(Code.UNAVAILABLE,),
    example=Example({"name": "deploy", "circles": ["*"], "role": "admin"}, _NEW),
    changes=True,
)
async def create(
    caller: Caller,
    name: str = "",
    circles: list[str] = [],  # noqa: B006 - it is read, never changed
    role: str = "submitter",
    ttl: Seconds = 0.0,
) -> NewSession:
    """Make a session, and return it with its key, which is kept nowhere.

    Once any session was made, each call needs a key.

    Args:
        name: who it is for: letters, digits, spaces, . _ @ and -; unique; empty: ROLE-NUMBER
        circles: the circles that it sees and touches; * = all; an admin has all
        role: viewer, submitter, operator or admin
        ttl: seconds it holds; 0 = until it is revoked
    """
    return await _made(caller, lambda: caller.backend.sessions.create(name, circles, role, ttl))


@method(
    "session.rotate",
    Role.ADMIN,
    errors=(Code.JOB_NOT_FOUND, Code.UNAVAILABLE),
    example=Example({"name": "deploy"}, _NEW),
    changes=True,
)
async def rotate(caller: Caller, name: SessionName, grace: Seconds = 0.0) -> NewSession:
    """Give a session a new key, and return it.

    Args:
        name: the session
        grace: seconds for which its keys so far are valid still
    """
    return await _made(caller, lambda: caller.backend.sessions.rotate(name, grace))


@method(
    "session.revoke",
    Role.ADMIN,
    errors=(Code.JOB_NOT_FOUND, Code.UNAVAILABLE),
    example=Example({"name": "deploy"}, _MADE),
    changes=True,
)
async def revoke(caller: Caller, name: SessionName) -> Session:
    """End a session: its keys are refused from the next call on, everywhere.

    Args:
        name: the session
    """
    return shown_session(await caller.backend.in_thread(lambda: caller.backend.sessions.revoke(name)))


async def _made(caller: Caller, change: Callable[[], tuple[Known, str]]) -> NewSession:
    return with_key(*await caller.backend.in_thread(change))
