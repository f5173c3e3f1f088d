"""What both transports share: calls become commands, replies become results, trouble becomes one clear error.

A transport only has to open connections and to wait for replies. Everything else is written once, as coroutines; with
`herojobs.live.redis.BlockingRedis` they never suspend.
"""

from __future__ import annotations

import logging
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Protocol, TypeVar, cast

from redis.connection import parse_url
from redis.exceptions import ConnectionError as Broken
from redis.exceptions import NoScriptError, RedisError

from herojobs.errors import RedisUnavailable, SettingsError
from herojobs.job import is_clock_faked, now_ms
from herojobs.live.call import Call, script
from herojobs.live.channels import Subscription
from herojobs.live.keys import ALIVE, TOPICS, Keys
from herojobs.live.line import packed
from herojobs.live.pipeline import Pipeline
from herojobs.live.trouble import TIMEOUT, TROUBLE, refused, shown_address, unreachable
from herojobs.names import Queue

log = logging.getLogger("herojobs.live")

T = TypeVar("T")
Command = Sequence[str | bytes | int]

PAGE = 1000
"""Ids that one command fetches: a few hundred microseconds of Redis."""
LONG_SCAN = 0.002
"""Seconds above which a look at every key isn't repeated at once."""
SCAN_PAUSE = 20
"""Times as long as a long look takes until the next one begins."""
REPEATABLE = frozenset(
    {
        "submit",
        "start",
        "extend",
        "finish",
        "look",
        "counts",
        "requeue",
        "restore",
        "publish_log",
        "progress",
        "expire_at",
        "expect",
        "arrive",
        "release",
        "free_slots",
        "keep_slots",
    }
)
"""Scripts that may run twice: a second run finds the first one's work and leaves it."""


class Waiting(NamedTuple):
    """How many ids wait in each queue asked for, and whether Redis has lost its data since the last look."""

    lengths: list[int]
    wiped: bool


class AnyLine(Protocol):
    """A connection, as `herojobs.live.line` and `herojobs.live.async_line` have them."""

    def is_quiet(self) -> bool:
        """Return whether there is nothing to read, not even that the server has closed the connection."""

    def send(self, data: bytes) -> None:
        """Send packed commands."""

    async def drain(self) -> None:
        """Wait until what was sent is on its way, if that is needed for more to be."""

    def close(self) -> None:
        """Close the connection."""


