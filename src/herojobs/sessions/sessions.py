"""The sessions of a home: made, checked, listed, revoked, rotated."""

from __future__ import annotations

import builtins
import logging
import re
import secrets
import sqlite3
from collections.abc import Iterable

import msgspec

from herojobs.errors import EmbeddedRedisError, InvalidName, InvalidSession, RedisUnavailable, SessionNotFound
from herojobs.job import now_ms
from herojobs.live.transport import Redis
from herojobs.names import fixed_name
from herojobs.sessions.book import Book, Key
from herojobs.sessions.keys import digest, id_in, new_id, new_key
from herojobs.sessions.session import ALL, Role, Session
from herojobs.sessions.shared import SharedKeys, find_many
from herojobs.settings import Settings

log = logging.getLogger("herojobs.sessions")

LOGIN_TTL = 600
"""Seconds that a login link may be used."""
BROWSER_TTL = 12 * 3600
"""Seconds that a browser stays logged in."""
MAX_TTL = 100 * 365 * 24 * 3600

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@-]{0,99}")


class Sessions:
    """The sessions of a home. Safe for threads and processes; every method but `check` may take milliseconds.

    Args:
        settings: where the home is, and which Redis is told.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._book = Book(settings.home / "var" / "sessions")
        self._shared = SharedKeys(settings)

    def check(self, key: str) -> Session | None:
        """Return the session that a key is of, None if the key isn't valid: unknown, expired or revoked.

        Takes some microseconds in a home that has sessions; elsewhere Redis is asked.

        Raises:
            SessionError: the sessions can't be read.
            RedisUnavailable: this home has no sessions, and Redis can't be reached.
        """
        if id_in(key) is None:
            return None
        digested = digest(key)
        found = self._book.find(key, digested) if self._book.is_there() else self._elsewhere(digested)
        return _holding(found)

    async def check_many(self, keys: Iterable[str], redis: Redis) -> dict[str, Session | None]:
        """Return the session of each key, None for those that aren't valid.

        Args:
            keys: the keys.
            redis: who is asked, once for all, where this home has no sessions of its own.

        Raises:
            as `check`.
        """
        given = list(keys)
        wanted = [key for key in given if id_in(key) is not None]
        if self._book.is_there() or not (wanted and self._settings.redis_url):
            return {key: self.check(key) for key in given}
        found = await find_many(redis, [digest(key) for key in wanted])
        sessions = dict(zip(wanted, map(_holding, found), strict=True))
        return {key: sessions.get(key) for key in given}

    @property
    def exist(self) -> bool:
        """Whether this home has ever had a session or a login link."""
        return self._book.is_there()

    def any(self) -> bool:
        """Return whether keys are asked for: any session was ever made, or the setting `require_session` is on.

        A session that was revoked counts too, so that revoking the last one doesn't open the door. Raises as `check`.
        """
        if self._settings.require_session:
            return True
        if self._book.is_there():
            return self._book.any()
        return bool(self._settings.redis_url) and self._shared.any()

    def create(
        self, name: str = "", circles: Iterable[str] = (), role: Role | str = Role.SUBMITTER, ttl: float | None = None
    ) -> tuple[Session, str]:
        """Make a session.

        Args:
            name: who it is for: letters, digits, spaces, `.`, `_`, `@` and `-`; unique. Empty: ROLE-NUMBER.
            circles: the circles it sees and touches; `*` = all. An admin has all.
            role: what it may do there; a `Role` or its name.
            ttl: seconds it holds; None or 0 = until it is revoked.

        Returns:
            the session and its key. The key is kept nowhere.

        Raises:
            InvalidSession: something in it is wrong.
            SessionError: the sessions can't be changed.
        """
        role = _role(role)
        name = name or f"{role.word}-{secrets.token_hex(3)}"
        if not _NAME.fullmatch(name):
            raise InvalidSession("name", name, "use 1 to 100 letters, digits, spaces, and . _ @ -")
        session = self._new(name, _circles(circles, role), role, ttl, login=False)
        return session, self._add(session)

    def revoke(self, name: str) -> Session:
        """End a session: its keys are refused from the next call on, everywhere.

        Args:
            name: its id or name.

        Raises:
            SessionNotFound: there is none.
        """
        session = self.get(name)
        with self._book.changing() as db:
            db.execute("UPDATE session SET revoked = ? WHERE id = ?", (now_ms(), session.id))
            db.execute("DELETE FROM key WHERE session = ?", (session.id,))
        self.publish()
        return session

    def rotate(self, name: str, grace: float = 0) -> tuple[Session, str]:
        """Give a session a new key.

        Args:
            name: its id or name.
            grace: seconds for which its keys so far are valid still.

        Raises:
            SessionNotFound: there is none.
            InvalidSession: grace is negative.
        """
        if not 0 <= grace <= MAX_TTL:
            raise InvalidSession("grace", grace, "use 0 or more seconds")
        session = self.get(name)
        key = new_key(session.id)
        with self._book.changing() as db:
            if grace:
                ends = now_ms() + int(grace * 1000)
                db.execute(
                    "UPDATE key SET expires = ? WHERE session = ? AND (expires = 0 OR expires > ?)",
                    (ends, session.id, ends),
                )
            else:
                db.execute("DELETE FROM key WHERE session = ?", (session.id,))
            db.execute("INSERT INTO key (hash, session) VALUES (?, ?)", (digest(key), session.id))
        self.publish()
        return session, key

    def get(self, name: str) -> Session:
        """Return a session that holds, by its id or name.

        Raises:
            SessionNotFound: there is none.
        """
        holding = self.list()
        for session in holding:
            if name in (session.id, session.name):
                return session
        raise SessionNotFound(name, [session.name for session in holding])

    def new_login(self, ttl: float = LOGIN_TTL) -> str:
        """Return a token that logs one browser in as admin, once, within `ttl` seconds; see `login`."""
        token = secrets.token_urlsafe(32)
        with self._book.changing() as db:
            db.execute("DELETE FROM login WHERE expires <= ?", (now_ms(),))
            db.execute("INSERT INTO login VALUES (?, ?)", (digest(token), now_ms() + int(ttl * 1000)))
        return token

    def login(self, token: str) -> tuple[Session, str] | None:
        """Use a login token: return the browser's session and its key, None if the token isn't valid any more."""
        if not self._book.is_there():
            return None
        now = now_ms()
        with self._book.reading() as db:  # who only guesses costs no write
            if db.execute("SELECT 1 FROM login WHERE hash = ?", (digest(token),)).fetchone() is None:
                return None
        with self._book.changing() as db:
            used = db.execute("DELETE FROM login WHERE hash = ? RETURNING expires", (digest(token),)).fetchone()
        if used is None or used[0] <= now:
            return None
        session = self._new("browser", (ALL,), Role.ADMIN, BROWSER_TTL, login=True)
        return session, self._add(session)

    def publish(self) -> None:
        """Tell Redis what it doesn't know yet; a WatchDog does so every now and then.

        A home whose Redis is the embedded one has no other hosts to tell.
        """
        if not (self._settings.redis_url and self._book.is_there()):
            return
        try:
            self._shared.publish(*self._book.keys())
        except (RedisUnavailable, EmbeddedRedisError) as e:
            log.warning("hosts without this home folder don't know of the change yet: %s", e)

    def close(self) -> None:
        """Close what is open; the next use opens it again."""
        self._book.close()
        self._shared.close()

    def _elsewhere(self, digested: bytes) -> Key | None:
        return self._shared.find(digested) if self._settings.redis_url else None

    def _new(self, name: str, circles: tuple[str, ...], role: Role, ttl: float | None, *, login: bool) -> Session:
        if ttl is not None and not 0 <= ttl <= MAX_TTL:
            raise InvalidSession("ttl", ttl, "use 0 (until it is revoked) or more seconds")
        now = now_ms()
        return Session(new_id(), name, circles, role, now, now + int(ttl * 1000) if ttl else 0, login=login)

    def _add(self, session: Session) -> str:
        """Write a new session into the book; return its key."""
        key = new_key(session.id)
        now = now_ms()
        with self._book.changing() as db:
            # What expired long ago is of no interest to anybody; browsers would fill the book.
            db.execute("DELETE FROM key WHERE expires BETWEEN 1 AND ?", (now,))
            db.execute("DELETE FROM session WHERE login = 1 AND expires <= ?", (now,))
            taken = db.execute(
                "SELECT id FROM session WHERE name = ? AND revoked = 0 AND login = 0 AND (expires = 0 OR expires > ?)",
                (session.name, now),
            ).fetchone()
            if taken is not None and not session.login:
                raise InvalidSession("name", session.name, f"session {taken[0]} has it; revoke or rotate that one")
            _insert(db, session)
            db.execute("INSERT INTO key (hash, session) VALUES (?, ?)", (digest(key), session.id))
        self.publish()
        return key

    def list(self, *, ended: bool = False) -> builtins.list[Session]:
        """Return the sessions that hold, the oldest first; `ended` = those that expired or were revoked, too."""
        if not self._book.is_there():
            return []
        now = now_ms()
        return [
            session
            for session in self._book.sessions()
            if ended or not (session.revoked_ms or (session.expires_ms and session.expires_ms <= now))
        ]


def _holding(found: Key | None) -> Session | None:
    """Return the session of a key that hasn't expired."""
    if found is None or (found.expires_ms and found.expires_ms <= now_ms()):
        return None
    return found.session


