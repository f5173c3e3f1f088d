"""Our own API for jobs: the methods of the server that look after jobs, for the circle of the job that calls.

Names, parameters and results are those of the server (docs/server.md).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from herojobs.errors import (
    Forbidden,
    HeroJobsError,
    InvalidJob,
    InvalidReference,
    JobConflict,
    JobNotFound,
    RedisUnavailable,
    RpcError,
    Unauthorized,
    WaitTimeout,
)
from herojobs.job import DEFAULT_MAX_ATTEMPTS, Job
from herojobs.jsonrpc.codes import Code
from herojobs.jsonrpc.methods import Methods
from herojobs.names import Queue, Ref
from herojobs.processors.reach import check_circle, check_manages
from herojobs.settings import Settings

if TYPE_CHECKING:
    from herojobs.client import AsyncHeroJobs

API = Methods()

_CODES: dict[type[HeroJobsError], Code] = {
    JobNotFound: Code.JOB_NOT_FOUND,
    JobConflict: Code.JOB_CONFLICT,
    WaitTimeout: Code.WAIT_TIMEOUT,
    RedisUnavailable: Code.UNAVAILABLE,
    InvalidJob: Code.INVALID_PARAMS,
    InvalidReference: Code.INVALID_PARAMS,
    Forbidden: Code.FORBIDDEN,
    Unauthorized: Code.UNAUTHORIZED,
}


class Client:
    """The clients of event loops, each opened when a job of the loop first asks for it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._heroes: dict[asyncio.AbstractEventLoop, AsyncHeroJobs] = {}

    def here(self) -> AsyncHeroJobs:
        """Return the running loop's client."""
        loop = asyncio.get_running_loop()
        hero = self._heroes.get(loop)
        if hero is None:
            from herojobs.client import AsyncHeroJobs  # here: few jobs need one, and it takes a while to import

            hero = self._heroes[loop] = AsyncHeroJobs(settings=self._settings)
        return hero

    def close(self) -> None:
        """Close the clients of loops that aren't running."""
        for loop, hero in self._heroes.items():
            if not loop.is_closed():
                loop.run_until_complete(hero.close())
        self._heroes.clear()


@dataclass(frozen=True, slots=True)
class ApiCall:
    """Who calls, and by which client.

    Attributes:
        job: the job that calls.
        ref: its reference.
        circle: its circle, name fixed.
        hero: the client.
        settings: the settings in force.
    """

    job: Job
    ref: str
    circle: str
    hero: AsyncHeroJobs
    settings: Settings

    async def call(self, method: str, params: bytes | None) -> bytes:
        """Call a method and return its result as JSON.

        Raises:
            RpcError: it failed, with the code that the server would give.
        """
        found = API.find(method)
        values = found.bind(params)
        try:
            return msgspec.json.encode(await found.function(self, **values))
        except HeroJobsError as e:
            code = next((code for kind, code in _CODES.items() if isinstance(e, kind)), Code.INTERNAL_ERROR)
            raise e if isinstance(e, RpcError) else RpcError(code, str(e)) from None

    def queue(self, circle_id: str, topic: str = "") -> Queue:
        """Return a queue that the job may touch; circle and topic default to its own."""
        own = Ref.parse(self.ref).queue
        queue = Queue.of(circle_id or own.circle, topic or own.topic)
        check_circle(self.ref, queue.circle, self.settings)
        return queue

    def named(self, ref: str) -> Ref:
        """Return the reference of a job that the job may touch."""
        parsed = Ref.parse(ref)
        self.queue(*parsed.queue)
        return parsed

    async def managed(self, ref: str) -> Ref:
        """Return the reference of a job that the job may cancel, retry and delete: its own children, too."""
        parsed = self.named(ref)
        if self.job.session_key and (await self.hero.get(parsed)).parent != self.ref:
            await asyncio.to_thread(check_manages, self.job, parsed.queue.circle, self.settings)
        return parsed


