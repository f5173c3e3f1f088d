"""The methods of sessions; making and revoking them is the command's."""

from __future__ import annotations

from herojobs.jsonrpc import Example, RpcError
from herojobs.jsonrpc.codes import Code
from herojobs.server.caller import LOCAL, Caller
from herojobs.server.methods.registry import method
from herojobs.server.shapes import Session, shown_session
from herojobs.sessions import Role

_SHOWN = {"id": "local", "name": "local", "circles": ["*"], "role": "admin", "created_ms": 0, "expires_ms": 0}


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


@method("session.list", Role.ADMIN, example=Example({}, []))
async def list_sessions(caller: Caller) -> list[Session]:
    """Return all sessions, never their keys."""
    sessions = await caller.backend.in_thread(caller.backend.sessions.list)
    return [shown_session(session) for session in sessions]


@method("session.close", Role.VIEWER, example=Example({}, True))
def close_session(caller: Caller) -> bool:
    """Forget the session on this WebSocket; its key stays valid. Where no sessions were made nothing changes."""
    if caller.stream is not None and caller.session is not LOCAL:
        caller.stream.adopt(None)
    return True
