"""Jobs of kind `ai`: a prompt for a model (docs/ai.md)."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import msgspec

from herojobs.ai import models, prompt
from herojobs.ai.answer_log import AnswerLog
from herojobs.ai.budget import Budget
from herojobs.ai.day import Day
from herojobs.ai.failures import AIFailure
from herojobs.ai.local import INSTALL
from herojobs.ai.tools import ToolCalls, allowed
from herojobs.errors import HeroJobsError
from herojobs.job import Job
from herojobs.names import Ref, queue_name_fix
from herojobs.processors.ai_tools import JobTools
from herojobs.processors.base import JobContext, JobFailed
from herojobs.processors.threads import in_passing
from herojobs.settings import Settings
from herojobs.store import JobStore

if TYPE_CHECKING:
    from herojobs.ai.conversation import Conversation
    from herojobs.ai.serving import LoopServing

COUNT_WITHIN = 0.2
"""Seconds that an interrupted job has to count what it used."""


class AIProcessor:
    """Runs prompts; everything that pydantic-ai needs is imported at the first one, in a thread."""

    concurrent = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._serving: WeakKeyDictionary[asyncio.AbstractEventLoop, LoopServing] = WeakKeyDictionary()
        self._tools = JobTools(settings)

    def is_concurrent(self, job: Job) -> bool:
        """Return True: it waits for models on the event loop."""
        return True

    def run(self, job: Job, context: JobContext) -> str:
        """Run a prompt on an event loop of its own."""
        return asyncio.run(self.run_async(job, context))

    def answer(self, params: str, job: Job, context: JobContext) -> str:
        """Run a prompt as part of a job of another kind, in its thread; it ends when that job is asked to end."""
        return in_passing(self.run_async(msgspec.structs.replace(job, params=params), context), context)

    async def run_async(self, job: Job, context: JobContext) -> str:
        """Run a prompt and return the answer."""
        state = _State()
        try:
            return await self._run(job, context, state)
        except AIFailure as e:
            talk = state.talk
            model = talk.model if talk is not None else state.model
            detail: dict[str, Any] = {
                "kind": e.kind,
                "provider": model.settings.provider if model else "",
                "model": model.name if model else "",
                "status": e.status,
                "attempts": talk.attempts if talk is not None else 0,
            }
            shown = state.hide(msgspec.json.encode(detail | e.more, enc_hook=str).decode())
            raise JobFailed(state.hide(e.text), detail=msgspec.json.decode(shown)) from None
        finally:
            if state.talk is not None:
                context.usage = _sum(context.usage, state.talk.usage)
                if self._settings.ai.keep_messages:
                    self._keep_messages(state.talk, state.hide, context)

    async def _run(self, job: Job, context: JobContext, state: _State) -> str:
        circle = queue_name_fix(job.circle_id)
        ai = self._settings.ai
        asked = prompt.parse(job.params)
        chosen = models.choose(ai, circle, asked.model)
        state.model = chosen[0]
        budget = Budget(asked, ai, circle)
        tools = []
        if asked.tools:
            if not ai.local.weights:  # whoever runs weights of their own knows what these can do
                chosen = [each for each in chosen if not each.is_local]
            if not chosen:
                raise AIFailure("invalid_params", "tools: the local model knows none; name another model")
            tools = allowed(ai, circle, asked.tools, await self._tools.all(job, context))
        results = {
            ref: await asyncio.to_thread(self._result_of, ref, context) for ref in dict.fromkeys(asked.references)
        }
        asked = asked.filled(results.__getitem__)
        conversation, serving = await self._loaded()
        state.hide = serving.mask.hide
        log = AnswerLog(context.stream, serving.mask)
        seconds = float(job.timeout or self._settings.default_timeout)
        day = Day(serving, circle, budget, seconds, log.line)
        calls = ToolCalls(tools, log, serving.mask.hide)
        talk = state.talk = conversation(asked, chosen, day, calls, log, serving, seconds)
        try:
            answer = serving.mask.hide(await talk.run())
        except asyncio.CancelledError:
            try:
                async with asyncio.timeout(COUNT_WITHIN):
                    await talk.interrupted()
            except (TimeoutError, AIFailure):
                pass  # Redis is away: the job's own field has it
            raise
        finally:
            log.flush()
        return answer

    def _keep_messages(self, talk: Conversation, hide: Callable[[str], str], context: JobContext) -> None:
        ref = Ref.parse(context.ref)
        path = JobStore(self._settings).messages_path(ref.queue, ref.id)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(hide(talk.messages.decode()), "utf-8")
        except OSError as e:  # the answer is worth more than its history
            context.log(f"[the conversation can't be kept: {e}]")

    def _result_of(self, text: str, context: JobContext) -> str:
        """Return the result of another job, for a prompt."""
        try:
            ref = Ref.parse(text)
            own = Ref.parse(context.ref).queue
            if ref.queue.circle != own.circle and own.circle not in self._settings.cross_circle:
                raise AIFailure("invalid_params", f"{{{{ job:{text} }}}}: a job of circle {own.circle} may not read it")
            job = self._tools.client().get(ref)
        except HeroJobsError as e:
            raise AIFailure("invalid_params", f"{{{{ job:{text} }}}}: {e}") from None
        if job.status != "done":
            raise AIFailure(
                "invalid_params", f"{{{{ job:{text} }}}}: it has no result, it is {job.explain_end() or job.status}"
            )
        return job.result

    async def _loaded(self) -> tuple[Callable[..., Conversation], LoopServing]:
        """Return what pydantic-ai is needed for; import it if this is the first time."""
        try:
            conversation, serving = await asyncio.to_thread(_import)
        except ModuleNotFoundError as e:
            raise AIFailure(
                "not_configured", f"AI jobs need the package {e.name}, which isn't here: run `{INSTALL}`"
            ) from None
        loop = asyncio.get_running_loop()
        if loop not in self._serving:
            made = self._serving[loop] = serving(self._settings)
            # Not the job's: it lives as long as the loop, and closes the connections at its end.
            contextvars.Context().run(self._keep, loop, made)
        return conversation, self._serving[loop]

    def _keep(self, loop: asyncio.AbstractEventLoop, serving: LoopServing) -> None:
        async def until_the_end() -> None:
            try:
                await loop.create_future()
            finally:
                await self._tools.close()
                await serving.close()

        _KEEPERS.add(loop.create_task(until_the_end(), name="herojobs-ai"))


def _sum(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Return what a job used that asks models more than once."""
    if not before or not now:
        return before or now
    total = before | now
    for name in ("requests", "input_tokens", "cached_tokens", "output_tokens", "tool_calls", "duration"):
        total[name] = round(before[name] + now[name], 3)
    if before["cost"] is not None and now["cost"] is not None:
        total["cost"] = before["cost"] + now["cost"]
    else:
        total["cost"] = None
    return total


class _State:
    """How far a job has come."""

    def __init__(self) -> None:
        self.model: models.Model | None = None
        self.talk: Conversation | None = None
        self.hide: Callable[[str], str] = str


def _import() -> tuple[Callable[..., Conversation], Callable[[Settings], LoopServing]]:
    from herojobs.ai.conversation import Conversation
    from herojobs.ai.serving import LoopServing, warm_up

    if not _WARM.is_set():
        warm_up()
        _WARM.set()
    return Conversation, LoopServing


_WARM = threading.Event()
"""pydantic-ai is imported and has run once."""

_KEEPERS: set[asyncio.Task[None]] = set()
"""The event loop itself holds its tasks weakly."""
