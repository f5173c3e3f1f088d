"""The subscriptions of all threads of a client, over one connection.

Nobody but those who wait reads it: one of them does for all, and when it has what it waits for, the next one goes on.
So a single thread that waits hears its message without being woken by another one. A channel stays subscribed to for a
while when nobody listens any more, then a thread that lives as long as that unsubscribes it, and closes the connection
with the last one.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable

from redis.exceptions import RedisError

from herojobs.errors import RedisUnavailable
from herojobs.live.channels import LINGER, PAUSE, SHORTEST, TIMEOUT, Channel, keep
from herojobs.live.line import Line, packed

log = logging.getLogger("herojobs.live")

_TROUBLE = (RedisError, RedisUnavailable, OSError)


class Listener:
    """All subscriptions of a blocking transport; its coroutines never suspend.

    Args:
        new: opens a connection.
    """

    def __init__(self, new: Callable[[], Line]) -> None:
        self._new = new
        self._line: Line | None = None
        self._channels: dict[bytes, Channel] = {}
        self._lock = threading.Lock()
        """Held, shortly, by who changes the above or sends."""
        self._reading = threading.Lock()
        """Held by the thread that reads for all."""
        self._waiting: set[ThreadSubscription] = set()
        self._tidier: threading.Thread | None = None
        self._closed = threading.Event()

    @contextlib.asynccontextmanager
    async def subscribed(self, name: str, id: int | None) -> AsyncGenerator[ThreadSubscription]:
        """Subscribe to a channel, or to the end of a job in it; on entry Redis has confirmed it.

        Raises:
            RedisUnavailable: Redis can't be reached.
        """
        key = name.encode()
        subscription = ThreadSubscription(self)
        with self._lock:
            channel = self._channels.get(key)
            if channel is None:
                self._subscribe(key)
                channel = self._channels[key] = Channel()
            channel.add(subscription, id)
        try:
            if not channel.confirmed and not self._hear(subscription, TIMEOUT, channel):
                raise RedisUnavailable(f"Redis doesn't confirm the subscription to {name}")
            if id is not None:
                subscription.messages.clear()  # who waits for a job looks at it now anyway
            yield subscription
        finally:
            with self._lock:
                channel.remove(subscription, id, time.monotonic())
                if self._tidier is None:
                    self._tidier = threading.Thread(target=self._tidy, name="herojobs-listener", daemon=True)
                    self._tidier.start()

    def close(self) -> None:
        """Close the connection; it can be used again."""
        self._closed.set()
        tidier = self._tidier
        if tidier is not None:
            tidier.join()
        self._closed.clear()

    def next(self, subscription: ThreadSubscription, timeout: float) -> bytes | None:
        """Return a subscription's next message, None if none came within `timeout` seconds."""
        self._hear(subscription, timeout, None)
        return subscription.messages.popleft() if subscription.messages else None

    def _hear(self, subscription: ThreadSubscription, timeout: float, channel: Channel | None) -> bool:
        """Wait for a message, or for a channel's confirmation; return whether it came within `timeout` seconds."""
        deadline = time.monotonic() + max(timeout, SHORTEST)

        def has_come() -> bool:
            return bool(subscription.messages) if channel is None else channel.confirmed

        self._waiting.add(subscription)
        try:
            while not has_come():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                if self._reading.acquire(blocking=False):
                    try:
                        while not has_come() and (left := deadline - time.monotonic()) > 0:
                            self._read(left)
                    finally:
                        self._reading.release()
                else:
                    subscription.woken.wait(left)
                    subscription.woken.clear()
            return True
        finally:
            self._waiting.discard(subscription)
            with contextlib.suppress(KeyError):  # nobody else waits, or not any more
                another = self._waiting.pop()
                self._waiting.add(another)
                another.woken.set()

    def _read(self, timeout: float) -> None:
        """Hand out what comes next; where the connection broke, open another one and subscribe again."""
        try:
            if self._line is None:
                with self._lock:
                    self._subscribe(*self._channels)
            line = self._line
            message = None if line is None else line.next_push(timeout)
        except _TROUBLE as e:
            log.debug("subscriptions: %s", e)
            if not self._drop():
                time.sleep(min(PAUSE, timeout))
            return
        if message is None or isinstance(message, Exception):
            return
        kind, key, data = message
        with self._lock:
            channel = self._channels.get(key)
            if channel is None:
                return
            if kind == b"message":
                channel.hand_out(data)
            elif kind == b"subscribe":
                channel.confirm()
                for each in self._waiting.copy():
                    each.woken.set()

    def _subscribe(self, *keys: bytes) -> None:
        """Send what subscribes, over a new connection together with what was subscribed before. Under the lock."""
        if self._line is not None:
            try:
                self._line.send(packed([("SUBSCRIBE", *keys)]))
            except _TROUBLE:
                self._line.close()
                self._line = None
            else:
                return
        line = self._new()
        try:
            line.send(packed([("SUBSCRIBE", *dict.fromkeys((*self._channels, *keys)))]))
        except BaseException:
            line.close()
            raise
        self._line = line

    def _drop(self) -> bool:
        """Close the connection; return whether there was one."""
        with self._lock:
            line, self._line = self._line, None
        if line is not None:
            line.close()
        return line is not None

    def _tidy(self) -> None:
        """Unsubscribe what nobody has listened to for a while, until all that is left is listened to."""
        while not self._closed.wait(LINGER):
            with self._lock:
                now = time.monotonic()
                idle = {key: each.left for key, each in self._channels.items() if not each.is_used}
                old = [key for key, left in idle.items() if now - left >= LINGER]
                for key in old:
                    del self._channels[key]
                if old and self._channels and self._line is not None:
                    with contextlib.suppress(*_TROUBLE):  # who reads notices
                        self._line.send(packed([("UNSUBSCRIBE", *old)]))
                if len(old) == len(idle):
                    self._tidier = None
                    break
        with self._lock:
            if self._closed.is_set():
                self._tidier = None
                self._channels = {key: each for key, each in self._channels.items() if each.is_used}
            line = None
            if not self._channels:
                line, self._line = self._line, None
        if line is not None:
            line.close()


class ThreadSubscription:
    """A subscription of one thread; see `herojobs.live.channels.Subscription`."""

    __slots__ = ("_listener", "messages", "woken")

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.messages = keep()
        self.woken = threading.Event()

    def put(self, message: bytes) -> None:
        """Hand over a message."""
        self.messages.append(message)
        self.woken.set()

    async def next(self, timeout: float) -> str | None:
        """Return the next message; see `Subscription.next`."""
        message = self._listener.next(self, timeout)
        return None if message is None else message.decode("utf-8", "replace")
