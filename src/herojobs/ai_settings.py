"""The settings of AI jobs: the table `[ai]` of herojobs.toml.

What stands at its default isn't written when settings are shown.

The text below each field tells its meaning, its unit and what breaks when it is wrong; docs/settings.md is made
of these texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from herojobs.errors import did_you_mean
from herojobs.names import queue_name_fix

T = TypeVar("T")

LOCAL = "local"
"""Name of the model that runs on this machine; nobody has to configure it."""

Amount = Annotated[float, Meta(ge=0)]
Tokens = Annotated[int, Meta(ge=0)]


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a model costs, in USD a million tokens."""

    input: Amount
    """USD a million tokens of what is sent."""

    output: Amount
    """USD a million tokens of what comes back."""

    cached: Amount | None = None
    """USD a million tokens of what is sent and was in the provider's cache. None: as `input`."""


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A model that jobs may name: a table `[ai.models.NAME]`."""

    provider: str
    """Who serves it: openai, openrouter, ollama, vllm, llamacpp, local, or any other that pydantic-ai knows and
    whose package is installed (anthropic, google, mistral ...)."""

    name: str = ""
    """The model's name at the provider. Not needed for `local`."""

    base_url: str = ""
    """Address of the provider's API, up to `/v1`. Empty: the provider's own, for vllm, llamacpp and ollama their
    usual port on this machine."""

    api_key: str = ""
    """Where the key is: `env:VARIABLE` of the WatchDog's environment, or `file:/path`. Never the key itself. Empty:
    the provider's usual variable, or none."""

    timeout: Annotated[float, Meta(gt=0, le=3600)] = 60.0
    """Seconds that the provider may be silent, before its answer or within it. Then the request counts as failed."""

    retries: Annotated[int, Meta(ge=0, le=20)] = 3
    """Times that a request is sent again after a 429, a 5xx or a broken connection, before the models in `fallback`
    are tried. All within the job's timeout."""

    concurrency: Annotated[int, Meta(ge=1, le=1000)] = 8
    """Requests that one worker sends at once; further jobs wait for their turn, which counts into their timeout."""

    max_tokens: Annotated[int, Meta(ge=1)] = 4096
    """Most tokens of one answer, where the job doesn't say fewer."""

    output: Literal["native", "tool", "prompt"] = "native"
    """How a schema is asked for: `native` by the provider's structured output, `tool` by a tool call, `prompt` in
    words, for providers that know neither."""

    price: Price | None = None
    """Its price, `{ input = 0.15, output = 0.60 }` in USD a million tokens. None: as the built-in table has it."""

    fallback: tuple[str, ...] = ()
    """Models that take over, in this order, when this one fails for a reason that isn't the prompt's."""

    circles: tuple[str, ...] = ("*",)
    """Circles whose jobs may name it; `*` is for all."""

    def __post_init__(self) -> None:
        if self.api_key and not self.api_key.startswith(("env:", "file:")):
            raise ValueError(
                "api_key: write env:VARIABLE or file:/path; a key itself would end up where settings are shown"
            )
        if not self.name and self.provider != LOCAL:
            raise ValueError(f"name: it is missing; write the model's name at {self.provider}")


class Daily(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What all jobs of a circle may use together in a day (UTC)."""

    tokens: Tokens = 0
    """Tokens, sent and received. 0: no limit."""

    cost: Amount = 0.0
    """USD. 0: no limit."""


class LocalSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The local model's process."""

    threads: Annotated[int, Meta(ge=0, le=256)] = 0
    """Threads that it computes with. 0: half the cores. As many as there are cores make it several times slower
    while anything else runs."""

    slots: Annotated[int, Meta(ge=1, le=16)] = 1
    """Answers that it writes at once; each further one waits."""

    context: Annotated[int, Meta(ge=512, le=131_072)] = 4096
    """Most tokens of prompt and answer together, for each slot."""

    idle: Annotated[float, Meta(gt=0)] = 300.0
    """Seconds without a request after which it is stopped; the next job starts it again, within a second or two."""

    weights: str = ""
    """Another model file (.gguf) to run. Empty: the one that the extra local-ai brings."""


class AISettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """All settings of AI jobs."""

    model: str = "local"
    """The model of jobs that name none. `local` runs on this machine and needs the extra local-ai."""

    circle_model: dict[str, str] = {}
    """The same by circle, before `model`."""

    models: dict[str, ModelSettings] = {}
    """The models that jobs may name: a table `[ai.models.NAME]` each. `local` is always there."""

    allow_any_model: tuple[str, ...] = ()
    """Circles whose jobs may name any `provider:model`, not only those above; `*` is for all."""

    tools: dict[str, tuple[str, ...]] = {}
    """Tools that a circle's jobs may use, as patterns (`hero_parcel_*`, `rpc_pets_*`, `rhai_*`, `job_get`), by
    circle; `*` is for all other circles. A job has no tool that isn't both here and in its own `tools`."""

    max_steps: Annotated[int, Meta(ge=1, le=1000)] = 32
    """Most requests of one job; a job that says nothing has 8."""

    max_total_tokens: Tokens = 200_000
    """Most tokens of one job, sent and received. 0: no limit."""

    max_cost: Amount = 0.0
    """Most USD of one job. 0: no limit."""

    daily: dict[str, Daily] = {}
    """What a circle's jobs may use together in a day (UTC), by circle: `{ tokens = ..., cost = ... }`; `*` is for
    each other circle."""

    keep_messages: bool = False
    """Whether the whole conversation of a job is kept as a file beside its log."""

    local: LocalSettings = LocalSettings()
    """The local model's process; see below."""

    def __post_init__(self) -> None:
        known = {LOCAL, *self.models}
        places = [
            ("model", self.model),
            *((f"circle_model.{circle}", name) for circle, name in self.circle_model.items()),
        ]
        for name, model in self.models.items():
            if ":" in name:
                raise ValueError(f"models.{name}: a name can't have a colon: it stands between provider and model")
            places += [(f"models.{name}.fallback", each) for each in model.fallback]
        for place, name in places:
            if name not in known and ":" not in name:
                raise ValueError(f"{place}: there is no model {name!r}; {did_you_mean(name, known)}")


def of_circle(table: Mapping[str, T], circle: str) -> T | None:
    """Return what a table by circles has for one, else what it has for `*`; None if neither is there.

    Args:
        table: values by circle, whose names may be spelled in any way.
        circle: the circle, its name fixed.
    """
    own = next((value for name, value in table.items() if name != "*" and queue_name_fix(name) == circle), None)
    return table.get("*") if own is None else own
