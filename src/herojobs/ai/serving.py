"""What a worker keeps for its AI jobs: connections to models, what they cost, Redis.

It imports pydantic-ai, see the package. One for each event loop: connections belong to theirs.
"""

from __future__ import annotations

import asyncio
import logging

import httpx2
from pydantic_ai import Agent
from pydantic_ai.models import Model as Asked
from pydantic_ai.models.test import TestModel
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

from herojobs.ai import local
from herojobs.ai.budget import Rate
from herojobs.ai.failures import AIFailure
from herojobs.ai.masking import KeyMask
from herojobs.ai.models import Model, key_of
from herojobs.ai.providers import asked_model, http_client, rate_of
from herojobs.ai_settings import LOCAL, ModelSettings
from herojobs.errors import HeroJobsError
from herojobs.live import usage
from herojobs.live.connect import connect_async
from herojobs.live.redis import AsyncRedis
from herojobs.live.usage import Limits, Need, Used
from herojobs.settings import Settings

for _noisy in ("httpx2", "httpcore2", "openai"):
    logging.getLogger(_noisy).setLevel(logging.WARNING)  # a line for each request would stand in the jobs' logs


def warm_up() -> None:
    """Have pydantic-ai make and load all that it does at its first run, so that no event loop waits for it."""
    asyncio.run(Agent(TestModel()).run("hello"))
    client = http_client(Model("", ModelSettings(provider="none", name="none")))
    provider = OpenAICompatibleProvider("none", base_url="http://127.0.0.1:9/v1", http_client=client)
    _ = provider.client.chat.completions.with_raw_response


class LoopServing:
    """See the module.

    Args:
        settings: the settings in force.

    Attributes:
        mask: takes keys out of texts.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clients: dict[Model, httpx2.AsyncClient] = {}
        self._asked: dict[tuple[Model, str, str], Asked] = {}
        self._gates: dict[str, asyncio.Semaphore] = {}
        self._rates: dict[Model, Rate | None] = {}
        self.mask = KeyMask()
        self._redis: AsyncRedis | None = None
        self._opening = asyncio.Lock()

    async def asked(self, model: Model) -> Asked:
        """Return the model as pydantic-ai asks it; the local one is started where it doesn't run.

        Raises:
            AIFailure: it isn't configured as it must be, or can't be started.
        """
        in_executor = asyncio.get_running_loop().run_in_executor
        if model.is_local:
            # Not in the job's context, as `to_thread` would: the process must not count as the job's.
            address = await in_executor(None, local.ensure, self._settings)
            base_url, key = f"{address.url}/v1", address.key
        else:
            base_url, key = model.base_url, key_of(model)
        self.mask.add(key)
        async with self._opening:
            found = self._asked.get((model, base_url, key))
            if found is None:  # certificates and price tables take their time to load
                found = self._asked[model, base_url, key] = await in_executor(None, self._made, model, base_url, key)
            return found

    def _made(self, model: Model, base_url: str, key: str) -> Asked:
        client = self._clients.get(model)
        if client is None:
            client = self._clients[model] = http_client(model)
        self.rate(model)
        return asked_model(model, base_url, key, client)

    def gate(self, model: Model) -> asyncio.Semaphore:
        """Return what lets only so many requests to a model through at once."""
        if model.is_local:  # they share one process; a request that it doesn't work at would count as silent
            return self._gates.setdefault(LOCAL, asyncio.Semaphore(self._settings.ai.local.slots))
        return self._gates.setdefault(model.name, asyncio.Semaphore(model.settings.concurrency))

    def rate(self, model: Model) -> Rate | None:
        """Return what a model's tokens cost, None if nobody knows."""
        if model not in self._rates:
            self._rates[model] = rate_of(model)
        return self._rates[model]

    async def spent_today(self, circle: str) -> Used:
        """Return what a circle has used today; raises AIFailure if Redis doesn't say."""
        try:
            return await usage.spent_today(await self._connected(), circle)
        except HeroJobsError as e:
            raise AIFailure("unavailable", f"what the circle has used today can't be read: {e}", again=True) from None

    async def count(self, circle: str, model: Model, used: Used, request: str) -> None:
        """Add to a circle's sums of today, and give back what the request reserved; raises as `spent_today`."""
        try:
            await usage.add(await self._connected(), circle, model.name, used, request)
        except HeroJobsError as e:
            raise AIFailure("unavailable", f"what was used can't be summed: {e}") from None

    async def hold(self, circle: str, request: str, need: Need, limits: Limits, seconds: float) -> tuple[bool, int]:
        """Reserve what a request may use; see `herojobs.live.usage.hold`. Raises as `spent_today`."""
        try:
            return await usage.hold(await self._connected(), circle, request, need, limits, seconds)
        except HeroJobsError as e:
            raise AIFailure("unavailable", f"what a request may use can't be reserved: {e}", again=True) from None

    async def give_back(self, circle: str, request: str) -> None:
        """Give back what a request has reserved; raises as `spent_today`."""
        try:
            await usage.give_back(await self._connected(), circle, request)
        except HeroJobsError as e:
            raise AIFailure("unavailable", f"what a request reserved can't be given back: {e}") from None

    async def _connected(self) -> AsyncRedis:
        async with self._opening:
            if self._redis is None:
                self._redis = await connect_async(self._settings)
            return self._redis

    async def close(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            await client.aclose()
        if self._redis is not None:
            await self._redis.close()