def _insert(db: sqlite3.Connection, session: Session) -> None:
    circles = msgspec.json.encode(session.circles).decode()
    db.execute(
        "INSERT INTO session (id, name, circles, role, created, expires, login) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            session.id,
            session.name,
            circles,
            int(session.role),
            session.created_ms,
            session.expires_ms,
            int(session.login),
        ),
    )


def _role(role: Role | str) -> Role:
    if isinstance(role, Role):
        return role
    try:
        return Role[role.upper()]
    except KeyError:
        words = ", ".join(each.word for each in Role)
        raise InvalidSession("role", role, f"no such role; one of {words}") from None


def _circles(given: Iterable[str], role: Role) -> tuple[str, ...]:
    try:
        circles = sorted({ALL if each == ALL else fixed_name(each, "circle") for each in given})
    except InvalidName as e:
        raise InvalidSession("circle", e.got, "no name of a circle; use a name like 'reports', or * for all") from None
    if role == Role.ADMIN:
        if circles and circles != [ALL]:
            raise InvalidSession("circles", circles, "an admin has all circles; leave them out, or make an operator")
        return (ALL,)
    if not circles:
        raise InvalidSession("circles", circles, "name the circles that it may see, or * for all")
    return (ALL,) if ALL in circles else tuple(circles)
