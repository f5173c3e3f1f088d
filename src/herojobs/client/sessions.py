"""`HeroJobs.sessions` and `AsyncHeroJobs.sessions`: who may do what, and who did.

`LocalSessions` works on the home's book, `RemoteSessions` asks a server; both are coroutines, over which the two faces
lie.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from herojobs.live.transport import run_sync
from herojobs.sessions import Audit, Entry, Role, Session, Sessions

if TYPE_CHECKING:
    from herojobs.settings import Settings

MOST_ENTRIES = 1000
"""Entries of the audit log that one call of a server returns."""


class ShownSession(msgspec.Struct):
    """A session as the server shows it; times are unix ms, `expires_ms` 0 = never, `revoked_ms` 0 = it holds."""

    id: str
    name: str
    circles: list[str]
    role: str
    created_ms: int
    expires_ms: int
    revoked_ms: int
    login: bool

    def session(self) -> Session:
        """Return it as the local client gives it."""
        return Session(
            self.id,
            self.name,
            tuple(self.circles),
            Role[self.role.upper()],
            self.created_ms,
            self.expires_ms,
            self.revoked_ms,
            self.login,
        )


class _Made(ShownSession):
    key: str


class LocalSessions:
    """The sessions of the home.

    Args:
        settings: where the home is.
        apart: calls what may wait for a disk or a lock.
    """

    def __init__(self, settings: Settings, apart: Callable[..., Awaitable[Any]]) -> None:
        self._sessions = Sessions(settings)
        self._audit = Audit(settings)
        self._apart = apart

    async def create(self, name: str, circles: Iterable[str], role: Role | str, ttl: float) -> tuple[Session, str]:
        """Make a session."""
        return await self._noted("session.create", lambda: self._sessions.create(name, circles, role, ttl))

    async def rotate(self, name: str, grace: float) -> tuple[Session, str]:
        """Give a session a new key."""
        return await self._noted("session.rotate", lambda: self._sessions.rotate(name, grace))

    async def revoke(self, name: str) -> Session:
        """End a session."""
        return (await self._noted("session.revoke", lambda: (self._sessions.revoke(name), "")))[0]

    async def get(self, name: str) -> Session:
        """Return a session that holds."""
        found: Session = await self._apart(self._sessions.get, name)
        return found

    async def find(self, ended: bool) -> list[Session]:
        """Return the sessions that hold, or all."""
        found: list[Session] = await self._apart(lambda: self._sessions.list(ended=ended))
        return found

    async def audit(self, since_ms: int, circle_id: str | None, session: str | None, limit: int) -> list[Entry]:
        """Return entries of the audit log, the newest first."""

        def read() -> list[Entry]:
            self._audit.flush()
            return list(islice(self._audit.read(since_ms=since_ms, circle=circle_id, session=session), limit))

        found: list[Entry] = await self._apart(read)
        return found

    def close(self) -> None:
        """Close what is open; used again, it opens."""
        self._sessions.close()
        self._audit.close()

    async def _noted(self, method: str, change: Callable[[], tuple[Session, str]]) -> tuple[Session, str]:
        def run() -> tuple[Session, str]:
            session, key = change()
            self._audit.note(None, method, ref=session.id)
            return session, key

        made: tuple[Session, str] = await self._apart(run)
        return made


class RemoteSessions:
    """The sessions of a server's home.

    Args:
        call: calls a method: its name, parameters, and the type of its result.
    """

    def __init__(self, call: Callable[[str, dict[str, Any], Any], Awaitable[Any]]) -> None:
        self._call = call

    async def create(self, name: str, circles: Iterable[str], role: Role | str, ttl: float) -> tuple[Session, str]:
        """Make a session."""
        word = role.word if isinstance(role, Role) else role
        given = {"name": name, "circles": list(circles), "role": word, "ttl": ttl}
        made: _Made = await self._call("session.create", given, _Made)
        return made.session(), made.key

    async def rotate(self, name: str, grace: float) -> tuple[Session, str]:
        """Give a session a new key."""
        made: _Made = await self._call("session.rotate", {"name": name, "grace": grace}, _Made)
        return made.session(), made.key

    async def revoke(self, name: str) -> Session:
        """End a session."""
        shown: ShownSession = await self._call("session.revoke", {"name": name}, ShownSession)
        return shown.session()

    async def get(self, name: str) -> Session:
        """Return a session that holds."""
        from herojobs.errors import SessionNotFound

        holding = await self.find(False)
        for session in holding:
            if name in (session.id, session.name):
                return session
        raise SessionNotFound(name, [session.name for session in holding])

    async def find(self, ended: bool) -> list[Session]:
        """Return the sessions that hold, or all."""
        shown: list[ShownSession] = await self._call("session.list", {"ended": ended}, list[ShownSession])
        return [each.session() for each in shown]

    async def audit(self, since_ms: int, circle_id: str | None, session: str | None, limit: int) -> list[Entry]:
        """Return entries of the audit log, the newest first."""
        given = {"since": since_ms, "circle_id": circle_id, "session": session, "limit": min(limit, MOST_ENTRIES)}
        found: list[Entry] = await self._call("session.audit", given, list[Entry])
        return found

    def close(self) -> None:
        """Do nothing: the client closes its connections."""


SessionsCore = LocalSessions | RemoteSessions


class ClientSessions:
    """The sessions of the home, or of a server's; get it as `HeroJobs.sessions`.

        session, key = hero.sessions.create("billing", circles=["acme"], role="submitter", ttl=30 * 86_400)

    A server wants an admin's key for all of this.
    """

    def __init__(self, core: SessionsCore) -> None:
        self._core = core

    def create(
        self, name: str = "", *, circles: Iterable[str] = (), role: Role | str = "submitter", ttl: float = 0
    ) -> tuple[Session, str]:
        """Make a session.

        Args:
            name: who it is for: letters, digits, spaces, `.`, `_`, `@` and `-`; unique. Empty: ROLE-NUMBER.
            circles: the circles it sees and touches; `*` = all. An admin has all.
            role: viewer, submitter, operator or admin.
            ttl: seconds it holds; 0 = until it is revoked.

        Returns:
            the session and its key, which is kept nowhere.

        Raises:
            InvalidSession: something in it is wrong.
            SessionError: the sessions can't be changed.
        """
        return run_sync(self._core.create(name, circles, role, ttl))

    def rotate(self, name: str, *, grace: float = 0) -> tuple[Session, str]:
        """Give a session a new key.

        Args:
            name: its id or name.
            grace: seconds for which its keys so far are valid still.

        Raises:
            SessionNotFound: there is none.
            InvalidSession: grace is negative.
        """
        return run_sync(self._core.rotate(name, grace))

    def revoke(self, name: str) -> Session:
        """End a session, given by its id or name: its keys are refused from the next call on. Raises as `get`."""
        return run_sync(self._core.revoke(name))

    def get(self, name: str) -> Session:
        """Return a session that holds, by its id or name.

        Raises:
            SessionNotFound: there is none.
        """
        return run_sync(self._core.get(name))

    def audit(
        self,
        *,
        since: datetime | None = None,
        circle_id: str | None = None,
        session: str | None = None,
        limit: int = 100,
    ) -> list[Entry]:
        """Return who changed what, the newest first.

        Args:
            since: not what was before.
            circle_id: what concerned a circle.
            session: what a session did, by its id or name.
            limit: most entries; a server returns 1,000 at most.

        Raises:
            OurDBError: the log is damaged.
        """
        return run_sync(self._core.audit(_ms(since), circle_id, session, limit))

    def close(self) -> None:
        """Close what is open; used again, it opens."""
        self._core.close()

    def list(self, *, ended: bool = False) -> list[Session]:
        """Return the sessions that hold, the oldest first; `ended` = also those that expired or were revoked."""
        return run_sync(self._core.find(ended))


class AsyncClientSessions:
    """`ClientSessions` as coroutines; get it as `AsyncHeroJobs.sessions`."""

    def __init__(self, core: SessionsCore) -> None:
        self._core = core

    async def create(
        self, name: str = "", *, circles: Iterable[str] = (), role: Role | str = "submitter", ttl: float = 0
    ) -> tuple[Session, str]:
        """Make a session; see `ClientSessions.create`."""
        return await self._core.create(name, circles, role, ttl)

    async def rotate(self, name: str, *, grace: float = 0) -> tuple[Session, str]:
        """Give a session a new key; see `ClientSessions.rotate`."""
        return await self._core.rotate(name, grace)

    async def revoke(self, name: str) -> Session:
        """End a session; see `ClientSessions.revoke`."""
        return await self._core.revoke(name)

    async def get(self, name: str) -> Session:
        """Return a session that holds; see `ClientSessions.get`."""
        return await self._core.get(name)

    async def audit(
        self,
        *,
        since: datetime | None = None,
        circle_id: str | None = None,
        session: str | None = None,
        limit: int = 100,
    ) -> list[Entry]:
        """Return who changed what; see `ClientSessions.audit`."""
        return await self._core.audit(_ms(since), circle_id, session, limit)

    def close(self) -> None:
        """Close what is open; used again, it opens."""
        self._core.close()

    async def list(self, *, ended: bool = False) -> list[Session]:
        """Return the sessions that hold, or all; see `ClientSessions.list`."""
        return await self._core.find(ended)


def _ms(moment: datetime | None) -> int:
    return 0 if moment is None else int(moment.timestamp() * 1000)
