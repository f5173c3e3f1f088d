"""The context of a call: who makes it, over which connection, and what it works on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from herojobs.errors import RpcError
from herojobs.jsonrpc.codes import Code
from herojobs.sessions import Role, Session

if TYPE_CHECKING:
    from herojobs.server.backend import Backend

LOCAL = Session("local", "local", ("*",), Role.ADMIN, 0, 0)
"""Who calls from this machine while no sessions were made."""


class Stream(Protocol):
    """A connection over which the server can speak by itself: a WebSocket."""

    def subscribe(self, circle: str | None, topic: str | None, id: int | None, circles: frozenset[str] | None) -> str:
        """Begin to send events; return the subscription's id."""

    def unsubscribe(self, id: str) -> bool:
        """End a subscription; return whether there was one."""

    def adopt(self, key: str | None) -> None:
        """Have further messages be of a session key's session; None: of nobody."""


async def _is_there() -> bool:
    return False


class Caller:
    """Who calls, as it was when its message came: the calls of a batch see the same session.

    Attributes:
        backend: what methods work on.
        session: what the caller may do; None: nobody we know.
        key: the session key that it showed.
        local: whether it comes from this machine, and may act without a session while none were made.
        stream: its WebSocket, None over HTTP.
        url: the address by which it came here, as http://host:port.
        gone: tells whether it has closed its connection and hears of no answer any more.
    """

    __slots__ = ("backend", "gone", "key", "local", "session", "stream", "url")

    def __init__(
        self, backend: Backend, *, key: str = "", local: bool = False, stream: Stream | None = None, url: str = ""
    ) -> None:
        self.backend = backend
        self.local = local
        self.stream = stream
        self.url = url
        self.gone: Callable[[], Awaitable[bool]] = _is_there
        self.session: Session | None = backend.session_of(key, local)
        self.key = key if self.session is not None else ""

    def may_see(self, circle: str) -> bool:
        """Return whether the caller may see a circle, given by its fixed name."""
        return self.session is not None and self.session.allows(Role.VIEWER, circle)

    def check_again(self) -> None:
        """Refuse to go on if the session has ended meanwhile, for calls that last.

        Raises:
            RpcError: it has.
            HeroJobsError: the sessions can't be read now.
        """
        if self.session is not None and self.backend.session_of(self.key, self.local) is None:
            raise RpcError(Code.UNAUTHORIZED, "Unauthorized: the session has ended")

    async def is_over(self) -> bool:
        """Return whether the caller is gone, for calls that wait; raises as `check_again`."""
        self.check_again()
        return await self.gone()

    @property
    def circles(self) -> tuple[str, ...] | None:
        """The circles that the caller sees, None = all."""
        assert self.session is not None
        return None if "*" in self.session.circles else self.session.circles
