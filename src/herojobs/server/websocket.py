"""WS /rpc: calls and their answers over one connection, and the events that it has subscribed to."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import deque
from typing import NamedTuple

from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from herojobs.errors import RpcError
from herojobs.jsonrpc import Dispatcher, encode_error, encode_request
from herojobs.jsonrpc.codes import Code
from herojobs.jsonrpc.dispatcher import SMALL
from herojobs.live.events import Event
from herojobs.names import Queue
from herojobs.server.caller import Caller
from herojobs.server.connections import Gate, who_of
from herojobs.server.limits import Hold, no_room
from herojobs.server.login import key_of

MOST_EVENTS = 1000
"""Events that are held for a slow reader; the oldest are dropped, and it is told how many."""
MOST_SUBSCRIPTIONS = 100
MOST_CALLS = 100
"""Calls of one connection that run at once; further ones wait unread, so that they hold up their sender."""
MOST_HELD = 128 * 1024 * 1024
"""Bytes of answers that are held for a slow reader; what asks for more without reading them is disconnected."""
LOOK = 0.05
"""Seconds after which events go on only once the session was found to hold still."""
PAUSE = 1.0
"""Seconds between two tries to read the sessions."""
CLOSE_POLICY, CLOSE_GOING, CLOSE_LATER = 1008, 1001, 1013


class _Wish(NamedTuple):
    circle: str | None
    topic: str | None
    job: int | None
    circles: frozenset[str] | None

    def fits(self, queue: Queue) -> bool:
        return (
            self.circle in (None, queue.circle)
            and self.topic in (None, queue.topic)
            and (self.circles is None or queue.circle in self.circles)
        )


class WebSockets:
    """Serves WebSockets.

    Args:
        dispatcher: answers their calls.
        gate: lets them in.
    """

    def __init__(self, dispatcher: Dispatcher[Caller], gate: Gate) -> None:
        self._dispatcher = dispatcher
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection until it ends."""
        websocket = WebSocket(scope, receive, send)
        refused = self._gate.refuses(websocket.scope, websocket.headers)
        if refused is not None:
            await websocket.close(CLOSE_POLICY, refused.message)
            return
        await websocket.accept()
        try:
            connection = _Connection(websocket, self._dispatcher, self._gate)
        except RpcError as e:
            await websocket.close(CLOSE_LATER, e.message[:100])
            return
        await connection.serve()


