"""Which models a job may use, where their keys come from, and what a job may still spend."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from herojobs.ai.budget import Budget, Rate
from herojobs.ai.failures import AIFailure
from herojobs.ai.models import Model, choose, key_of
from herojobs.ai.prompt import Prompt
from herojobs.ai_settings import AISettings, Daily, ModelSettings
from herojobs.live.usage import Used


def settings(**more: Any) -> AISettings:
    models = {
        "fast": ModelSettings(provider="openai", name="small", fallback=("mine", "local")),
        "mine": ModelSettings(provider="vllm", name="m", circles=("My Circle",)),
    }
    return AISettings(model="fast", models=models, **more)


@pytest.mark.parametrize(
    ("circle", "asked", "chosen"),
    [
        ("c", "", ["fast", "local"]),
        ("my_circle", "", ["fast", "mine", "local"]),
        ("my_circle", "mine", ["mine"]),
        ("special", "", ["local"]),
        ("c", "local", ["local"]),
        ("free", "anthropic:some-model", ["anthropic:some-model"]),
        ("adhoc", "", ["openai:some-model"]),
    ],
)
def test_a_circles_models(circle: str, asked: str, chosen: list[str]) -> None:
    ai = settings(circle_model={"special": "local", "Adhoc": "openai:some-model"}, allow_any_model=("free",))
    assert [model.name for model in choose(ai, circle, asked)] == chosen


def test_without_settings_the_local_model_answers() -> None:
    (model,) = choose(AISettings(), "c", "")
    assert model.is_local


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("mine", "jobs of circle c may not use the model 'mine'"),
        ("fats", "there is no model 'fats'; did you mean 'fast'"),
        ("openai:x", "the setting ai.allow_any_model doesn't list circle c; models are fast, local"),
    ],
)
def test_other_models_are_refused(asked: str, told: str) -> None:
    with pytest.raises(AIFailure, match=re.escape(told)) as caught:
        choose(settings(), "c", asked)
    assert caught.value.kind == "invalid_params"


def test_a_default_model_must_be_the_circles_too() -> None:
    ai = AISettings(model="mine", models=settings().models)
    with pytest.raises(AIFailure, match="may not use the default model"):
        choose(ai, "c", "")
    assert choose(ai, "my_circle", "")[0].name == "mine"


def model(**more: Any) -> Model:
    return Model("m", ModelSettings(**({"provider": "openai", "name": "x"} | more)))


def test_a_key_is_where_the_settings_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "usual")
    monkeypatch.setenv("MY_KEY", "mine")
    (tmp_path / "key").write_text("filed\n")
    assert key_of(model()) == "usual"
    assert key_of(model(api_key="env:MY_KEY")) == "mine"
    assert key_of(model(api_key=f"file:{tmp_path / 'key'}")) == "filed"
    assert key_of(model(provider="ollama")) == ""


def test_a_providers_usual_key_goes_to_no_other_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "usual")
    assert key_of(model(base_url="http://127.0.0.1:9/v1")) == ""


@pytest.mark.parametrize(("where", "told"), [("env:NO_KEY", "set NO_KEY"), ("file:/no/such", "No such file")])
def test_a_missing_key_is_told(where: str, told: str) -> None:
    with pytest.raises(AIFailure, match=told) as caught:
        key_of(model(api_key=where))
    assert caught.value.kind == "not_configured"


NOTHING = Used()


def answer(
    budget: Budget, used: Used = NOTHING, today: Used = NOTHING, rate: Rate | None = None, sent: int = 10
) -> int:
    return budget.answer(1000, used, today, rate, sent)


def test_the_lower_limit_counts() -> None:
    ai = AISettings(max_steps=5, max_total_tokens=500)
    budget = Budget(Prompt(prompt="x", max_total_tokens=900), ai, "c")
    assert (budget.max_steps, budget.max_tokens) == (5, 500)
    assert answer(budget) == 490
    assert answer(budget, Used(input=100, output=90)) == 300
    with pytest.raises(AIFailure, match=r"500 tokens \(max_total_tokens\) are used up: 480 used"):
        answer(budget, Used(input=480))
    with pytest.raises(AIFailure, match="5 requests"):
        answer(budget, Used(requests=5))


def test_no_limit_is_no_limit() -> None:
    budget = Budget(Prompt(prompt="x"), AISettings(max_total_tokens=0), "c")
    assert answer(budget, Used(input=10**9)) == 1000


def test_a_circles_day_counts_besides_the_jobs_own() -> None:
    ai = AISettings(daily={"*": Daily(tokens=1000), "rich": Daily(cost=2)})
    assert answer(Budget(Prompt(prompt="x"), ai, "c"), today=Used(input=600)) == 390
    with pytest.raises(AIFailure, match=r"1,000 tokens that circle c has a day \(ai.daily\)"):
        answer(Budget(Prompt(prompt="x"), ai, "c"), today=Used(input=1000))
    assert Budget(Prompt(prompt="x"), AISettings(daily={"My Circle": Daily(tokens=7)}), "my_circle").daily.tokens == 7
    rich = Budget(Prompt(prompt="x"), ai, "rich")
    assert answer(rich, today=Used(input=10**6, cost=1_999_000), rate=Rate(0, 10)) == 100
    with pytest.raises(AIFailure, match="2 USD that circle rich has a day"):
        answer(rich, today=Used(cost=2_000_000), rate=Rate(1, 10))
    assert answer(rich, rate=Rate(0, 0)) == 1000  # what costs nothing passes no limit of cost


def test_settings_travel_to_workers() -> None:
    ai = settings(daily={"c": Daily(tokens=5)}, tools={"c": ("x",)})
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(ai), type=AISettings) == ai
