"""Recorded conversations: recorded from a provider, replayed without it, and told apart when they differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from herojobs import HeroJobs, InlineWatchDog, Job
from herojobs.testing.ai import RecordedModel
from herojobs.testing.model_server import Answer, ModelServer

ACTORS = ("support.ai_tools",)


def ask(model: RecordedModel, tmp_path: Path, redis_url: str, *prompts: str | dict[str, Any]) -> list[Job]:
    given: dict[str, Any] = {"home": tmp_path / "home", "redis_url": redis_url}
    ai = model.settings | {"tools": {"*": ["hero_depot_*"]}}
    with HeroJobs(**given) as hero, InlineWatchDog(**given, actors=ACTORS, ai=ai) as watchdog:
        texts = [text if isinstance(text, str) else json.dumps(text) for text in prompts]
        jobs = [hero.submit(text, params_type="ai", circle_id="c") for text in texts]
        watchdog.run_pending()
        return [hero.get(job) for job in jobs]


TOOLED = {"prompt": "Pack it.", "tools": ["hero_depot_pack"]}
ANSWERS = [
    Answer(text="Paris.", input_tokens=7, output_tokens=2),
    Answer(tool_calls=[("hero_depot_pack", {"name": "box"})], input_tokens=9, output_tokens=4),
    Answer(text="Packed.", input_tokens=20, output_tokens=3),
]


def test_what_is_recorded_is_replayed_without_the_provider(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "talk.json"
    monkeypatch.setenv("REAL_KEY", "sk-real-0123456789")
    answers = iter(ANSWERS)
    with ModelServer(lambda request: next(answers)) as provider:
        real = {"model": "big", "base_url": provider.url, "api_key": "REAL_KEY"}
        with RecordedModel(path, record=True, **real) as model:
            recorded = ask(model, tmp_path, redis_url, "The capital of France?", TOOLED)
        assert provider.keys == ["sk-real-0123456789"] * 3
    assert [job.result for job in recorded] == ["Paris.", "Packed."]
    assert "sk-real" not in path.read_text()
    with RecordedModel(path, model="big") as model:
        replayed = ask(model, tmp_path, redis_url, TOOLED, "The capital of France?")  # in another order
    assert [job.result for job in replayed] == ["Packed.", "Paris."]
    assert replayed[1].usage["input_tokens"] == 7
    assert replayed[0].usage["tool_calls"] == 1


def written(tmp_path: Path, *exchanges: dict[str, Any]) -> Path:
    path = tmp_path / "talk.json"
    path.write_text(json.dumps({"version": 1, "exchanges": list(exchanges)}))
    return path


def test_a_file_may_be_written_by_hand(tmp_path: Path, redis_url: str) -> None:
    path = written(tmp_path, {"request": {"prompt": "Hello?"}, "answer": "Hello!"})
    with RecordedModel(path) as model:
        (job,) = ask(model, tmp_path, redis_url, "Hello?")
    assert job.result == "Hello!"
    assert model.requests[0]["messages"] == [{"role": "user", "content": "Hello?"}]


def test_a_request_that_fits_nothing_fails_the_test_with_the_difference(tmp_path: Path, redis_url: str) -> None:
    path = written(
        tmp_path,
        {"request": {"prompt": "Something else"}, "answer": "x"},
        {"request": {"prompt": "Hello, world?", "temperature": 0.5}, "answer": "x"},
    )
    jobs: list[Job] = []
    with pytest.raises(AssertionError) as caught, RecordedModel(path) as model:
        jobs += ask(model, tmp_path, redis_url, {"prompt": "Hello, word?", "temperature": 0.5})
    assert "no recorded exchange fits this request" in jobs[0].error
    told = str(caught.value)
    assert "it differs from exchange 2" in told
    assert '-  "prompt": "Hello, world?",' in told
    assert '+  "prompt": "Hello, word?",' in told
    assert "temperature" in told


def test_an_exchange_is_for_one_request(tmp_path: Path, redis_url: str) -> None:
    path = written(tmp_path, {"request": {"prompt": "Hello?"}, "answer": "Hello!"})
    with (
        pytest.raises(AssertionError, match="it fits exchange 1, which was used already"),
        RecordedModel(path) as model,
    ):
        ask(model, tmp_path, redis_url, "Hello?", "Hello?")


def test_an_exchange_that_nobody_asks_for_fails_the_test(tmp_path: Path) -> None:
    path = written(tmp_path, {"request": {"prompt": "Hello?"}, "answer": "Hello!"})
    with pytest.raises(AssertionError, match="nobody asked for exchange 1"), RecordedModel(path):
        pass
    with RecordedModel(path, all_used=False):
        pass


def test_faults_can_be_recorded_too(tmp_path: Path, redis_url: str) -> None:
    path = written(tmp_path, {"request": {}, "answer": {"status": 402, "text": "no money"}})
    with RecordedModel(path) as model:
        (job,) = ask(model, tmp_path, redis_url, "Hello?")
    assert (job.error_detail["kind"], job.error_detail["status"]) == ("rate_limited", 402)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "no JSON"),
        ("[]", "exchanges"),
        ('{"version": 9, "exchanges": []}', "version 9"),
        ('{"exchanges": [{"request": {}}]}', "exchange 1 needs `request` and `answer`"),
        ('{"exchanges": [{"request": {}, "answer": {"txt": "x"}}]}', "answer of exchange 1"),
    ],
)
def test_a_wrong_file_is_told(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "talk.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=told):
        RecordedModel(path)


def test_a_missing_file_says_how_to_record_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="HEROJOBS_AI_RECORD=1"):
        RecordedModel(tmp_path / "none.json")
    with pytest.raises(ValueError, match="base_url"):
        RecordedModel(tmp_path / "none.json", record=True)
