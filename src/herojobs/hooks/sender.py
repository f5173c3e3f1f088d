"""The sending process: reads what happened, tells it to webhooks and Python hooks, tries again what failed."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable

from herojobs.errors import SettingsError
from herojobs.hooks.collector import MAX_AGE_MS, Collector
from herojobs.hooks.functions import HookModule, hook_modules
from herojobs.hooks.outbox import Delivery, Outbox, outbox_path
from herojobs.hooks.webhook import Refused, WebhookClient
from herojobs.job import now_ms
from herojobs.names import Queue, queue_name_fix
from herojobs.settings import Settings, Webhook
from herojobs.store import JobStore

log = logging.getLogger("herojobs.hooks")

LOOK = 0.5
"""Seconds between two looks at the job databases."""
AT_ONCE = 16
"""Requests under way to one webhook."""
LONGEST_PAUSE = 3_600
"""Seconds between two tries of a delivery at most; they double from 1 on, up to a day in all."""
FORGET_EVERY = 600.0


class Target:
    """Somebody who is told: how, and whether it is to be left alone for a moment."""

    def __init__(self, name: str, send: Callable[[Delivery], Awaitable[None]], at_once: int) -> None:
        self.name = name
        self.send = send
        self.at_once = at_once
        self.failures = 0
        self.rests_until = 0.0


class Sender:
    """Tells what happened; `step` does it once.

    Args:
        settings: the home and the targets.
        modules: Python hooks.
    """

    def __init__(self, settings: Settings, modules: list[HookModule]) -> None:
        self._store = JobStore(settings)
        self._outbox = Outbox(outbox_path(settings.home))
        self._client = WebhookClient()
        self._webhooks = settings.webhooks
        self._modules = modules
        self._collector = Collector(self._store, self._outbox, self._wants)
        self._forgot = 0.0
        self._targets = [Target(name, self._poster(hook), AT_ONCE) for name, hook in settings.webhooks.items()]
        self._targets += [Target(module.target, self._caller(module), 1) for module in modules]

    async def step(self, now: int = 0) -> int:
        """Read what is new and tell what is due; return the number of deliveries tried.

        Args:
            now: the time, unix milliseconds; 0 = the clock's.
        """
        now = now or now_ms()
        self._collector.step(now)
        tried = sum(await asyncio.gather(*(self._serve(target, now) for target in self._targets)))
        if time.monotonic() - self._forgot > FORGET_EVERY:
            self._forgot = time.monotonic()
            self._outbox.forget(now, [target.name for target in self._targets])
        return tried

    async def close(self) -> None:
        """Close what is open."""
        await self._client.close()
        self._outbox.close()
        self._store.close()

    async def _serve(self, target: Target, now: int) -> int:
        if time.monotonic() < target.rests_until:
            return 0
        due = self._outbox.due(target.name, now, target.at_once)
        if not due:
            return 0
        answers = await asyncio.gather(*(target.send(each) for each in due), return_exceptions=True)
        sent: list[int] = []
        again: list[tuple[int, int, str]] = []
        failed: list[tuple[int, str]] = []
        for delivery, answer in zip(due, answers, strict=True):
            if answer is None:
                sent.append(delivery.n)
                continue
            if not isinstance(answer, Exception):
                raise answer
            error = str(answer) if isinstance(answer, Refused) else f"{type(answer).__name__}: {answer}"
            pause = max(min(LONGEST_PAUSE, 2.0**delivery.tries), getattr(answer, "after", 0.0))
            if now - delivery.at_ms + pause * 1000 > MAX_AGE_MS:
                log.error("%s: %s of %s is given up: %s", target.name, delivery.event, delivery.ref, error)
                failed.append((delivery.n, error))
            else:
                log.warning("%s: %s of %s: %s; again in %g s", target.name, delivery.event, delivery.ref, error, pause)
                again.append((delivery.n, now + int(pause * 1000), error))
        self._outbox.settle(sent, again, failed)
        if sent:
            target.failures = 0
        else:  # the others that wait needn't find out one by one that it is down
            target.failures += 1
            target.rests_until = time.monotonic() + min(60.0, 0.5 * 2.0 ** min(target.failures, 10))
        return len(due)

    def _wants(self, queue: Queue, event: str) -> list[str]:
        found = [
            name
            for name, hook in self._webhooks.items()
            if event in hook.events
            and any(circle == "*" or queue_name_fix(circle) == queue.circle for circle in hook.circles)
        ]
        return found + [module.target for module in self._modules if event in module.events]

    def _poster(self, hook: Webhook) -> Callable[[Delivery], Awaitable[None]]:
        async def send(delivery: Delivery) -> None:
            await self._client.send(hook, delivery, now_ms())

        return send

    def _caller(self, module: HookModule) -> Callable[[Delivery], Awaitable[None]]:
        async def send(delivery: Delivery) -> None:
            await asyncio.to_thread(module.call, delivery.event, delivery.job)

        return send


def run(settings: Settings) -> None:
    """Send until the process ends."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    try:
        modules = hook_modules(settings.hooks)
    except SettingsError as e:
        log.error("%s", e)
        sys.exit(2)
    asyncio.run(_run(settings, modules))


async def _run(settings: Settings, modules: list[HookModule]) -> None:
    sender = Sender(settings, modules)
    while True:
        try:
            tried = await sender.step()
        except Exception:  # whatever it is, it must come again: nothing is lost, all is in the outbox
            log.exception("what happened to jobs can't be told now; it is tried again")
            tried = 0
        await asyncio.sleep(0 if tried else LOOK)
