"""Calls that are sent one after another, each at once, and answered together at the end.

So Redis works on one while the next is made. For calls that may run twice (`transport.REPEATABLE`): where the
connection breaks, all of them are sent again.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from redis.exceptions import ConnectionError as Broken

from herojobs.live.call import Call
from herojobs.live.line import packed
from herojobs.live.trouble import TROUBLE, unreachable

if TYPE_CHECKING:
    from herojobs.live.transport import AnyLine, Command, Redis


class Pipeline:
    """A pipeline over a transport; use it as an asynchronous context manager.

    Args:
        redis: the transport.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._calls: list[Call[Any]] = []
        self._commands: list[Command] = []
        self._line: AnyLine | None = None
        self._broken = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._drop()  # what wasn't waited for would be taken for another's answer

    async def send(self, call: Call[Any]) -> None:
        """Send a call.

        Raises:
            RedisUnavailable: Redis can't be reached.
        """
        (command,) = self._redis.commands_of((call,))
        self._calls.append(call)
        self._commands.append(command)
        if self._broken:
            return
        try:
            if self._line is None:
                self._line = await self._redis.take()
            self._line.send(packed((command,)))
            await self._line.drain()
        except Broken:
            self._break_off()
        except TROUBLE as e:
            raise unreachable(self._redis.address, e) from e

    async def results(self) -> list[Any]:
        """Return the results of all calls, in order.

        Raises:
            RedisUnavailable: Redis can't be reached, or refuses one of them; others may have been done.
        """
        redis, line = self._redis, self._line
        if line is not None:
            try:
                replies = [(await redis.receive(line, 1))[0] for _ in self._calls]
            except Broken:
                self._break_off()
            except TROUBLE as e:
                raise unreachable(redis.address, e) from e
            else:
                self._line = None
                redis.give_back(line)
                return redis.raise_refused(await redis.results_of(self._calls, self._commands, replies))
        return await redis.run_many(self._calls)

    def _break_off(self) -> None:
        self._broken = True
        self._drop()

    def _drop(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()