@API.method("job.submit", takes_context=True)
async def submit(
    call: ApiCall,
    params: str,
    params_type: str = "heroscript",
    circle_id: str = "",
    topic: str = "",
    timeout: int = 0,
    run_at: int | datetime | None = None,
    max_attempts: int | None = None,
) -> dict[str, Any]:
    """Submit a job, which records the calling one as its parent."""
    queue = call.queue(circle_id, topic)
    job = Job(
        params=params,
        params_type=params_type,
        circle_id=queue.circle,
        topic=queue.topic,
        timeout=timeout,
        time_scheduled=int(run_at.timestamp()) if isinstance(run_at, datetime) else run_at or 0,
        max_attempts=DEFAULT_MAX_ATTEMPTS if max_attempts is None else max_attempts,
        parent=call.ref,
        session_key=call.job.session_key,
    )
    return shown((await call.hero.submit_many([job]))[0])


@API.method("job.get", takes_context=True)
async def get(call: ApiCall, ref: str) -> dict[str, Any]:
    """Return a job."""
    return shown(await call.hero.get(call.named(ref)))


@API.method("job.list", takes_context=True)
async def list_jobs(
    call: ApiCall,
    circle_id: str = "",
    topic: str = "",
    status: str | None = None,
    params_type: str | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> dict[str, Any]:
    """Return jobs, the newest first, and a cursor for the next page."""
    queue = call.queue(circle_id, topic)
    found = await call.hero.find(
        circle_id=queue.circle, topic=topic or None, status=status, kind=params_type, limit=limit, before=cursor
    )
    return {"jobs": [shown(job) for job in found.jobs], "cursor": found.cursor}


@API.method("job.wait", takes_context=True)
async def wait(call: ApiCall, ref: str, timeout: float = 30.0) -> dict[str, Any]:
    """Return a job once it is over."""
    return shown(await call.hero.wait(call.named(ref), timeout))


@API.method("job.cancel", takes_context=True)
async def cancel(call: ApiCall, ref: str) -> dict[str, Any]:
    """Cancel a job."""
    return shown(await call.hero.cancel(await call.managed(ref)))


@API.method("job.retry", takes_context=True)
async def retry(call: ApiCall, ref: str) -> dict[str, Any]:
    """Queue a job again that is over."""
    return shown(await call.hero.retry(await call.managed(ref)))


@API.method("job.delete", takes_context=True)
async def delete(call: ApiCall, ref: str) -> bool:
    """Remove a job for good."""
    await call.hero.delete(await call.managed(ref))
    return True


@API.method("job.history", takes_context=True)
async def history(call: ApiCall, ref: str) -> list[dict[str, Any]]:
    """Return all versions of a job, the oldest first."""
    return [shown(job) for job in await call.hero.history(call.named(ref))]


@API.method("queue.list", takes_context=True)
async def queues(call: ApiCall, circle_id: str = "") -> list[dict[str, Any]]:
    """Return the queues of a circle, and how many jobs are where."""
    found = await call.hero.queues(call.queue(circle_id).circle)
    return [
        {"circle_id": q.circle, "topic": q.topic, "waiting": q.waiting, "scheduled": q.scheduled, "active": q.active}
        for q in found
    ]


@API.method("queue.size", takes_context=True)
async def size(call: ApiCall, circle_id: str = "", topic: str = "") -> int:
    """Return how many jobs wait in a queue."""
    queue = call.queue(circle_id, topic)
    return sum(each.waiting for each in await call.hero.queues(queue.circle) if each.topic == queue.topic)


@API.method("queue.empty", takes_context=True)
async def empty(call: ApiCall, circle_id: str = "", topic: str = "") -> int:
    """Remove all waiting jobs of a queue; return their number."""
    queue = call.queue(circle_id, topic)
    await asyncio.to_thread(check_manages, call.job, queue.circle, call.settings)
    return await call.hero.empty(queue.circle, queue.topic)


def shown(job: Job) -> dict[str, Any]:
    """Return a job as programs see it: its session key is masked."""
    fields: dict[str, Any] = msgspec.to_builtins(job.masked())
    return fields
