"""Jobs of kind `openrpc`: calls of OpenRPC methods, of services or of this process (docs/openrpc.md)."""

from __future__ import annotations

import asyncio
import importlib
import sys
import time
from typing import TYPE_CHECKING, Any

import msgspec

from herojobs.errors import HeroJobsError, RpcError
from herojobs.job import Job
from herojobs.names import queue_name_fix
from herojobs.openrpc.plan import Plan, read_plan
from herojobs.processors.base import JobContext, JobFailed
from herojobs.processors.openrpc_local import JobCallContext, LocalMethods
from herojobs.settings import Settings

if TYPE_CHECKING:
    from herojobs.openrpc.caller import Answered, Caller

LONGEST_MESSAGE = 1000
"""Most characters of a service's message in an error's detail."""

_CALLER = "herojobs.openrpc.caller"


class OpenRpcProcessor:
    """Makes the calls that a job's params ask for."""

    concurrent = None  # but for plain Python functions, which run alone in an exclusive worker

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # Named modules are loaded now, so that one that doesn't import shows at the worker's start.
        self._local = LocalMethods(settings) if settings.openrpc_methods else None
        self._callers: dict[asyncio.AbstractEventLoop, Caller] = {}
        self._runner: asyncio.Runner | None = None

    def is_concurrent(self, job: Job) -> bool:
        """Return whether nothing that the job calls blocks the event loop."""
        plan = _plan(job)
        circle = queue_name_fix(job.circle_id)
        here = [call.method for call in plan.calls if not call.service and not plan.url]
        return not here or all(self._methods().is_async(method, circle) for method in here)

    def run(self, job: Job, context: JobContext) -> str:
        """Make the calls in this thread."""
        if self._runner is None:
            self._runner = asyncio.Runner()
        try:
            return self._runner.run(self.run_async(job, context))
        except Exception:
            raise
        except BaseException:  # interrupted: what is still under way in the loop must not go on at the next job
            runner, self._runner = self._runner, None
            self._callers.pop(runner.get_loop(), None)
            runner.close()
            raise

    async def run_async(self, job: Job, context: JobContext) -> str:
        """Make the calls on the event loop."""
        plan = _plan(job)
        deadline = time.monotonic() + (job.timeout or self._settings.default_timeout)
        circle = context.ref.partition("/")[0]
        call_context = JobCallContext(context.ref, circle, context.log, deadline, job=job, job_context=context)
        if _CALLER not in sys.modules:  # HTTP and schemas take too long to import for an event loop
            await asyncio.to_thread(importlib.import_module, _CALLER)
        answered = await self._caller_here().run(plan, call_context)
        failed = [place for place, each in enumerate(answered) if each.error is not None]
        if failed and not plan.keep:
            raise _failure(plan, answered, failed, context.ref)
        return _result(plan, answered, context.ref)

    def close(self) -> None:
        """Close the connections of loops that aren't running."""
        for loop, caller in self._callers.items():
            if not loop.is_closed():
                loop.run_until_complete(caller.close())
        self._callers.clear()
        if self._local is not None:
            self._local.close()
        if self._runner is not None:
            self._runner.close()

    def _methods(self) -> LocalMethods:
        if self._local is None:
            try:
                self._local = LocalMethods(self._settings)
            except HeroJobsError as e:
                raise JobFailed(str(e)) from None
        return self._local

    def _caller_here(self) -> Caller:
        """Return the caller of the running loop; connections belong to the loop that opened them."""
        from herojobs.openrpc.caller import Caller

        loop = asyncio.get_running_loop()
        caller = self._callers.get(loop)
        if caller is None:
            try:
                caller = self._callers[loop] = Caller(self._settings, self._methods())
            except HeroJobsError as e:
                raise JobFailed(str(e)) from None
        return caller


def _plan(job: Job) -> Plan:
    try:
        return read_plan(job.params)
    except RpcError as e:
        raise JobFailed(str(e), detail=_detail(e)) from None


def _failure(plan: Plan, answered: list[Answered], failed: list[int], ref: str) -> JobFailed:
    """Return the failure of a job whose calls didn't all go well."""
    first = answered[failed[0]]
    assert first.error is not None
    detail = _detail(first.error) | {
        "service": plan.url or first.call.service,
        "method": first.call.method,
        "attempts": first.attempts,
    }
    if not plan.is_batch:
        return JobFailed(str(first.error), detail=detail)
    numbers = [answered[place].number for place in failed]
    detail["failed"] = numbers
    sent = any(each.attempts for each in answered)
    told = f"{len(failed)} of {len(plan.calls)} calls " + ("failed" if sent else "are wrong, none was sent")
    error = f"{told}; call {numbers[0]}, {first.call.method}: {first.error}"
    return JobFailed(error, _result(plan, answered, ref) if sent else "", detail)


def _detail(error: RpcError) -> dict[str, Any]:
    message = error.message if len(error.message) <= LONGEST_MESSAGE else error.message[:LONGEST_MESSAGE] + "..."
    detail: dict[str, Any] = {"code": int(error.code), "message": message}
    return detail if error.data is None else detail | {"data": error.data}


def _result(plan: Plan, answered: list[Answered], ref: str) -> str:
    """Return the text of a result: a string as it is, all else as JSON; of a batch the array of its answers."""
    if plan.notify:
        return ""
    if plan.is_batch:
        return f"[{','.join(_answer(each, f'{ref}#{place}') for place, each in enumerate(answered, 1))}]"
    (only,) = answered
    if only.error is not None:
        return _answer(only, f"{ref}#1")
    if only.result.startswith(b'"'):
        try:
            return msgspec.json.decode(only.result, type=str)
        except msgspec.DecodeError:  # an escape that is no character
            pass
    return msgspec.json.format(only.result, indent=-1).decode()


def _answer(answered: Answered, id: str) -> str:
    """Return what became of a call as a JSON-RPC answer, with the id that the job gave."""
    given = answered.call.id.decode() if answered.call.id is not None else msgspec.json.encode(id).decode()
    if answered.error is not None:
        return f'{{"jsonrpc":"2.0","error":{msgspec.json.encode(_detail(answered.error)).decode()},"id":{given}}}'
    return f'{{"jsonrpc":"2.0","result":{msgspec.json.format(answered.result, indent=-1).decode()},"id":{given}}}'
