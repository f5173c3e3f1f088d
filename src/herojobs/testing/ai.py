"""Conversations with a model, recorded once and replayed in tests, without network, keys or cost.

    with RecordedModel("tests/capital.json") as model, HeroJobs(home=tmp_path) as hero:
        with WatchDog(home=tmp_path, ai=model.settings):
            job = hero.wait(hero.submit("What is the capital of France?", params_type="ai"))

The model is a server on this machine, so it serves workers in other processes too. Recording asks the real provider
and writes what it answers: pass `record=True`, or run the tests with HEROJOBS_AI_RECORD=1.
"""

from __future__ import annotations

import difflib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from herojobs.testing.model_server import Answer, ModelServer

RECORD = "HEROJOBS_AI_RECORD"
"""Environment variable that turns recording on."""

VERSION = 1
_TRANSPORT = ("stream", "stream_options")
"""Members of a request that say how the answer travels, not what is asked."""


class RecordedModel:
    """Answers as a file says; see the module and docs/ai.md for the file.

    Args:
        path: the file, JSON.
        record: whether to ask the provider and write the file; None: whether HEROJOBS_AI_RECORD is set.
        model: the model's name at the provider.
        base_url: address of the provider's API, up to `/v1`; needed for recording only.
        api_key: environment variable that holds its key; needed for recording only.
        all_used: whether an exchange that nobody asked for fails the test.

    Attributes:
        unmatched: for each request that no exchange fits, how it differs from the one that comes nearest.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        record: bool | None = None,
        model: str = "recorded",
        base_url: str = "",
        api_key: str = "",
        all_used: bool = True,
    ) -> None:
        self._path = Path(path)
        self._records = bool(os.environ.get(RECORD)) if record is None else record
        self._model = model
        self._base_url = base_url.rstrip("/")
        self._api_key = api_key
        self._all_used = all_used
        self._exchanges: list[dict[str, Any]] = []
        self._used: set[int] = set()
        self.unmatched: list[str] = []
        self._server = ModelServer(self._answer)
        if self._records and not base_url:
            raise ValueError("recording needs base_url, the address of the provider's API")
        if not self._records:
            self._exchanges = _read(self._path)

    @property
    def settings(self) -> dict[str, Any]:
        """Settings `ai` with which jobs ask this model."""
        one = {"provider": "recorded", "name": self._model, "base_url": self._server.url, "retries": 0}
        return {"model": "recorded", "models": {"recorded": one}}

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The requests so far, in the form in which they are recorded."""
        return [_shown(request) for request in self._server.requests]

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.__exit__(kind, error, trace)
        if self._records:
            text = json.dumps({"version": VERSION, "exchanges": self._exchanges}, indent=2, ensure_ascii=False)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(text + "\n", "utf-8")
        elif error is None:
            self.check()

    def check(self) -> None:
        """Raise AssertionError if a request fitted no exchange, or an exchange was never asked for."""
        if self.unmatched:
            raise AssertionError("\n\n".join(self.unmatched))
        left = [number for number in range(len(self._exchanges)) if number not in self._used]
        if left and self._all_used:
            request = json.dumps(self._exchanges[left[0]]["request"], ensure_ascii=False)
            raise AssertionError(f"{self._path}: nobody asked for exchange {left[0] + 1}: {request[:300]}")

    def _answer(self, request: dict[str, Any]) -> Answer:
        asked = _shown(request)
        if self._records:
            answer = self._ask(request)
            with self._server.lock:
                self._exchanges.append({"request": asked, "answer": _written(answer)})
            return answer
        with self._server.lock:
            for number, exchange in enumerate(self._exchanges):
                if number not in self._used and _fits(exchange["request"], asked):
                    self._used.add(number)
                    return _read_answer(exchange["answer"])
            self.unmatched.append(self._difference(asked))
        return Answer(
            status=400, text="no recorded exchange fits this request; the end of the test tells the difference"
        )

    def _ask(self, request: dict[str, Any]) -> Answer:
        """Ask the provider."""
        import httpx2  # here: replaying needs no client

        key = os.environ.get(self._api_key, "") if self._api_key else ""
        body = {name: value for name, value in request.items() if name not in _TRANSPORT}
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        with httpx2.Client(timeout=300) as client:
            answer = client.post(f"{self._base_url}/chat/completions", json=body, headers=headers)
        kept = {name: value for name, value in answer.headers.items() if name.lower() == "retry-after"}
        if answer.status_code >= 400:
            text = answer.text.replace(key, "***") if key else answer.text
            return Answer(status=answer.status_code, text=text, headers=kept)
        found = answer.json()
        message, usage = found["choices"][0]["message"], found.get("usage") or {}
        return Answer(
            text=message.get("content") or "",
            tool_calls=[_call(each) for each in message.get("tool_calls") or ()],
            finish_reason=found["choices"][0].get("finish_reason") or "",
            input_tokens=usage.get("prompt_tokens"),
            output_tokens=usage.get("completion_tokens"),
        )

    def _difference(self, asked: dict[str, Any]) -> str:
        """Return how a request differs from the exchange that comes nearest."""
        place = f"{self._path}: no exchange fits a request"
        if not self._exchanges:
            return f"{place}: there is none"
        actual = {number: _part(exchange["request"], asked) for number, exchange in enumerate(self._exchanges)}

        def likeness(number: int) -> float:
            return difflib.SequenceMatcher(
                None, _lines(self._exchanges[number]["request"]), _lines(actual[number])
            ).ratio()

        nearest = max(actual, key=likeness)
        if _fits(self._exchanges[nearest]["request"], asked):
            return f"{place}: it fits exchange {nearest + 1}, which was used already\n" + "\n".join(_lines(asked))
        lines = difflib.unified_diff(
            _lines(self._exchanges[nearest]["request"]),
            _lines(actual[nearest]),
            f"exchange {nearest + 1}",
            "request",
            lineterm="",
        )
        return f"{place}; it differs from exchange {nearest + 1}:\n" + "\n".join(lines)


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file; run with {RECORD}=1 to record it, or write it") from None
    except json.JSONDecodeError as e:
        raise ValueError(f"{path}: no JSON: {e}") from None
    if not isinstance(found, dict) or not isinstance(found.get("exchanges"), list):
        raise ValueError(f'{path}: write {{"version": {VERSION}, "exchanges": [...]}}')
    if found.get("version", VERSION) != VERSION:
        raise ValueError(f"{path}: version {found['version']!r} isn't known, only {VERSION}")
    for number, exchange in enumerate(found["exchanges"], 1):
        if not isinstance(exchange, dict) or set(exchange) != {"request", "answer"}:
            raise ValueError(f"{path}: exchange {number} needs `request` and `answer`, nothing else")
        try:
            _read_answer(exchange["answer"])
        except (TypeError, KeyError) as e:
            raise ValueError(f"{path}: the answer of exchange {number}: {e}") from None
    exchanges: list[dict[str, Any]] = found["exchanges"]
    return exchanges


