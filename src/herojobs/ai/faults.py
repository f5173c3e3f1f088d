"""What pydantic-ai raises, as an `AIFailure`. Imports pydantic-ai, see the package."""

from __future__ import annotations

from pydantic_ai import exceptions as raised

from herojobs.ai.failures import AIFailure, Kind
from herojobs.ai.models import PROVIDERS, Model

MOST_SHOWN = 300
"""Characters of a provider's own words in an error."""


def translate(error: Exception, model: Model) -> AIFailure:
    """Return the failure that an exception means which was raised while a model was asked."""
    if isinstance(error, AIFailure):
        return error
    who = f"model {model.name}"
    if isinstance(error, raised.ModelAPIError):
        return _by_category(error, model, who)
    if isinstance(error, raised.ContentFilterError):
        return AIFailure("content_filter", f"{who}: the provider's filter stopped the answer: {error.message}")
    if isinstance(error, raised.OutputTokenLimitExceeded):
        return AIFailure("bad_output", f"{who}: the answer was cut before it was complete; raise max_tokens")
    if isinstance(error, raised.UserError):
        return AIFailure("not_configured", f"{who}: {error.message}", elsewhere=True)
    what = str(error) or type(error).__name__
    return AIFailure("unavailable", f"{who} answered what nobody can read: {what[:MOST_SHOWN]}", again=True)


def _by_category(error: raised.ModelAPIError, model: Model, who: str) -> AIFailure:
    status = error.status_code if isinstance(error, raised.ModelHTTPError) else 0
    said = f" ({status}: {_words(error)})" if status else f" ({_words(error)})"

    def failure(kind: Kind, text: str, *, again: bool = False, elsewhere: bool = False) -> AIFailure:
        return AIFailure(
            kind, f"{who} {text}{said}", status=status, again=again, elsewhere=elsewhere, wait=error.retry_after
        )

    match error:
        case raised.ModelAuthenticationError():
            provider = PROVIDERS.get(model.settings.provider)
            usual = provider.variable if provider and not model.settings.base_url else ""
            advice = f"check {model.settings.api_key or usual}"
            if not model.settings.api_key and not usual:
                advice = f"set api_key in [ai.models.{model.name}]"
            return failure("auth", f"refuses the key; {advice}", elsewhere=True)
        case raised.ModelNotFoundError():
            name = model.settings.name
            return failure("not_configured", f"isn't there: check the name {name!r} and base_url", elsewhere=True)
        case (
            raised.ModelContextWindowExceededError()
            | raised.ModelRequestRejectedError(
                provider_error_type="exceed_context_size_error"  # llama.cpp's
            )
        ):
            return failure("context_length", "takes no prompt as long as this; shorten it, or take another model")
        case raised.ModelQuotaExceededError():
            return failure("rate_limited", "has no quota left; look at the account", elsewhere=True)
        case raised.ModelRateLimitError():
            return failure("rate_limited", "takes no more requests now", again=True)
        case raised.ModelRequestRejectedError():
            return failure("invalid_params", "refuses the request")
        case raised.ModelTimeoutError() | raised.ModelRequestTimeout():
            return failure("timeout", f"was silent for {model.settings.timeout:g} s", again=True)
        case raised.ModelConnectionError():
            where = f" at {model.base_url}" if model.base_url else ""
            return failure("unavailable", f"can't be reached{where}", again=True)
        case _:
            return failure("unavailable", "is out of order", again=status >= 500 or status in (0, 408, 409))


def _words(error: raised.ModelAPIError) -> str:
    """Return the provider's own words."""
    body = error.body
    if isinstance(body, dict):
        inner = body.get("error", body)
        body = inner.get("message", inner) if isinstance(inner, dict) else inner
    text = str(body) if body else error.message
    return " ".join(text.split())[:MOST_SHOWN]
