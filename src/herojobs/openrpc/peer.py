"""One service as this process sees it: its connections, its document, how many calls it has under way."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from herojobs.errors import RpcError
from herojobs.jsonrpc.codes import Code
from herojobs.jsonrpc.messages import encode_request
from herojobs.openrpc.context import CallContext
from herojobs.openrpc.document import BrokenDocument, Document, DocumentedMethod, unknown_method
from herojobs.openrpc.faults import Fault, bad_answer
from herojobs.openrpc.services import write_whole
from herojobs.openrpc.transport import Transport, open_transport, prepare
from herojobs.service_settings import Service

FRESH = 300.0
"""Seconds that a document counts as current."""
AGAIN = 5.0
"""Seconds before a document is asked for again that couldn't be had, or that doesn't have a method."""
DISCOVER_TIMEOUT = 10.0


class Peer:
    """A service that is called.

    Args:
        name: its name; a URL for one that has none.
        service: what the settings say of it.
        home: the home folder.
        folder: where its document is kept; None: nowhere.
        address: the address that the guard has checked, empty for a service of the settings.
    """

    def __init__(self, name: str, service: Service, home: Path, folder: Path | None, address: str = "") -> None:
        self.name = name
        self.service = service
        self.address = address
        self.room = asyncio.Semaphore(service.concurrency)
        self._home = home
        self._file = folder / f"{name}.json" if folder is not None else None
        self.transport: Transport | None = None
        self._document: Document | None = None
        self._data = b""
        self._note = ""
        self._good_until = 0.0
        self._refresh_from = 0.0
        self._refreshed = 0.0
        self._seen = self._changed()
        self._lock = asyncio.Lock()
        self._numbers = itertools.count(1)

    async def opened(self) -> Transport:
        """Return the way to it, opened at the first call.

        Raises:
            Fault: a header's variable isn't set.
        """
        if self.transport is None:
            await prepare(self.service)
        if self.transport is None:
            self.transport = open_transport(self.service, self.address)
        return self.transport

    async def close(self) -> None:
        """Close its connections."""
        if self.transport is not None:
            await self.transport.close()
            self.transport = None

    async def close_when_idle(self) -> None:
        """Close its connections once no call is under way any more."""
        for _ in range(self.service.concurrency):
            await self.room.acquire()
        await self.close()

    async def method(self, name: str, context: CallContext) -> DocumentedMethod | None:
        """Return what the document says of a method; None if there is no document, which the job's log tells.

        Raises:
            RpcError: -32601, it isn't in the document, nor in a fresh one.
            Fault: the document that the settings name can't be read.
        """
        document = await self.document(context)
        if document is not None and name not in document.methods and time.monotonic() >= self._refresh_from:
            document = await self.document(context, refresh=True)
        if document is None:
            return None
        found = document.methods.get(name)
        if found is None:
            raise unknown_method(name, document.methods)
        return found

    async def document(self, context: CallContext, *, refresh: bool = False) -> Document | None:
        """Return the document, None if there is none.

        Args:
            context: who asks; the log hears why there is none.
            refresh: whether to ask for it though the one at hand is current.

        Raises:
            Fault: the document that the settings name can't be read.
        """
        if self.service.document == "none":
            return None
        if self._seen != self._changed():  # another process has a newer one
            with suppress(OSError, BrokenDocument):
                self._load()
                self._note = ""
        if refresh or time.monotonic() >= self._good_until:
            asked = time.monotonic()
            async with self._lock:
                if self._refreshed <= asked:  # nobody else has while we waited
                    await self._refresh()
                    self._refreshed = time.monotonic()
        if self._note:
            context.log(f"{self.name}: {self._note}")
        return self._document

    async def _refresh(self) -> None:
        now = time.monotonic()
        self._refresh_from = now + AGAIN
        try:
            self._take(await self._fetch())
            self._good_until, self._note = time.monotonic() + FRESH, ""
            return
        except RpcError as e:
            if isinstance(e, Fault) and "://" not in self.service.document and self.service.document != "discover":
                raise
            why, wait = str(e), FRESH if e.code == Code.METHOD_NOT_FOUND else AGAIN
            if e.code == Code.METHOD_NOT_FOUND:
                self._document = None
        except BrokenDocument as e:
            why, wait = f"the document is broken: {e}", FRESH
        self._good_until = time.monotonic() + wait
        if self._document is None and wait == AGAIN and self._file is not None:
            with suppress(OSError, BrokenDocument):
                self._load()
        if self._document is not None:
            self._note = f"its document can't be had now ({why}); an older one serves"
        else:
            self._note = f"it has no document ({why}); calls go out unchecked"

    async def _fetch(self) -> bytes:
        source = self.service.document
        seconds = min(self.service.timeout, DISCOVER_TIMEOUT)
        if source == "discover":
            id = f"rpc.discover#{next(self._numbers)}"
            reply = await (await self.opened()).send(encode_request("rpc.discover", None, id), [id], {}, seconds)
            answer = reply.answers[0]
            if answer.error is not None:
                raise answer.error
            return answer.result
        if "://" in source:
            same = urlsplit(source)[:2] == urlsplit(self.service.url)[:2]  # nobody else sees the headers
            headers = self.service.headers if same else {}
            service = msgspec.structs.replace(self.service, url=source, headers=headers)
            await prepare(service)
            made: Any = open_transport(service)
            try:
                return bytes(await made.get(seconds))
            finally:
                await made.close()
        path = self._home / Path(source).expanduser()
        try:
            data = path.read_bytes()
            Document(data)
        except (OSError, BrokenDocument) as e:
            told = e.strerror if isinstance(e, OSError) else e
            raise bad_answer(f"the document {path} of service {self.name} can't be read: {told}") from None
        return data

    def _take(self, data: bytes) -> None:
        """Make a document the current one, and keep it for when none can be had."""
        if self._use(data) and self._file is not None:
            with suppress(OSError):  # it is a fallback, no more
                self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                write_whole(self._file, data)
            self._seen = self._changed()

    def _load(self) -> None:
        """Make the document that is kept the current one."""
        assert self._file is not None
        self._seen = self._changed()
        self._use(self._file.read_bytes())

    def _use(self, data: bytes) -> bool:
        """Return whether this is another document; compiled schemas stay if it is the one that was there."""
        if self._document is not None and data == self._data:
            return False
        self._document, self._data = Document(data), data
        return True

    def _changed(self) -> int:
        """Return when the document that is kept was written, 0 if there is none."""
        try:
            return 0 if self._file is None else self._file.stat().st_mtime_ns
        except OSError:
            return 0
