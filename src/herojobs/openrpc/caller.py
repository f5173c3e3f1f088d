"""The way of a call: found, checked, sent, tried again where that can do no harm, its answer checked."""

from __future__ import annotations

import asyncio
import fnmatch
import hashlib
import itertools
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from herojobs.errors import RpcError
from herojobs.jsonrpc.codes import Code
from herojobs.jsonrpc.messages import Answer, encode_batch
from herojobs.openrpc.context import ALL, CallContext, MethodInfo
from herojobs.openrpc.document import BrokenDocument, DocumentedMethod, unknown_method
from herojobs.openrpc.faults import Fault, bad_answer, refused
from herojobs.openrpc.guard import Guard
from herojobs.openrpc.masking import Mask
from herojobs.openrpc.peer import Peer
from herojobs.openrpc.plan import Call, Plan
from herojobs.openrpc.services import Services
from herojobs.openrpc.transport import secrets_of
from herojobs.service_settings import Service
from herojobs.settings import Settings

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
"""Seconds before the second attempt; twice as long before each further one."""
MOST_PEERS = 200
"""Most URLs without a name that connections are kept to."""


class Answered(NamedTuple):
    """What became of a call.

    Attributes:
        call: the call.
        result: JSON of its result; empty if it failed, or no answer was wanted.
        error: why it failed, None if it didn't.
        attempts: how often it was sent.
        number: which of the plan's calls it is, from 1.
    """

    call: Call
    result: bytes
    error: RpcError | None
    attempts: int
    number: int = 0


class Local(Protocol):
    """Methods that need no service."""

    def names(self, circle: str) -> Iterable[str]:
        """Return the names of what a circle may call."""
        ...

    def infos(self, circle: str) -> Iterable[MethodInfo]:
        """Return the methods that describe themselves."""
        ...

    def check(self, method: str, params: bytes | None, circle: str) -> None:
        """Raise `RpcError` if params don't fit a method."""
        ...

    async def call(self, method: str, params: bytes | None, context: CallContext) -> bytes:
        """Call a method and return its result as JSON; raise `RpcError`."""
        ...


class _Ready(NamedTuple):
    """A call that was found to be good."""

    place: int
    call: Call
    documented: DocumentedMethod | None


