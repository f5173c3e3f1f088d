"""One job's conversation with its models. Imports pydantic-ai, see the package.

    choose the limit of the next answer → ask → follow the stream into the log → count → call tools → ask again

A request that fails is sent again, or to the next model, with the same history: what tools have done stays done.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import msgspec
from pydantic_ai import Agent, ModelRetry, NativeOutput, PromptedOutput, StructuredDict, ToolOutput
from pydantic_ai import Tool as AgentTool
from pydantic_ai import messages as parts
from pydantic_ai.exceptions import UnexpectedModelBehavior
from pydantic_ai.models import Model as Asked
from pydantic_graph import End

from herojobs.ai.answer_log import AnswerLog
from herojobs.ai.budget import Rate, estimated
from herojobs.ai.day import Day
from herojobs.ai.failures import AIFailure
from herojobs.ai.faults import translate
from herojobs.ai.models import Model
from herojobs.ai.prompt import Prompt, refuse
from herojobs.ai.tools import ToolCalls, ToolError, faults_of
from herojobs.live.usage import Used

REPAIRS = 2
"""Times that a wrong answer goes back to the model with its faults."""
TOOL_RETRIES = 3
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
"""Seconds before a request is sent again where the provider doesn't say how long to wait; doubled each time."""
MOST_CHARACTERS_A_TOKEN = 24
"""An answer with more is endless: the provider doesn't keep max_tokens."""
FAULTS_SHOWN = 5


class Serving(Protocol):
    """What gives access to models; the worker has one for each event loop."""

    async def asked(self, model: Model) -> Asked:
        """Return the model as pydantic-ai asks it."""
        ...

    def gate(self, model: Model) -> AbstractAsyncContextManager[Any]:
        """Return what lets only so many requests through at once."""
        ...

    def rate(self, model: Model) -> Rate | None:
        """Return what the model's tokens cost, None if nobody knows."""
        ...


