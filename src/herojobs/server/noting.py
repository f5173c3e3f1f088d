"""What the audit log gets to know of a call: who, which method, which circle and job, how it went; no content."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from herojobs.errors import HeroJobsError
from herojobs.job import Job
from herojobs.jsonrpc import Method, RpcError
from herojobs.jsonrpc.codes import MESSAGES
from herojobs.names import Ref, queue_name_fix
from herojobs.server.caller import Caller
from herojobs.server.shapes import Session
from herojobs.sessions.audit import OK


def note(method: Method, caller: Caller, arguments: dict[str, Any], result: Any, error: RpcError | None) -> None:
    """Note a call of a method that changes something. Calls of nobody aren't noted, or anybody could fill the disk."""
    session = caller.session
    if not method.changes or session is None:
        return
    outcome = OK if error is None else f"{error.code} {MESSAGES.get(error.code, '')}".strip()
    audit = caller.backend.audit
    told = False
    for circle, ref in _concerned(arguments, result):
        audit.note(session, method.name, circle=circle, ref=ref, outcome=outcome)
        told = True
    if not told:
        circle = queue_name_fix(str(arguments.get("circle_id") or ""))
        topic = queue_name_fix(str(arguments.get("topic") or ""))
        about = f"{circle}/{topic}" if circle and topic else str(arguments.get("name", ""))
        if isinstance(result, Session):
            about = result.id
        audit.note(session, method.name, circle=circle, ref=about, outcome=outcome)


def _concerned(arguments: dict[str, Any], result: Any) -> Iterator[tuple[str, str]]:
    """Yield circle and reference of each job that a call concerned."""
    if (ref := arguments.get("ref")) is not None:  # text, if the call was refused before it was looked at
        with contextlib.suppress(HeroJobsError):
            parsed = ref if isinstance(ref, Ref) else Ref.parse(ref)
            yield parsed.queue.circle, str(parsed)
        return
    jobs = [result] if isinstance(result, Job) else result if isinstance(result, list) else []
    for job in jobs:
        job = getattr(job, "job", job)  # what worker.claim gives
        if isinstance(job, Job) and job.job_id:
            yield job.queue.circle, str(job.ref)
    for held in (*arguments.get("results", ()), *arguments.get("leases", ())):
        with contextlib.suppress(HeroJobsError):  # it isn't one, which the caller was told
            parsed = Ref.parse(held.ref)
            yield parsed.queue.circle, str(parsed)
