"""Blocking code beside an event loop, and asynchronous code where there is none: a timeout or cancel reaches both."""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from herojobs.processors.base import JobContext, JobInterrupted

T = TypeVar("T")


LOOK = 0.05
"""Seconds between two looks whether a job must end."""


def in_passing(made: Coroutine[Any, Any, T], context: JobContext) -> T:
    """Run a coroutine in this thread, which has no event loop; it is cancelled when the job is asked to end."""

    async def run() -> T:
        task = asyncio.create_task(made)
        while not (await asyncio.wait([task], timeout=LOOK))[0]:
            if context.cancelled:
                task.cancel()
        return task.result()

    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        raise JobInterrupted(context.interrupted_by or "cancel") from None


class _Ended(JobInterrupted):
    """Raised in the thread; an exception that is raised from outside gets no arguments."""

    def __init__(self) -> None:
        super().__init__("cancel")


async def in_thread(function: Callable[[], T]) -> T:
    """Run a function in a thread of its own and return what it returns.

    When the task is cancelled, the function is interrupted by an exception, and the task goes on only once it has
    ended. One that doesn't end, in a C call say, thus holds the job, until its worker is killed after the grace period.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: T | None, error: BaseException | None) -> None:
        if outcome.done():
            return
        if error is None:
            outcome.set_result(result)  # type: ignore[arg-type]  # None only where there is an error
        else:
            outcome.set_exception(error)

    def run() -> None:
        try:
            result = context.run(function)
        except _Ended:
            loop.call_soon_threadsafe(settle, None, asyncio.CancelledError())
        except BaseException as e:
            error = e if isinstance(e, Exception) else RuntimeError(f"it ended by {type(e).__name__}")
            loop.call_soon_threadsafe(settle, None, error)
        else:
            loop.call_soon_threadsafe(settle, result, None)

    thread = threading.Thread(target=run, name="herojobs-tool", daemon=True)
    thread.start()
    try:
        return await asyncio.shield(outcome)
    except asyncio.CancelledError:
        if thread.is_alive() and thread.ident is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(_Ended))
        await asyncio.wait([outcome])
        outcome.cancelled() or outcome.exception()
        raise
