"""Makes of a configured model what pydantic-ai asks. Imports pydantic-ai, see the package."""

from __future__ import annotations

import genai_prices
import httpx2
from pydantic_ai.exceptions import UserError
from pydantic_ai.models import Model as Asked
from pydantic_ai.models import infer_model
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider
from pydantic_ai.providers.openrouter import OpenRouterProvider

from herojobs.ai.budget import Rate
from herojobs.ai.failures import AIFailure
from herojobs.ai.models import PROVIDERS, Model

CONNECT_WITHIN = 10.0


def http_client(model: Model) -> httpx2.AsyncClient:
    """Return the connections to a model's provider; whoever asked for them closes them."""
    timeout = httpx2.Timeout(model.settings.timeout, connect=CONNECT_WITHIN, pool=None)
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=16)
    # Redirects could carry the key elsewhere.
    return httpx2.AsyncClient(timeout=timeout, limits=limits, follow_redirects=False)


def asked_model(model: Model, base_url: str, key: str, client: httpx2.AsyncClient) -> Asked:
    """Return a model of pydantic-ai's.

    Args:
        model: the configured model.
        base_url: where it is served; empty for providers that pydantic-ai knows by itself.
        key: its key, may be empty.
        client: connections to it.

    Raises:
        AIFailure: the provider is unknown, or its package isn't installed.
    """
    name = model.settings.name
    provider = model.settings.provider
    if provider == "openai" and not model.settings.base_url:
        return OpenAIChatModel(name, provider=OpenAIProvider(base_url=base_url, api_key=key, http_client=client))
    if provider == "openrouter" and not model.settings.base_url:
        from pydantic_ai.models.openrouter import OpenRouterModel

        return OpenRouterModel(name, provider=OpenRouterProvider(api_key=key, http_client=client))
    if base_url:
        # max_tokens is the name that all servers of this protocol know; OpenAI alone calls it max_completion_tokens.
        # A stream without a reason for its end was cut.
        profile = OpenAIModelProfile(
            openai_chat_supports_max_completion_tokens=False,
            openai_chat_streaming_requires_finish_reason=True,
            supports_json_schema_output=True,
        )
        compatible = OpenAICompatibleProvider(
            provider, base_url=base_url, api_key=key or None, http_client=client, profile=profile
        )
        return OpenAIChatModel(name or "default", provider=compatible)
    try:
        return infer_model(f"{provider}:{name}")
    except ImportError as e:
        install = f"pip install 'pydantic-ai-slim[{provider}]'"
        raise AIFailure("not_configured", f"model {model.name}: {install} ({e})", elsewhere=True) from None
    except (UserError, ValueError) as e:
        known = f"; providers are {', '.join([*PROVIDERS, 'local'])}, or any that pydantic-ai knows"
        hint = known if "nknown" in str(e) else ""
        raise AIFailure("not_configured", f"model {model.name}: {e}{hint}", elsewhere=True) from None


def rate_of(model: Model) -> Rate | None:
    """Return what a model's tokens cost: by the settings, else by the built-in table; None if nobody knows."""
    price = model.settings.price
    if price is not None:
        return Rate(price.input, price.output)
    if model.is_local:
        return Rate(0.0, 0.0)
    if model.settings.base_url:
        return None  # who knows what is behind it
    try:
        return Rate(_price(model, 1_000_000, 0), _price(model, 0, 1_000_000))
    except LookupError:
        return None


def _price(model: Model, sent: int, came: int) -> float:
    usage = genai_prices.Usage(input_tokens=sent, output_tokens=came)
    found = genai_prices.calc_price(usage, model.settings.name, provider_id=model.settings.provider)
    return float(found.total_price)