class Caller:
    """Makes calls; belongs to one event loop.

    Args:
        settings: the settings in force.
        local: methods that need no service.
    """

    def __init__(self, settings: Settings, local: Local) -> None:
        self.services = Services(settings)
        self._settings = settings
        self._local = local
        self._guard = Guard(settings.openrpc_allow_urls)
        self._peers: dict[str, Peer] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Close all connections."""
        peers, self._peers = self._peers, {}
        for peer in peers.values():
            await peer.close()

    async def call(
        self, service: str, method: str, params: Any, context: CallContext, *, timeout: float | None = None
    ) -> Any:
        """Make one call and return its result.

        Args:
            service: the service's name; empty: a Python method of this process.
            method: the method.
            params: a list or dict, or None.
            context: who calls.
            timeout: seconds that one attempt may take; as the service says if not given.

        Raises:
            RpcError: it failed; a `Fault` if there was no answer.
        """
        call = Call(service, method, None if params is None else msgspec.json.encode(params))
        # The same call of a job that starts again has the same key; another one in its place hasn't.
        digest = hashlib.sha256(repr(call).encode()).hexdigest()[:16]
        (answered,) = await self.run(Plan(calls=(call,), timeout=timeout), context, key=f"{context.ref}-{digest}")
        if answered.error is not None:
            raise answered.error
        return msgspec.json.decode(answered.result)

    async def document(self, service: str, context: CallContext, *, refresh: bool = False) -> dict[str, Any] | None:
        """Return a service's document, None if it has none; the context's log says why.

        Args:
            service: its name.
            context: who asks.
            refresh: whether to ask the service though a current document is at hand; other processes see the new one.

        Raises:
            Fault: there is no such service, or the document that its settings name can't be read.
        """
        found = await self._peer(service, self._service(service, context)).document(context, refresh=refresh)
        return None if found is None else found.raw

    async def methods(self, circle: str, context: CallContext | None = None) -> list[MethodInfo]:
        """Return the methods that a circle may call and that are described: Python methods, then those of services.

        A service that has no document, or can't be reached, is left out; the context's log says why.
        """
        context = context or CallContext("", circle)
        services = self.services.for_circle(circle)
        found = await asyncio.gather(*(self._described(name, each, context) for name, each in services.items()))
        return [*self._local.infos(circle), *itertools.chain.from_iterable(found)]

    async def _described(self, name: str, service: Service, context: CallContext) -> list[MethodInfo]:
        found = []
        try:
            document = await self._peer(name, service).document(context)
            for method in document.methods.values() if document is not None else ():
                if _matches(method.name, service.methods):
                    idempotent = method.idempotent or _matches(method.name, service.idempotent)
                    text = method.summary or method.description
                    found.append(MethodInfo(name, method.name, text, method.full_schema(), idempotent))
        except (RpcError, BrokenDocument) as e:
            context.log(f"{name}: its methods can't be listed: {e}")
        return found

    async def run(self, plan: Plan, context: CallContext, *, key: str = "") -> list[Answered]:
        """Make the calls of a plan; return what became of them, in their order.

        All are checked before any is sent. If one is wrong and errors aren't kept, none is sent.

        Args:
            plan: the calls.
            context: who calls.
            key: idempotency key; the reference of the job if not given.
        """
        first = context.made + 1
        context.made += len(plan.calls)
        answered: dict[int, Answered] = {}
        ready: list[tuple[Peer | None, list[_Ready]]] = []
        groups: dict[str, list[tuple[int, Call]]] = {}
        for place, call in enumerate(plan.calls, first):
            groups.setdefault(call.service, []).append((place, call))
        for service, group in groups.items():
            good: list[_Ready] = []
            peer: Peer | None = None
            try:
                peer = await self._find(service, plan, context)
            except RpcError as e:
                answered |= {place: Answered(call, b"", e, 0) for place, call in group}
                continue
            for place, call in group:
                try:
                    good.append(_Ready(place, call, await self._checked(peer, call, context)))
                except RpcError as e:
                    answered[place] = Answered(call, b"", _mask(peer, [call]).error(e), 0)
            ready.append((peer, good))
        for peer, good in ready if plan.keep or not answered else ():
            if peer is None:
                for each in good:
                    answered[each.place] = await self._here(each.call, plan, context)
            elif good:
                answered |= await self._there(peer, good, plan, context, key or context.ref)
        return [answered[place]._replace(number=place - first + 1) for place in sorted(answered)]

    # before

    async def _find(self, service: str, plan: Plan, context: CallContext) -> Peer | None:
        """Return the service that a group of calls is for, None if it is for this process."""
        if plan.url:
            address = await self._guard.check(plan.url)
            peer = self._peers.get(plan.url)
            if peer is None or peer.address != address:
                unnamed = [key for key in self._peers if "://" in key and key != plan.url]
                self._retire(plan.url)
                if len(unnamed) >= MOST_PEERS:
                    self._retire(unnamed[0])
                peer = Peer(plan.url, Service(url=plan.url), self._settings.home, None, address)
                self._peers[plan.url] = peer
            return peer
        if not service:
            return None
        return self._peer(service, self._service(service, context))

    def _service(self, name: str, context: CallContext) -> Service:
        return self.services.get(name, None if context.circle == ALL else context.circle)

    def _peer(self, name: str, service: Service) -> Peer:
        peer = self._peers.get(name)
        if peer is None or peer.service != service:
            self._retire(name)
            folder = self.services.folder / "documents"
            peer = self._peers[name] = Peer(name, service, self._settings.home, folder)
        return peer

    def _retire(self, key: str) -> None:
        """Forget a service whose settings or address changed; its connections are closed once its calls are over."""
        peer = self._peers.pop(key, None)
        if peer is not None:
            task = asyncio.ensure_future(peer.close_when_idle())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _checked(self, peer: Peer | None, call: Call, context: CallContext) -> DocumentedMethod | None:
        """Return what is known of a call's method, once the call is found to fit it."""
        if peer is None:
            names = self._local.names(context.circle)
            if call.method not in names:
                raise unknown_method(call.method, list(names))
            self._local.check(call.method, call.params, context.circle)
            return None
        if not _matches(call.method, peer.service.methods):
            raise refused(f"{call.method!r} is none of the methods of service {peer.name} that jobs may call")
        method = await peer.method(call.method, context)
        if method is not None:
            try:
                method.check(None if call.params is None else _decoded(call.params), len(call.params or b""))
            except BrokenDocument as e:
                context.log(f"{peer.name}: {e}; {call.method} goes out unchecked")
        return method

    # here

    async def _here(self, call: Call, plan: Plan, context: CallContext) -> Answered:
        try:
            result = await self._local.call(call.method, call.params, context)
        except RpcError as e:
            return Answered(call, b"", e, 1)
        return Answered(call, b"" if plan.notify else result, None, 1)

    # there

    async def _there(
        self, peer: Peer, calls: Sequence[_Ready], plan: Plan, context: CallContext, key: str
    ) -> dict[int, Answered]:
        """Send calls to a service, once or more often; return what became of each by its place."""
        mask = _mask(peer, [each.call for each in calls])
        attempts_left = (peer.service.retries if plan.retries is None else plan.retries) + 1
        pause = FIRST_PAUSE
        done: dict[int, Answered] = {}
        pending = list(calls)
        attempt = 0
        while pending:
            attempt += 1
            attempts_left -= 1
            wait = 0.0
            try:
                answers = await self._attempt(peer, pending, plan, context, key, attempt, mask)
                tried, pending = pending, []
                for each in tried:
                    answer = answers.get(_id(context, each.place))
                    error = answer.error if answer is not None else None
                    if error is not None and error.code in plan.retry_on and attempts_left and context.left > pause:
                        pending.append(each)
                        continue
                    result = answer.result if answer is not None else b""
                    if error is None and answer is not None:
                        error = self._check_result(peer, each, result, plan, context, mask)
                    told = mask.error(error) if error is not None else None
                    done[each.place] = Answered(each.call, b"" if error is not None else result, told, attempt)
            except Fault as e:
                wait = e.retry_after or 0.0
                harmless = not e.sent or all(_idempotent(peer, each) for each in pending)
                if not (e.again and harmless and attempts_left and context.left > max(wait, pause)):
                    error = mask.error(e)
                    return done | {each.place: Answered(each.call, b"", error, attempt) for each in pending}
            if pending:
                await asyncio.sleep(max(wait, pause * random.uniform(0.5, 1)))  # noqa: S311 - no secret
                pause = min(LONGEST_PAUSE, pause * 2)
        return done

    async def _attempt(
        self, peer: Peer, calls: Sequence[_Ready], plan: Plan, context: CallContext, key: str, attempt: int, mask: Mask
    ) -> Mapping[str, Answer]:
        """Send calls once; return the answers by id."""
        ids = [] if plan.notify else [_id(context, each.place) for each in calls]
        messages = [_message(each.call, id) for each, id in zip(calls, ids or [""] * len(calls), strict=True)]
        body = encode_batch(messages) if plan.is_batch else messages[0]
        names = calls[0].call.method if len(calls) == 1 else f"{len(calls)} calls"
        what = f"{peer.name} {names}, attempt {attempt}"
        began = time.perf_counter()
        try:
            async with peer.room:
                began = time.perf_counter()
                # Not cut at the job's deadline: whoever ends the job then says that it was the job's timeout.
                seconds = plan.timeout or peer.service.timeout
                reply = await (await peer.opened()).send(body, ids, {"idempotency-key": key}, seconds)
        except Fault as e:
            status = f"{e.status}, " if e.status else ""
            took = (time.perf_counter() - began) * 1000
            context.log(mask.text(f"{what}: {status}{len(body)} bytes out, {took:.0f} ms: {e}"))
            raise
        took = (time.perf_counter() - began) * 1000
        context.log(mask.text(f"{what}: {reply.status}, {len(body)} bytes out, {reply.size} in, {took:.0f} ms"))
        return {str(answer.id): answer for answer in reply.answers}

    def _check_result(
        self, peer: Peer, ready: _Ready, result: bytes, plan: Plan, context: CallContext, mask: Mask
    ) -> RpcError | None:
        """Compare a result with the document; return the error that a misfit is, if it is one."""
        if ready.documented is None:
            return None
        try:
            problem = ready.documented.check_result(_decoded(result), len(result))
        except (BrokenDocument, RpcError) as e:
            problem = str(e)
        if not problem:
            return None
        strict = peer.service.strict if plan.strict is None else plan.strict
        if strict:
            return bad_answer(f"the result doesn't fit the document: {problem}")
        context.log(mask.text(f"{peer.name} {ready.call.method}: warning: the result isn't as documented: {problem}"))
        return None


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _idempotent(peer: Peer, ready: _Ready) -> bool:
    documented = ready.documented is not None and ready.documented.idempotent
    return documented or _matches(ready.call.method, peer.service.idempotent)


def _id(context: CallContext, place: int) -> str:
    return f"{context.ref}#{place}"


def _message(call: Call, id: str) -> bytes:
    """Return a request with its params as they were written, or a notification if there is no id."""
    members = [b'"jsonrpc":"2.0","method":' + msgspec.json.encode(call.method)]
    if call.params is not None:
        members.append(b'"params":' + call.params)
    if id:
        members.append(b'"id":' + msgspec.json.encode(id))
    return b"{" + b",".join(members) + b"}"


def _mask(peer: Peer | None, calls: Iterable[Call]) -> Mask:
    if peer is None:
        return Mask((), (), ())
    return Mask(secrets_of(peer.service), peer.service.redact, [call.params for call in calls])


def _decoded(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError) as e:  # a number that no float holds
        raise RpcError(Code.INVALID_PARAMS, f"Invalid params: {e}") from None