class _Connection:
    """One WebSocket; the `Stream` of its calls."""

    def __init__(self, websocket: WebSocket, dispatcher: Dispatcher[Caller], gate: Gate) -> None:
        self._websocket = websocket
        self._dispatcher = dispatcher
        self._gate = gate
        self._feed = gate.backend.feed
        self._key: str | None = key_of(websocket.headers)
        self._caller = self._look()
        self._wishes: dict[str, _Wish] = {}
        self._numbers = itertools.count(1)
        self._events: deque[tuple[str, Queue, Event]] = deque()
        self._missed = 0
        self._gap = False
        self._due = asyncio.Event()
        self._calls: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(MOST_CALLS)
        self._sending = asyncio.Lock()
        self._held = 0
        self._overfull = asyncio.Event()

    # the `Stream`

    def subscribe(self, circle: str | None, topic: str | None, id: int | None, circles: frozenset[str] | None) -> str:
        """See `Stream`."""
        if len(self._wishes) >= MOST_SUBSCRIPTIONS:
            raise RpcError(
                Code.LIMIT_EXCEEDED,
                f"Limit exceeded: {MOST_SUBSCRIPTIONS} subscriptions on one connection",
                {"expected": f"at most {MOST_SUBSCRIPTIONS}", "hint": "event.unsubscribe ends one"},
            )
        number = str(next(self._numbers))
        self._wishes[number] = _Wish(circle, topic, id, circles)
        self._feed.add(self._hear)
        self._feed.on_gap.add(self._hear_gap)
        return number

    def unsubscribe(self, id: str) -> bool:
        """See `Stream`."""
        return self._wishes.pop(id, None) is not None

    def adopt(self, key: str | None) -> None:
        """See `Stream`."""
        self._key = key
        self._caller = self._look()

    def _look(self) -> Caller:
        """Return who calls now: the session may have been revoked, or another one opened."""
        scope, headers = self._websocket.scope, self._websocket.headers
        return self._gate.caller(scope, headers, self, self._key)

    def _hear(self, queue: Queue, events: list[Event]) -> None:
        if not self._allowed(queue):
            return
        for number, wish in self._wishes.items():
            if not wish.fits(queue):
                continue
            for event in events:
                if wish.job in (None, event.id):
                    if len(self._events) >= MOST_EVENTS:
                        self._events.popleft()
                        self._missed += 1
                    self._events.append((number, queue, event))
        self._due.set()

    def _hear_gap(self) -> None:
        self._gap = True
        self._due.set()

    def _allowed(self, queue: Queue) -> bool:
        return self._caller.may_see(queue.circle)

    # the connection

    async def serve(self) -> None:
        """Serve until the connection ends."""
        tasks = {
            asyncio.create_task(self._read()),
            asyncio.create_task(self._tell()),
            asyncio.create_task(self._stop()),
            asyncio.create_task(self._overfull.wait()),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except (WebSocketDisconnect, RuntimeError, OSError):
            pass  # it went away, also in the middle of an answer
        finally:
            self._feed.remove(self._hear)
            self._feed.on_gap.discard(self._hear_gap)
            tasks |= self._calls
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self) -> None:
        while (message := await self._websocket.receive())["type"] != "websocket.disconnect":
            data = message.get("bytes")
            if data is None:
                data = message["text"].encode("utf-8", "surrogatepass")
            await self._slots.acquire()
            task = asyncio.create_task(self._answer(data))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)

    async def _answer(self, data: bytes) -> None:
        try:
            with Hold(self._gate.memory) as hold:
                answer = await self._answer_to(data, hold)
                if answer is not None:
                    await self._send_answer(answer)
        finally:
            self._slots.release()

    async def _send_answer(self, answer: bytes) -> None:
        self._held += len(answer)
        if self._held > MOST_HELD:
            self._overfull.set()
        try:
            with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError):  # it went away meanwhile
                await self._send(answer)
        finally:
            self._held -= len(answer)

    async def _answer_to(self, data: bytes, hold: Hold) -> bytes | None:
        if len(data) > self._gate.settings.server_max_body:
            return encode_error(None, RpcError(Code.TOO_LARGE, "Too large"))
        try:
            caller = self._look()
        except RpcError as e:
            return encode_error(None, e)
        scope = self._websocket.scope
        who = who_of(caller, scope)
        if len(data) > SMALL and not hold.take(who, len(data)):
            return encode_error(None, no_room())
        return await self._dispatcher.answer(
            data,
            caller,
            lambda number: self._gate.admit(caller, scope, number),
            lambda size: hold.take(who, size),
            no_room,
        )

    async def _tell(self) -> None:
        """Send events as they come; the connection's own flow control says how fast it is read."""
        while True:
            await self._due.wait()
            self._due.clear()
            looked = time.monotonic()
            try:
                self._caller = self._look()
            except RpcError:  # whether the session holds can't be told now
                self._events.clear()
                self._gap = True
                await asyncio.sleep(PAUSE)
                self._due.set()
                continue
            while self._events or self._missed or self._gap:
                if self._gap:
                    self._gap = False
                    await self._send(encode_request("event.missed", {"count": None}))
                if self._missed:
                    missed, self._missed = self._missed, 0
                    await self._send(encode_request("event.missed", {"count": missed}))
                if time.monotonic() - looked > LOOK:
                    self._due.set()
                    break
                if self._events:
                    number, queue, event = self._events.popleft()
                    if number in self._wishes and self._allowed(queue):
                        await self._send(_notification(number, queue, event))

    async def _stop(self) -> None:
        await self._gate.backend.stopping.wait()
        with contextlib.suppress(RuntimeError):
            await self._websocket.close(CLOSE_GOING, "the server is going down")

    async def _send(self, data: bytes) -> None:
        async with self._sending:
            await self._websocket.send_text(data.decode())


def _notification(number: str, queue: Queue, event: Event) -> bytes:
    told = {"subscription": number, "ref": f"{queue}/{event.id}", "event": event.event, "at": event.at}
    if event.status:
        told["status"] = event.status
    if event.due:
        told["due"] = event.due
    if event.reason is not None:
        told["reason"] = event.reason
    return encode_request("event.job", told)