class Conversation:
    """See the module.

    Args:
        prompt: what the job asks for, its data filled in.
        models: the model to ask, and those that take over.
        day: says what the next answer may have, and sums what was used.
        tools: calls of the job's tools.
        log: the job's log.
        serving: gives access to the models.
        seconds: seconds that the job has.

    Attributes:
        used: what the job has used so far.
        usage: the same for `Job.usage`.
        attempts: requests that were sent.
        model: the model that was asked last.
    """

    def __init__(
        self,
        prompt: Prompt,
        models: list[Model],
        day: Day,
        tools: ToolCalls,
        log: AnswerLog,
        serving: Serving,
        seconds: float,
    ) -> None:
        self._prompt = prompt
        self._models = models
        self._day = day
        self._tools = tools
        self._log = log
        self._serving = serving
        self._began = time.monotonic()
        self._deadline = self._began + seconds
        self._schema, self._is_wrapped = _object_schema(prompt.schema)
        self._check: Any = None
        self._faults: list[str] = []
        self._requesting = False
        self._sent = self._received = 0
        self._limit = 0
        self._finish = ""
        self._estimated = False
        self.model = models[0]
        self.attempts = 0
        self.tries = 0
        self.used = Used()
        self.history, self.ask = _history(prompt)
        self._said: list[parts.ModelMessage] = []

    @property
    def messages(self) -> bytes:
        """The whole conversation as JSON."""
        return parts.ModelMessagesTypeAdapter.dump_json(self._said or self.history, indent=1)

    @property
    def usage(self) -> dict[str, Any]:
        """What was used so far, for `Job.usage`; empty before the first request."""
        if not self.attempts:
            return {}
        used = self.used
        told: dict[str, Any] = {
            "model": self.model.name,
            "provider": self.model.settings.provider,
            "requests": used.requests,
            "input_tokens": used.input,
            "cached_tokens": used.cached,
            "output_tokens": used.output,
            "tool_calls": self._tools.made,
            "cost": used.usd if used.requests else None,
            "currency": "USD",
            "duration": round(time.monotonic() - self._began, 3),
            "finish": self._finish,
        }
        return told | ({"estimated": True} if self._estimated else {})

    async def run(self) -> str:
        """Return the answer: text, or compact JSON where a schema was given.

        Raises:
            AIFailure: no model gave one.
        """
        for place, model in enumerate(self._models):
            self.model = model
            self.tries = 0
            while True:
                try:
                    return self._result(await self._talk(model))
                except Exception as e:
                    await self._count_unanswered()
                    failure = self._failure(e, model)
                if failure.again and await self._waited(failure, model):
                    continue
                if failure.elsewhere and place + 1 < len(self._models):
                    self._log.line(f"[{failure.text}; {self._models[place + 1].name} takes over]")
                    break
                raise failure
        raise AssertionError  # there is always a model

    async def interrupted(self) -> None:
        """Count what an interrupted request has used, as far as can be told."""
        await self._count_unanswered()

    async def _talk(self, model: Model) -> Any:
        """Ask until there is an answer; return it."""
        agent = self._agent(model)
        asked = await self._serving.asked(model)
        rate = self._serving.rate(model)
        async with agent.iter(
            self.ask, message_history=self.history, model=asked, model_settings=lambda _: self._settings(model)
        ) as run:
            node = run.next_node
            while not isinstance(node, End):
                if not Agent.is_model_request_node(node):
                    node = await run.next(node)
                    continue
                self.history, self.ask = [*run.ctx.state.message_history, node.request], None
                wanted = self._prompt.max_tokens or model.settings.max_tokens
                wanted = min(wanted, model.settings.max_tokens)
                self._sent = estimated(_size(self.history) + len(self._prompt.instructions))
                self._limit = await self._day.answer(wanted, self.used, rate, self._sent)
                async with self._serving.gate(model):
                    self.attempts += 1
                    self._requesting, self._received = True, 0
                    if self._prompt.stream:
                        async with node.stream(run.ctx) as stream:
                            await self._follow(aiter(stream), model)
                    following = await self._answered(run.next(node), model)
                self._said = run.ctx.state.message_history
                if Agent.is_call_tools_node(following):
                    await self._note(following.model_response, model, rate)
                node = following
            assert run.result is not None
            return run.result.output

    async def _answered(self, answer: Awaitable[Any], model: Model) -> Any:
        try:
            async with asyncio.timeout(None if self._prompt.stream else model.settings.timeout):
                return await answer
        except TimeoutError:
            raise self._silent(model) from None

    async def _follow(self, stream: AsyncIterator[Any], model: Model) -> None:
        """Hand what comes on to the log."""
        most = self._limit * MOST_CHARACTERS_A_TOKEN + 1000
        while True:
            try:
                async with asyncio.timeout(model.settings.timeout):
                    event = await anext(stream)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise self._silent(model) from None
            said, size = _said(event)
            self._log.piece(said)
            self._received += size
            if self._received > most:
                endless = f"model {model.name} doesn't come to an end: {self._received:,} characters"
                raise AIFailure("bad_output", endless, elsewhere=True)

    async def _note(self, response: parts.ModelResponse, model: Model, rate: Rate | None) -> None:
        """Count a response, and tell what it asks for that isn't there."""
        usage = response.usage
        sent, came = usage.input_tokens, usage.output_tokens
        if not sent and not came:
            sent, came, self._estimated = self._sent, estimated(self._received), True
        cached = usage.cache_read_tokens
        if model.settings.price is not None or model.is_local:
            cost: float | None = _cost(model, sent, cached, came)
        else:
            cost = None if usage.cost is None else float(usage.cost) * 1e6
            if cost is None and rate is not None:
                cost = sent * rate.input + came * rate.output
        self._requesting = False
        self.tries = 0
        self._finish = response.finish_reason or ""
        await self._add(model, sent, cached, came, cost, len(response.tool_calls))
        self._log.flush()
        for call in response.tool_calls:
            if call.tool_name not in self._tools.tools and call.tool_name != "final_result":
                self._tools.tell_refused(call.tool_name)
        if self._finish == "content_filter":
            raise AIFailure("content_filter", f"model {model.name}: the provider's filter stopped the answer")
        if self._finish == "length":
            self._log.line(f"[the answer was cut at {self._limit:,} tokens; max_tokens and the budget allow no more]")

    async def _add(self, model: Model, sent: int, cached: int, came: int, cost: float | None, tools: int = 0) -> None:
        added = Used(
            jobs=int(not self.used.jobs),
            requests=1,
            input=sent,
            cached=cached,
            output=came,
            tools=tools,
            cost=round(cost or 0),
            unpriced=int(cost is None),
        )
        self.used = self.used.plus(added)
        await self._day.count(model, added)

    async def _count_unanswered(self) -> None:
        """Count a request that was given up, by what was sent and came."""
        self._log.flush()
        if self._requesting:
            self._requesting = False
            if self._received:  # what was refused at once costs nothing
                self._estimated = True
                came = estimated(self._received)
                rate = self._serving.rate(self.model)
                cost = None if rate is None else self._sent * rate.input + came * rate.output
                await self._add(self.model, self._sent, 0, came, cost)
        await self._day.give_back()

    def _failure(self, error: Exception, model: Model) -> AIFailure:
        if isinstance(error, UnexpectedModelBehavior):
            if "maximum output retries" in error.message:
                faults = "; ".join(self._faults) or "it is no JSON, or empty"
                text = f"model {model.name} gave no answer that fits, in {REPAIRS + 1} tries: {faults}"
                return AIFailure("bad_output", text, elsewhere=True, more={"faults": self._faults})
            if "exceeded max retries count" in error.message:
                problem = self._tools.last_error or "the model asks for tools that the job doesn't have"
                return AIFailure("tool_failed", f"model {model.name} failed too often at calling tools: {problem}")
        return translate(error, model)

    async def _waited(self, failure: AIFailure, model: Model) -> bool:
        """Wait before the request is sent again; return False if it shan't be."""
        self.tries += 1
        if self.tries > model.settings.retries:
            return False
        pause = failure.wait if failure.wait is not None else min(FIRST_PAUSE * 2 ** (self.tries - 1), LONGEST_PAUSE)
        left = self._deadline - time.monotonic()
        if pause > left:
            failure.text += f"; it asks to wait {pause:g} s, the job has {max(left, 0):.0f} s left"
            return False
        self._log.line(f"[{failure.text}; again in {pause:g} s ({self.tries} of {model.settings.retries})]")
        await asyncio.sleep(pause)
        return True

    def _silent(self, model: Model) -> AIFailure:
        return AIFailure("timeout", f"model {model.name} was silent for {model.settings.timeout:g} s", again=True)

    def _agent(self, model: Model) -> Agent[None, Any]:
        prompt = self._prompt
        output: Any = str
        if self._schema is not None:
            wanted = StructuredDict(self._schema, name="answer")
            kinds = {"native": NativeOutput, "tool": ToolOutput, "prompt": PromptedOutput}
            output = kinds[model.settings.output](wanted)
        agent: Agent[None, Any] = Agent(
            output_type=output,
            instructions=prompt.instructions or None,
            tools=[self._agent_tool(name) for name in self._tools.tools],
            retries={"tools": TOOL_RETRIES, "output": REPAIRS},
        )
        if self._schema is not None:
            agent.output_validator(self._checked)
        return agent

    def _agent_tool(self, name: str) -> AgentTool[None]:
        tool = self._tools.tools[name]

        async def call(**arguments: Any) -> str:
            try:
                return await self._tools.call(name, arguments)
            except ToolError as e:
                raise ModelRetry(str(e)) from None

        return AgentTool.from_schema(call, name, tool.description, tool.schema)

    def _settings(self, model: Model) -> Any:
        """Return the settings of the next request."""
        prompt = self._prompt
        given = {"temperature": prompt.temperature, "seed": prompt.seed, "max_tokens": self._limit}
        named = {name: value for name, value in given.items() if value is not None}
        return named | {"max_retries": 0, "timeout": model.settings.timeout}

    async def _checked(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Return an answer that fits the schema; one that doesn't goes back with its faults."""
        import jsonschema_rs

        if self._check is None:
            assert self._schema is not None
            self._check = jsonschema_rs.validator_for(self._schema, retriever=refuse)
        self._faults = []
        for error in self._check.iter_errors(answer):
            self._faults.append(faults_of(error))
            if len(self._faults) == FAULTS_SHOWN:
                break
        if self._faults:
            self._log.line(f"[the answer doesn't fit the schema: {'; '.join(self._faults)}]")
            raise ModelRetry("The answer doesn't fit the schema: " + "; ".join(self._faults))
        return answer

    def _result(self, answer: Any) -> str:
        if isinstance(answer, str):
            return answer
        return msgspec.json.encode(answer["value"] if self._is_wrapped else answer, enc_hook=str).decode()


def _said(event: Any) -> tuple[str, int]:
    """Return what an event of a stream adds to the answer's text, and how many characters came, of whatever kind."""
    if isinstance(event, parts.PartStartEvent):
        if isinstance(event.part, parts.TextPart):
            return event.part.content, len(event.part.content)
        return "", len(str(getattr(event.part, "content", "") or getattr(event.part, "args", "") or ""))
    if isinstance(event, parts.PartDeltaEvent):
        if isinstance(event.delta, parts.TextPartDelta):
            return event.delta.content_delta, len(event.delta.content_delta)
        return "", len(str(getattr(event.delta, "content_delta", "") or getattr(event.delta, "args_delta", "") or ""))
    return "", 0


def _object_schema(schema: dict[str, Any] | None) -> tuple[dict[str, Any] | None, bool]:
    """Return the schema that is sent, an object's as providers want it, and whether the answer is wrapped in one."""
    if schema is None or schema.get("type") == "object":
        return schema, False
    inner = {name: value for name, value in schema.items() if name not in ("$defs", "definitions", "$schema")}
    wrapped: dict[str, Any] = {"type": "object", "properties": {"value": inner}, "required": ["value"]}
    return wrapped | {name: schema[name] for name in ("$defs", "definitions") if name in schema}, True


def _history(prompt: Prompt) -> tuple[list[parts.ModelMessage], str | None]:
    """Return the conversation so far and what is asked now."""
    if not prompt.messages:
        return [], prompt.prompt
    history: list[parts.ModelMessage] = []
    for each in prompt.messages[:-1]:
        if each.role == "user":
            history.append(parts.ModelRequest(parts=[parts.UserPromptPart(each.content)]))
        elif each.role == "assistant":
            history.append(parts.ModelResponse(parts=[parts.TextPart(each.content)]))
    return history, prompt.messages[-1].content


def _size(history: list[parts.ModelMessage]) -> int:
    """Return about how many characters a conversation has."""
    return sum(len(str(getattr(part, "content", "") or getattr(part, "args", ""))) for m in history for part in m.parts)


def _cost(model: Model, sent: int, cached: int, came: int) -> float:
    """Return what a request cost by the settings, in millionths of a USD."""
    price = model.settings.price
    if price is None:
        return 0.0
    cached_price = price.input if price.cached is None else price.cached
    return (sent - cached) * price.input + cached * cached_price + came * price.output