def _read_answer(answer: Any) -> Answer:
    if isinstance(answer, str):
        return Answer(text=answer)
    calls = [(call["name"], call.get("arguments", {})) for call in answer.get("tool_calls", ())]
    return Answer(**{**answer, "tool_calls": calls})


def _written(answer: Answer) -> dict[str, Any]:
    """Return an answer as the file has it: what is at its default is left out."""
    calls = [{"name": name, "arguments": arguments} for name, arguments in answer.tool_calls]
    blank = vars(Answer())
    kept = {name: value for name, value in vars(answer).items() if value != blank[name]}
    return kept | ({"tool_calls": calls} if calls else {})


def _shown(request: dict[str, Any]) -> dict[str, Any]:
    """Return a request as the file has it: without how it travels, and without ids that differ from run to run."""
    shown = {name: value for name, value in request.items() if name not in _TRANSPORT}
    shown["messages"] = [_message(message) for message in request.get("messages", ())]
    return shown


def _message(message: dict[str, Any]) -> dict[str, Any]:
    shown = {name: value for name, value in message.items() if name not in ("tool_call_id", "tool_calls")}
    calls = [dict(zip(("name", "arguments"), _call(each), strict=True)) for each in message.get("tool_calls") or ()]
    return shown | ({"tool_calls": calls} if calls else {})


def _call(call: dict[str, Any]) -> tuple[str, Any]:
    function = call["function"]
    try:
        return function["name"], json.loads(function["arguments"] or "{}")
    except json.JSONDecodeError:
        return function["name"], function["arguments"]


def _part(wanted: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a request that an exchange speaks of; `prompt` is the last message of the user."""
    users = [each.get("content") for each in asked["messages"] if each.get("role") == "user"]
    whole = asked | {"prompt": users[-1] if users else None}
    return {name: whole.get(name) for name in wanted}


def _fits(wanted: dict[str, Any], asked: dict[str, Any]) -> bool:
    return _part(wanted, asked) == wanted


def _lines(value: Any) -> list[str]:
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True).splitlines()
