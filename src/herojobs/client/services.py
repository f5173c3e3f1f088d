"""`HeroJobs.services` and `AsyncHeroJobs.services`: the services that jobs of kind `openrpc` may call.

`LocalServices` works on the home, `RemoteServices` asks a server; both are coroutines, over which the two faces lie.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import msgspec

from herojobs.errors import RpcError, ServiceNotFound
from herojobs.jsonrpc.codes import Code
from herojobs.live.transport import run_sync

if TYPE_CHECKING:
    from herojobs.settings import Settings


class ShownService(msgspec.Struct):
    """A service as it is shown.

    Attributes:
        name: its name.
        url: its address, without what may be secret in it.
        origin: `settings`, `added`, or `server`: the server itself.
        circles: the circles that may call it, of those that the session sees; `*` = all.
        methods: patterns of the methods that jobs may call.
        settings: all fields of its table, secrets masked; for admins alone.
        document: its OpenRPC document, where one was asked for; None if it has none.
        note: why the document can't be had, or is an old one.
    """

    name: str
    url: str
    origin: str
    circles: list[str]
    methods: list[str]
    settings: dict[str, Any] | None = None
    document: Any = None
    note: str = ""


class LocalServices:
    """The services of the home.

    Args:
        settings: where the home is.
        apart: calls what may wait for a disk or a service.
    """

    def __init__(self, settings: Settings, apart: Callable[..., Awaitable[Any]]) -> None:
        from herojobs.openrpc import Services

        self._settings = settings
        self._services = Services(settings)
        self._apart = apart

    async def set(self, name: str, fields: dict[str, Any]) -> ShownService:
        """Add or change a service."""
        await self._apart(self._services.set, name, fields)
        return self._shown(name)

    async def get(self, name: str, refresh: bool) -> ShownService:
        """Return a service with its document."""
        found = self._shown(name)
        told: list[str] = []

        def ask() -> Any:
            with ThreadPoolExecutor(1) as thread:  # here an event loop may run already
                return thread.submit(asyncio.run, self._document(name, refresh, told)).result()

        found.document = await self._apart(ask)
        found.note = " ".join(told)
        if refresh and told:
            raise RpcError(Code.UNREACHABLE, found.note)
        return found

    async def remove(self, name: str) -> None:
        """Remove a service."""
        self._shown(name)
        await self._apart(self._services.remove, name)

    async def find(self) -> list[ShownService]:
        """Return all services, without their documents."""
        return [self._shown(name) for name in self._services.all()]

    def _shown(self, name: str) -> ShownService:
        from herojobs.openrpc.services import shown_service

        known = self._services.all()
        if name not in known:
            raise ServiceNotFound(name, known)
        listed = known[name]
        fields = shown_service(listed.service)
        return ShownService(
            name, fields["url"], listed.origin, list(fields["circles"]), list(fields["methods"]), fields
        )

    async def _document(self, name: str, refresh: bool, told: list[str]) -> dict[str, Any] | None:
        from herojobs.jsonrpc import Methods
        from herojobs.openrpc import ALL, CallContext, Caller, PythonMethods

        caller = Caller(self._settings, PythonMethods(Methods()))
        try:
            return await caller.document(name, CallContext("", ALL, told.append), refresh=refresh)
        finally:
            await caller.close()


class RemoteServices:
    """The services of a server's home.

    Args:
        call: calls a method: its name, parameters, and the type of its result.
    """

    def __init__(self, call: Callable[[str, dict[str, Any], Any], Awaitable[Any]]) -> None:
        self._call = call

    async def set(self, name: str, fields: dict[str, Any]) -> ShownService:
        """Add or change a service."""
        return await self._one("set", {"name": name, "service": fields})

    async def get(self, name: str, refresh: bool) -> ShownService:
        """Return a service with its document."""
        return await self._one("refresh" if refresh else "get", {"name": name})

    async def remove(self, name: str) -> None:
        """Remove a service."""
        await self._call("service.remove", {"name": name}, bool)

    async def find(self) -> list[ShownService]:
        """Return the services that the session's circles may call, without their documents."""
        found: list[ShownService] = await self._call("service.list", {}, list[ShownService])
        return found

    async def _one(self, what: str, given: dict[str, Any]) -> ShownService:
        found: ShownService = await self._call(f"service.{what}", given, ShownService)
        return found


ServicesCore = LocalServices | RemoteServices


class ClientServices:
    """The services of the home, or of a server's; get it as `HeroJobs.services`.

    hero.services.set("pets", {"url": "http://127.0.0.1:8080", "circles": ["acme"]})
    """

    def __init__(self, core: ServicesCore) -> None:
        self._core = core

    def set(self, name: str, fields: Mapping[str, Any]) -> ShownService:
        """Add a service, or change one that was added; workers know it at once.

        Args:
            name: its name: letters, digits, `_`, `.` and `-`.
            fields: the fields of its table in the settings: url, document, headers, timeout, retries ...

        Raises:
            SettingsError: the name or a field is wrong, or the settings hold one of that name.
        """
        return run_sync(self._core.set(name, dict(fields)))

    def get(self, name: str, *, refresh: bool = False) -> ShownService:
        """Return a service with its document; `refresh` = ask the service for it anew, for all processes.

        Raises:
            ServiceNotFound: there is none.
            RpcError: its document can't be had, and it was to be asked anew.
        """
        return run_sync(self._core.get(name, refresh))

    def remove(self, name: str) -> None:
        """Remove a service that was added.

        Raises:
            ServiceNotFound: there is none.
            SettingsError: it stands in the settings.
        """
        run_sync(self._core.remove(name))

    def list(self) -> list[ShownService]:
        """Return the services, by name, without their documents."""
        return run_sync(self._core.find())


class AsyncClientServices:
    """`ClientServices` as coroutines; get it as `AsyncHeroJobs.services`."""

    def __init__(self, core: ServicesCore) -> None:
        self._core = core

    async def set(self, name: str, fields: Mapping[str, Any]) -> ShownService:
        """Add or change a service; see `ClientServices.set`."""
        return await self._core.set(name, dict(fields))

    async def get(self, name: str, *, refresh: bool = False) -> ShownService:
        """Return a service with its document; see `ClientServices.get`."""
        return await self._core.get(name, refresh)

    async def remove(self, name: str) -> None:
        """Remove a service that was added; see `ClientServices.remove`."""
        await self._core.remove(name)

    async def list(self) -> list[ShownService]:
        """Return the services, without their documents; see `ClientServices.list`."""
        return await self._core.find()