class Redis(ABC):
    """A connection to Redis.

    Args:
        url: redis://, rediss:// or unix:// address.
        cluster: see `herojobs.live.keys.Keys`.
        revive: called when nothing answers at the address, to start the server there; may block.

    Raises:
        SettingsError: the address isn't one.
    """

    def __init__(self, url: str, *, cluster: bool = False, revive: Callable[[], object] | None = None) -> None:
        self.address = shown_address(url)
        self.keys = Keys(cluster)
        self._revive = revive
        self._options = _options(url)
        self._free: list[Any] = []
        self._marker: bytes | None = None
        self._topics: set[Queue] = set()
        self._odd: set[bytes] = set()
        self._found: dict[bytes, Queue | None] = {}
        self._next_scan = 0.0

    async def exchange(self, commands: Sequence[Command], repeatable: bool = False) -> list[Any]:
        """Send commands in one round trip, and return their replies; an error reply stands as a value.

        Args:
            commands: the commands with their arguments.
            repeatable: whether they may be sent again over a new connection when the server closed the old one.

        Raises:
            RedisUnavailable: no connection, or it broke, or no answer within 5 seconds.
        """
        data, count = packed(commands), len(commands)
        try:
            try:
                return await self._ask(await self.take(), data, count)
            except Broken:
                if not repeatable:
                    raise
                return await self._ask(await self.take(), data, count)
        except TROUBLE as e:
            raise unreachable(self.address, e) from e

    async def _ask(self, line: Any, data: bytes, count: int) -> list[Any]:
        try:
            line.send(data)
            replies = await self.receive(line, count)
        except BaseException:  # cancelled too: a reply that is still to come would be taken for the next one
            line.close()
            raise
        self._free.append(line)
        return replies

    async def connect(self) -> None:
        """Make sure that the server can be reached; costs microseconds while a connection stands.

        Raises:
            RedisUnavailable: it can't.
        """
        self._free.append(await self.take())

    async def take(self) -> Any:
        """Return a connection that stands, checked without a round trip, or a new one.

        Raises:
            RedisUnavailable: the server can't be reached.
        """
        free = self._free
        while free:
            try:
                line = free.pop()
            except IndexError:  # another thread took it
                break
            if line.is_quiet():
                return line
            line.close()
        return await self._open()

    def give_back(self, line: AnyLine) -> None:
        """Keep a connection that was taken, all of whose answers have come."""
        self._free.append(line)

    @abstractmethod
    async def _open(self) -> Any:
        """Return a new connection, having the server started where that is ours to do.

        Raises:
            RedisUnavailable: the server can't be reached.
        """

    @abstractmethod
    async def receive(self, line: Any, count: int) -> list[Any]:
        """Return the next replies of a connection."""

    @abstractmethod
    async def close(self) -> None:
        """Close all connections."""

    @abstractmethod
    def subscribed(self, channel: str, id: int | None = None) -> AbstractAsyncContextManager[Subscription]:
        """Subscribe to a channel, or, with an `id`, to what tells there that this job has ended.

        All subscriptions share one connection, which is kept for a while when nobody listens any more.
        """

    def end_of(self, queue: Queue, id: int) -> AbstractAsyncContextManager[Subscription]:
        """Subscribe to the end of a job."""
        return self.subscribed(self.keys.of("heroevents", queue), id)

    def log_lines(self, queue: Queue, id: int) -> AbstractAsyncContextManager[Subscription]:
        """Subscribe to a running job's output."""
        return self.subscribed(self.keys.log(queue, id))

    async def run(self, call: Call[T]) -> T:
        """Run one call and return its result.

        Raises:
            RedisUnavailable: Redis can't be reached, or refuses.
        """
        # What most calls come to, written out: the way of `run_many` costs as much again as packing and sending.
        if is_clock_faked() or self.keys.cluster:
            return cast(T, (await self.run_many((call,)))[0])
        name, queue, args, parse = call
        command = ("EVALSHA", script(name).sha, 1, self.keys.queue(queue), *args)
        (reply,) = await self.exchange((command,), name in REPEATABLE)
        if isinstance(reply, RedisError):
            return cast(T, self.raise_refused(await self.results_of((call,), (command,), [reply]))[0])
        return parse(reply)

    async def run_many(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Run calls in one round trip, in their order; return their results.

        Raises:
            RedisUnavailable: Redis can't be reached, or refuses one of them; the others may have been done.
        """
        return self.raise_refused(await self.try_many(calls))

    async def try_many(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Run calls in one round trip, in their order; return their results, for a refused one the error as a value.

        Raises:
            RedisUnavailable: Redis can't be reached.
        """
        if not calls:
            return []
        commands = self.commands_of(calls)
        replies = await self.exchange(commands, all(call.script in REPEATABLE for call in calls))
        return await self.results_of(calls, commands, replies)

    def pipeline(self) -> Pipeline:
        """Return what sends calls that may run twice one after another, without waiting for each one's answer."""
        return Pipeline(self)

    def commands_of(self, calls: Sequence[Call[Any]]) -> list[Command]:
        """Return what Redis is sent for calls."""
        key = self.keys.queue
        if is_clock_faked():
            calls = [call._replace(args=(call.args[0] or now_ms(), *call.args[1:])) for call in calls]
        return [("EVALSHA", script(name).sha, 1, key(queue), *args) for name, queue, args, _ in calls]

    async def results_of(
        self, calls: Sequence[Call[Any]], commands: Sequence[Command], replies: list[Any]
    ) -> list[Any]:
        """Return the results of calls, for a refused one the error; run those again whose script wasn't known."""
        unknown = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            await self._load({calls[i].script for i in unknown})
            again = await self.exchange([commands[i] for i in unknown])
            for i, reply in zip(unknown, again, strict=True):
                replies[i] = reply
        if self.keys.cluster:
            await self._note_topics(calls)
        return [
            refused(self.address, f"`{call.script}` in {call.queue}", reply)
            if isinstance(reply, RedisError)
            else call.parse(reply)
            for call, reply in zip(calls, replies, strict=True)
        ]

    @staticmethod
    def raise_refused(results: list[Any]) -> list[Any]:
        """Return results, unless one of them is an error."""
        for result in results:
            if isinstance(result, RedisUnavailable):
                raise result
        return results

    async def command(self, *command: str | bytes | int) -> Any:
        """Send one plain command and return its reply.

        Raises:
            RedisUnavailable: Redis can't be reached, or refuses.
        """
        reply = (await self.exchange([command]))[0]
        if isinstance(reply, RedisError):
            raise refused(self.address, str(command[0]), reply)
        return reply

    async def tell_watchdogs(self, queue: Queue, what: str) -> None:
        """Publish to all WatchDogs that something about a queue, no job of it, has changed.

        Raises:
            RedisUnavailable: Redis can't be reached, or refuses.
        """
        await self.command("PUBLISH", self.keys.of("herocontrol", queue), f'{{"id":0,"what":"{what}"}}')

    async def find_queues(self) -> list[Queue]:
        """Return all queues that ours ever submitted to and all that anybody's ids wait in, sorted.

        Queues that other programs alone push to are found by a look at every key. Where there are so many that it takes
        long, it is repeated only after a while, so that it never takes more than a twentieth of the time. Names that
        can't be a queue's are passed over and logged once.
        """
        found = {key: Queue.parse(key.decode("utf-8", "replace")) for key in await self.command("SMEMBERS", TOPICS)}
        began = time.monotonic()
        if began >= self._next_scan:
            self._found = await self._scan()
            took = time.monotonic() - began
            self._next_scan = began + took * SCAN_PAUSE if took > LONG_SCAN else 0.0
        found |= self._found
        for name, queue in found.items():
            if queue is None and name not in self._odd and len(self._odd) < PAGE:
                self._odd.add(name)
                log.warning(
                    "Redis key %r names no queue: circle and topic must be fixed names; it is left alone",
                    name.decode("utf-8", "backslashreplace"),
                )
        return sorted({queue for queue in found.values() if queue is not None})

    async def _scan(self) -> dict[bytes, Queue | None]:
        """Return the queues by their keys, None for a name that is no queue's."""
        found: dict[bytes, Queue | None] = {}
        cursor: bytes | int = 0
        while True:
            cursor, keys = await self.command("SCAN", cursor, "MATCH", "heroqueue:*", "COUNT", PAGE, "TYPE", "list")
            found |= {key: self.keys.parse(key.decode("utf-8", "replace")) for key in keys}
            if int(cursor) == 0:
                return found

    async def ids(self, queue: Queue) -> set[int]:
        """Return the ids of a queue that wait, are prioritised, scheduled, held or leased, in pages.

        Ids that move from one place to another meanwhile are found: the places are read in the direction that ids
        take, and again against it.
        """
        found: set[int] = set()
        kinds = ("herolater", "heroprio", "herolease", "heroheld")
        later, prio, lease, held = (self.keys.of(kind, queue) for kind in kinds)
        for sorted_set in (lease, held, later, prio):
            await self._collect(sorted_set, found)
        await self._collect_list(self.keys.queue(queue), found)
        for sorted_set in (prio, later, held, lease):
            await self._collect(sorted_set, found)
        return found

    async def _collect(self, sorted_set: str, found: set[int]) -> None:
        cursor: bytes | int = 0
        while True:
            cursor, pairs = await self.command("ZSCAN", sorted_set, cursor, "COUNT", PAGE)
            found.update(int(key) for key in pairs[::2] if key.isdigit())
            if int(cursor) == 0:
                return

    async def _collect_list(self, key: str, found: set[int]) -> None:
        # Counted from the tail, which new ids push further away: none is passed over. The overlap is for ids that
        # foreign consumers take at the tail meanwhile.
        stop = -1
        while True:
            page = await self.command("LRANGE", key, stop - PAGE + 1, stop)
            found.update(int(each) for each in page if each.isdigit())
            if len(page) < PAGE:
                return
            stop -= PAGE - 50

    async def waiting(self, queues: Sequence[Queue]) -> Waiting:
        """Return how many ids wait in each queue, and whether Redis lost its data since this client's last look."""
        commands: list[Command] = [("GET", ALIVE)]
        for queue in queues:
            commands += (("LLEN", self.keys.queue(queue)), ("ZCARD", self.keys.of("heroprio", queue)))
        marker, *replies = await self.exchange(commands)
        if isinstance(marker, RedisError):
            raise refused(self.address, "GET", marker)
        counts = [reply if isinstance(reply, int) else 0 for reply in replies]  # a key of a wrong type holds no ids
        lengths = [counts[i] + counts[i + 1] for i in range(0, len(counts), 2)]
        if marker is None:
            _, marker = await self.exchange([("SET", ALIVE, secrets.token_hex(8), "NX"), ("GET", ALIVE)])
        wiped = self._marker is not None and marker != self._marker
        self._marker = marker
        return Waiting(lengths, wiped)

    async def _load(self, names: set[str]) -> None:
        for reply in await self.exchange([("SCRIPT", "LOAD", script(name).text) for name in names], True):
            if isinstance(reply, RedisError):
                raise refused(self.address, "our scripts", reply)

    async def _note_topics(self, calls: Iterable[Call[Any]]) -> None:
        """Keep the set of queues, which scripts can't reach in a cluster."""
        new = {call.queue for call in calls if call.script == "submit"} - self._topics
        if new:
            await self.command("SADD", TOPICS, *(queue.key for queue in new))
            self._topics |= new


def _options(url: str) -> dict[str, Any]:
    """Return redis-py's options for a connection to an address, its class among them."""
    try:
        options: dict[str, Any] = dict(parse_url(url))  # type: ignore[no-untyped-call]  # untyped in redis-py
        if url.startswith("unix://") and not options.get("path"):
            raise ValueError("it has no path")
    except ValueError as e:
        raise SettingsError(
            f"redis_url {shown_address(url)!r}: no Redis address ({e}); write redis://host:6379/0, rediss://... or "
            "unix:///path"
        ) from None
    if not url.startswith("unix://"):
        options["socket_keepalive"] = True
    # RESP2 without CLIENT SETINFO: each would be a round trip more for each new connection.
    return {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT, **options, "protocol": 2, "driver_info": None}


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, such as those over a `BlockingRedis`, and return its result."""
    try:
        coroutine.send(None)
    except StopIteration as e:
        result: T = e.value
        return result
    coroutine.close()
    raise RuntimeError(f"{coroutine!r} waits for an event loop; it needs a blocking transport")
