"""The dispatcher: a message's bytes in, the answer's bytes out."""

from __future__ import annotations

import asyncio
import inspect
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from herojobs.errors import RpcError
from herojobs.jsonrpc.codes import Code
from herojobs.jsonrpc.messages import MAX_BATCH, Request, encode_batch, encode_error, encode_result, read_requests
from herojobs.jsonrpc.methods import Method, Methods

log = logging.getLogger("herojobs.jsonrpc")

MOST_ANSWERS = 64 * 1024 * 1024
"""Bytes that the answers of a batch may have together: a few bytes can ask for gigabytes."""
SMALL = 1024
"""Bytes of an answer that is never refused for that."""

C = TypeVar("C")


class Instead(Exception):
    """Raised by a dispatcher's `check`: this is the result, the method isn't called."""

    def __init__(self, result: Any) -> None:
        self.result = result
        super().__init__()


class Dispatcher(Generic[C]):
    """Answers messages by calling methods. `C` is the context that a call carries: who calls, over which connection.

    Args:
        methods: what can be called.
        check: called before each call with the method, the context and the arguments by name; raises to refuse, or
            `Instead` to answer itself, and may change the arguments. The one place that decides access.
        translate: makes an `RpcError` of what a method raised, None if it knows nothing of it: then the caller hears
            of an internal error, with a number under which the log has the traceback.
        noted: called after each call with the method, the context, the arguments, the result and the error, None if it
            went well.
        max_batch: most entries of a batch.
    """

    def __init__(
        self,
        methods: Methods,
        *,
        check: Callable[[Method, C, dict[str, Any]], None] = lambda method, context, arguments: None,
        translate: Callable[[Exception], RpcError | None] = lambda error: None,
        noted: Callable[[Method, C, dict[str, Any], Any, RpcError | None], None] | None = None,
        max_batch: int = MAX_BATCH,
    ) -> None:
        self.methods = methods
        self._check = check
        self._translate = translate
        self._noted = noted
        self._max_batch = max_batch

    async def answer(
        self,
        data: bytes,
        context: C,
        admit: Callable[[int], None] = lambda number: None,
        room: Callable[[int], bool] = lambda size: True,
        no_room: Callable[[], RpcError] = lambda: RpcError(Code.TOO_LARGE, "Too large"),
    ) -> bytes | None:
        """Return the answer to a message, None if there is none: it holds notifications alone.

        Entries of a batch run concurrently; their answers stand in the order of the calls.

        Args:
            data: the message.
            context: what its calls carry.
            admit: called with the number of calls before any of them runs; raises `RpcError` to refuse all.
            room: called with the size of each larger answer; returns whether there is room for it. If not, the answer
                is an error, unless its call has changed something.
            no_room: returns that error.
        """
        try:
            requests, is_batch = read_requests(data, self._max_batch)
            admit(len(requests))
        except RpcError as e:
            return encode_error(None, e)
        if not is_batch:
            return self._fitting(requests[0], await self._one(requests[0], context), room, no_room)
        answers = await asyncio.gather(*self._bounded(requests, context, room, no_room))
        told = [answer for answer in answers if answer is not None]
        return encode_batch(told) if told else None

    def _bounded(
        self,
        requests: Sequence[Request | RpcError],
        context: C,
        room: Callable[[int], bool],
        no_room: Callable[[], RpcError],
    ) -> Iterator[Awaitable[bytes | None]]:
        """Yield the answers of a batch; what is beyond `MOST_ANSWERS` is refused, unless its call changed something."""
        size = 0

        async def one(request: Request | RpcError) -> bytes | None:
            nonlocal size
            answer = await self._one(request, context)
            told = {"expected": f"answers of at most {MOST_ANSWERS:,} bytes together", "hint": "call it alone"}
            too_large = RpcError(Code.TOO_LARGE, "Too large", told)
            answer = self._fitting(request, answer, lambda more: size + more <= MOST_ANSWERS, lambda: too_large)
            answer = self._fitting(request, answer, room, no_room)
            size += len(answer or b"")
            return answer

        return (one(request) for request in requests)

    def _fitting(
        self,
        request: Request | RpcError,
        answer: bytes | None,
        room: Callable[[int], bool],
        no_room: Callable[[], RpcError],
    ) -> bytes | None:
        """Return an answer, or an error in its place if there is no room for it."""
        if answer is None or len(answer) <= SMALL or isinstance(request, RpcError) or room(len(answer)):
            return answer
        return answer if self._changes(request.method) else encode_error(request.id, no_room())

    def _changes(self, name: str) -> bool:
        method = self.methods.get(name)
        return method is not None and method.changes

    async def _one(self, request: Request | RpcError, context: C) -> bytes | None:
        if isinstance(request, RpcError):
            return encode_error(None, request)
        try:
            result = await self.call(request, context)
            return None if request.id is None else encode_result(request.id, result)
        except RpcError as e:
            error = e
        except Exception as e:  # a result that can't be written as JSON
            error = _internal(request.method, e)
        return None if request.id is None else encode_error(request.id, error)

    async def call(self, request: Request, context: C) -> Any:
        """Run one call and return its result.

        Raises:
            RpcError: whatever went wrong.
        """
        method = self.methods.find(request.method)
        arguments = method.bind(request.params)
        error: RpcError | None = None
        result: Any = None
        try:
            self._check(method, context, arguments)
            result = method.function(context, **arguments) if method.takes_context else method.function(**arguments)
            if inspect.isawaitable(result):
                result = await _awaited(result)
            return result
        except Instead as instead:
            return instead.result
        except RpcError as e:
            error = e
            raise
        except Exception as e:
            error = self._translate(e) or _internal(request.method, e)
            raise error from None
        finally:
            if self._noted is not None:
                self._noted(method, context, arguments, result, error)


async def _awaited(result: Awaitable[Any]) -> Any:
    return await result


def _internal(method: str, error: Exception) -> RpcError:
    number = secrets.token_hex(4)
    log.error("%s: internal error %s", method, number, exc_info=error)
    return RpcError(Code.INTERNAL_ERROR, "Internal error", {"id": number, "hint": "the server's log has it by this id"})
