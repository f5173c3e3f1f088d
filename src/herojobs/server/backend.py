"""What the methods work on: the client's core, the store, Redis, sessions; opened once for the server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from herojobs.client.core import Core
from herojobs.client.together import Together
from herojobs.jsonrpc import RpcError
from herojobs.jsonrpc.codes import Code
from herojobs.live.connect import connect_async
from herojobs.openrpc import Services
from herojobs.schedules import ScheduleBook
from herojobs.server.caller import LOCAL
from herojobs.server.errors import RETRY_AFTER
from herojobs.server.feed import Feed
from herojobs.server.leases import Leases
from herojobs.sessions import Audit, Session, Sessions
from herojobs.settings import Settings
from herojobs.store import JobIndex, JobStore

if TYPE_CHECKING:
    from herojobs.openrpc import Caller

T = TypeVar("T")

LOOK = 1.0
"""Seconds between two looks whether a caller that waits is still there."""


class Backend:
    """Opens what the server needs; an asynchronous context manager.

    Args:
        settings: the settings in force.

    Attributes:
        stopping: set once the server ends: who waits for a job is answered.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.stopping = asyncio.Event()
        self._calls: Caller | None = None
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Backend:
        try:
            self.redis = await connect_async(self.settings)
            self._stack.push_async_callback(self.redis.close)
            self.store = JobStore(self.settings)
            self._stack.callback(self.store.close)
            self.index = JobIndex(self.store)
            self._stack.callback(self.index.close)
            self.sessions = Sessions(self.settings)
            self._stack.callback(self.sessions.close)
            self.book = ScheduleBook(self.settings)
            self._stack.callback(self.book.close)
            self.audit = Audit(self.settings)
            self._stack.callback(self.audit.close)
            self.core = Core(self.settings, self.redis, self.store, self.index, self.sessions)
            self.services = Services(self.settings)
            self.submissions = Together(self.core, self.settings.max_params)
            self.feed = await self._stack.enter_async_context(Feed(self.redis))
            self.leases = Leases(self.redis, self.store, self.settings, self.feed, self.core.rules.read, self.stopping)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def calls(self) -> Caller:
        """Return what calls other services, for their documents; made when it is first asked for."""
        if self._calls is None:
            from herojobs.jsonrpc import Methods
            from herojobs.openrpc import Caller, PythonMethods

            self._calls = Caller(self.settings, PythonMethods(Methods()))
            self._stack.push_async_callback(self._calls.close)
        return self._calls

    def at_close(self, close: Callable[[], Awaitable[None]]) -> None:
        """Have something closed before what is open here."""
        self._stack.push_async_callback(close)

    def session_of(self, key: str, local: bool) -> Session | None:
        """Return the session of a caller, None if there is none.

        Args:
            key: the session key it showed, empty if none.
            local: whether it comes from this machine.
        """
        if key:
            return self.sessions.check(key)
        return LOCAL if local and not self.sessions.any() else None

    async def in_thread(self, function: Callable[[], T]) -> T:
        """Run a function that takes a while in a thread; answer that we are away if the server ends meanwhile."""
        return await self.unless_stopping(asyncio.ensure_future(asyncio.to_thread(function)))

    async def unless_stopping(self, task: asyncio.Future[T], gone: Callable[[], Awaitable[bool]] | None = None) -> T:
        """Return what a task returns; it is cancelled if nobody is to hear of it.

        Args:
            task: the task.
            gone: tells whether the caller has closed its connection; asked every second.

        Raises:
            RpcError: the server ends, or the caller is gone.
        """
        stop = asyncio.ensure_future(self.stopping.wait())
        try:
            while True:
                await asyncio.wait((task, stop), timeout=LOOK, return_when=asyncio.FIRST_COMPLETED)
                if task.done():
                    return task.result()
                if stop.done():
                    raise RpcError(Code.UNAVAILABLE, "the server is going down", {"retry_after": RETRY_AFTER})
                if gone is not None and await gone():
                    raise RpcError(Code.UNAVAILABLE, "the caller is gone")
        finally:
            stop.cancel()
            task.cancel()
