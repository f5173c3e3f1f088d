"""One run of a job in a worker: what its exceptions mean."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from typing import Any

import msgspec

from herojobs.frames import Message, Over
from herojobs.job import Job
from herojobs.processors.base import JobFailed, JobInterrupted
from herojobs.settings import Settings

DETAIL_LEVELS = 50
"""Most levels of nesting in `Job.error_detail`."""
SHORT_TEXT = 1000
"""Most characters of a text that is kept of a detail which is too large."""


def over(number: int, result: object, took: int, settings: Settings) -> Over:
    """Return the message for a run that returned `result` after `took` microseconds."""
    if not isinstance(result, str):
        return Over(number, "failed", f"the processor returned {type(result).__name__}, not text", "", took)
    result = clean(str.__str__(result))  # frames carry text itself, no class derived from it
    if len(result) * 4 > settings.max_result:
        size = len(result.encode("utf-8", "replace"))
        if size > settings.max_result:
            limit = settings.max_result
            error = f"the result has {size:,} bytes, the limit (setting max_result) is {limit:,}"
            return Over(number, "failed", error, "", took)
    return Over(number, "done", result, "", took)


def over_by(number: int, job: Job, error: BaseException, took: int, settings: Settings) -> Over:
    """Return the message for a run that ended with an exception, whatever it is."""
    limit = settings.max_result // 4
    if isinstance(error, JobInterrupted) and error.why in ("timeout", "cancel"):
        return Over(number, "interrupted", error.why, "", took)
    try:
        out_of_memory = isinstance(error, MemoryError) or isinstance(error.__cause__, MemoryError)
        if not out_of_memory and not isinstance(error, JobFailed):
            return Over(number, "failed", clean(describe(error)[:limit]), "", took)
        partial, detail = "", b""
        if isinstance(error, JobFailed):
            partial, detail = str(error.partial)[:limit], detail_json(error.detail, limit)
        how = "oom" if out_of_memory else "failed"
        return Over(number, how, clean(str(error)[:limit]), clean(partial), took, detail)
    except Exception as e:
        name = type(error).__name__
        return Over(number, "failed", clean(f"{name}, whose text can't be had ({type(e).__name__})"), "", took)


def detail_json(detail: Mapping[str, Any] | None, limit: int) -> bytes:
    """Return the JSON of an error's detail, empty for none.

    Of one that can't be kept the numbers and short texts remain, and `dropped` says why.
    """
    if not detail:
        return b""
    try:
        data = msgspec.json.encode(dict(detail), enc_hook=str)
        why = f"the detail had {len(data):,} bytes, the limit is {limit:,}" if len(data) > limit else ""
        why = why or ("" if _levels_fit(detail, DETAIL_LEVELS) else f"it was nested over {DETAIL_LEVELS} levels deep")
    except Exception as e:
        why = f"it can't be written as JSON: {type(e).__name__}"
    if not why:
        return data
    kept = {
        str(name): clean(value) if isinstance(value, str) else value
        for name, value in detail.items()
        if isinstance(value, int | float) or (isinstance(value, str) and len(value) <= SHORT_TEXT)
    }
    return msgspec.json.encode({**kept, "dropped": clean(why)})


def _levels_fit(value: object, levels: int) -> bool:
    """Return whether a value is nested so little that whoever reads the job can read it too."""
    children = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return levels > 0 and all(_levels_fit(child, levels - 1) for child in children)


def clean(text: str) -> str:
    """Return text as UTF-8 can carry it: lone surrogates become `?`."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def describe(error: BaseException) -> str:
    """Return an exception of a job's content as one line: its class, text and the place in the user's code."""
    text = "".join(traceback.format_exception_only(error)).strip()
    frames = traceback.extract_tb(error.__traceback__)
    outside = [frame for frame in frames if "/herojobs/" not in frame.filename.replace("\\", "/")]
    if not outside:
        return text
    last = outside[-1]
    return f"{text} ({last.filename}:{last.lineno}, in {last.name})"


def with_usage(message: Message, usage: Mapping[str, Any]) -> Message:
    """Add to a run's last message what it used."""
    if usage and isinstance(message, Over):
        message.usage = msgspec.json.encode(usage)
    return message


def micros_since(began: int) -> int:
    """Return the microseconds since `time.perf_counter_ns()` gave `began`."""
    return (time.perf_counter_ns() - began) // 1000
