"""Which models a job may use, where they are served and where their keys are. Imports nothing heavy."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from herojobs.ai.failures import AIFailure
from herojobs.ai_settings import LOCAL, AISettings, ModelSettings, of_circle
from herojobs.errors import did_you_mean
from herojobs.names import queue_name_fix

LOCAL_MAX_TOKENS = 512
"""Most tokens of the local model's answers: a small model may never come to an end by itself."""


class Provider(NamedTuple):
    """A provider that speaks chat completions.

    Attributes:
        base_url: its address.
        variable: environment variable that usually holds its key; empty: it needs none.
    """

    base_url: str
    variable: str = ""


PROVIDERS = {
    "openai": Provider("https://api.openai.com/v1", "OPENAI_API_KEY"),
    "openrouter": Provider("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "ollama": Provider("http://127.0.0.1:11434/v1"),
    "vllm": Provider("http://127.0.0.1:8000/v1"),
    "llamacpp": Provider("http://127.0.0.1:8080/v1"),
}
"""Providers with one wire protocol; any other name is one that pydantic-ai knows by itself."""


class Model(NamedTuple):
    """A model as jobs name it, with its settings."""

    name: str
    settings: ModelSettings

    @property
    def is_local(self) -> bool:
        """Whether our own process on this machine serves it."""
        return self.settings.provider == LOCAL

    @property
    def base_url(self) -> str:
        """Where it is served; empty for the local model and providers that pydantic-ai knows by itself."""
        provider = PROVIDERS.get(self.settings.provider)
        return self.settings.base_url or (provider.base_url if provider else "")


def known(ai: AISettings) -> dict[str, Model]:
    """Return all models that are configured, by name; `local` is always among them."""
    local = ModelSettings(provider=LOCAL, max_tokens=LOCAL_MAX_TOKENS, timeout=300, concurrency=ai.local.slots)
    found = {LOCAL: Model(LOCAL, local)}
    return found | {name: Model(name, settings) for name, settings in ai.models.items()}


def choose(ai: AISettings, circle: str, asked: str) -> list[Model]:
    """Return the model that a job shall use, and after it those that take over when it fails.

    Args:
        ai: the settings.
        circle: the job's circle, its name fixed.
        asked: the name that the job gives; empty = the default.

    Raises:
        AIFailure: there is no such model, or the circle may not use it.
    """
    models = known(ai)
    name = asked or of_circle(ai.circle_model, circle) or ai.model
    allowed = {each for each, model in models.items() if _may(circle, model.settings.circles)}
    if name in models:
        if name not in allowed:
            which = "model" if asked else f"default model (ai.circle_model.{circle} gives it another)"
            hint = _right(name, allowed)
            raise AIFailure("invalid_params", f"jobs of circle {circle} may not use the {which} {name!r}; {hint}")
        first = models[name]
    elif ":" in name and (not asked or _may(circle, ai.allow_any_model)):
        provider, _, rest = name.partition(":")
        first = Model(name, ModelSettings(provider=provider, name=rest)) if provider and rest else models[LOCAL]
    elif ":" in name:
        raise AIFailure(
            "invalid_params",
            f"the model {name!r} isn't configured, and the setting ai.allow_any_model doesn't list circle {circle}; "
            f"models are {', '.join(sorted(allowed))}",
        )
    else:
        raise AIFailure("invalid_params", f"there is no model {name!r}; {_right(name, allowed)}")
    return [first, *(models[each] for each in first.settings.fallback if each in allowed and each != first.name)]


def key_of(model: Model) -> str:
    """Return a model's key, empty if it needs none.

    Raises:
        AIFailure: it can't be had; the error names the variable or file.
    """
    where = model.settings.api_key
    if where.startswith("file:"):
        path = Path(where.removeprefix("file:")).expanduser()
        try:
            return path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as e:
            reason = e.strerror if isinstance(e, OSError) else "it isn't text"
            raise _missing(model, f"its key can't be read from {path}: {reason}") from None
    provider = PROVIDERS.get(model.settings.provider)
    variable = where.removeprefix("env:")
    if not variable and provider and not model.settings.base_url:  # a key goes to no address but its provider's
        variable = provider.variable
    if not variable:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise _missing(model, f"it needs a key: set {variable} in the environment of the WatchDog and start it again")
    return key


def _missing(model: Model, problem: str) -> AIFailure:
    return AIFailure("not_configured", f"model {model.name}: {problem}", elsewhere=True)


def _may(circle: str, listed: Iterable[str]) -> bool:
    return any(each == "*" or queue_name_fix(each) == circle for each in listed)


def _right(name: str, allowed: Iterable[str]) -> str:
    return did_you_mean(name, allowed) or "it may use none"
