"""The asynchronous client: what the synchronous one has, as coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from herojobs.client.core import Core, QueueInfo
from herojobs.client.given import AnyRef, new_job
from herojobs.client.open import Opened, Remote, is_remote, settings_for
from herojobs.client.prune import Pruned
from herojobs.client.together import Together
from herojobs.job import After, Job
from herojobs.limits import Limit
from herojobs.live.admin import Progress
from herojobs.live.connect import connect_async
from herojobs.names import Ref
from herojobs.settings import Settings
from herojobs.store import Found

if TYPE_CHECKING:
    from herojobs.client.remote import RemoteCore
    from herojobs.client.schedules import AsyncSchedules
    from herojobs.client.services import AsyncClientServices
    from herojobs.client.sessions import AsyncClientSessions

list_ = list
"""The built-in name, which the method `list` hides."""


class AsyncHeroJobs:
    """Submits jobs and looks after them, on an event loop.

        async with AsyncHeroJobs() as hero:
            job = await hero.submit("!!fake.return_success message:'hello'", circle_id="demo")
            print((await hero.wait(job, timeout=10)).result)

    Arguments, results and errors are those of `HeroJobs`, method for method. For one event loop.
    """

    def __init__(
        self, url: str | None = None, *, session_key: str = "", settings: Settings | None = None, **overrides: Any
    ) -> None:
        self.settings = settings_for(url, settings, overrides)
        self._session_key = session_key
        self._url = url
        self._opened: Opened | Remote | None = None
        self._schedules: AsyncSchedules | None = None
        self._sessions: AsyncClientSessions | None = None
        self._services: AsyncClientServices | None = None
        self._opening = asyncio.Lock()
        self._together: Together | None = None

    async def submit(
        self,
        params: str,
        *,
        params_type: str = "heroscript",
        circle_id: str = "default",
        topic: str = "default",
        timeout: int = 0,
        at: int | datetime | None = None,
        priority: int = 0,
        max_attempts: int | None = None,
        log: bool = False,
        tags: Iterable[str] = (),
        parent: str = "",
        retries: int | None = None,
        retry_delay: float | None = None,
        retry_on: Iterable[str] | None = None,
        idempotency_key: str = "",
        unique_key: str = "",
        unique_until: str | int = "",
        expires_at: int | datetime | None = None,
        limit_key: str = "",
        if_exists: str = "return",
        after: Iterable[AnyRef | After] = (),
        on_failure: str = "cancel",
    ) -> Job:
        """Store a job and queue it; see `HeroJobs.submit`."""
        job = new_job(
            params,
            params_type,
            circle_id,
            topic,
            timeout,
            at,
            priority,
            max_attempts,
            log,
            tags,
            parent,
            retries,
            retry_delay,
            retry_on,
            idempotency_key,
            unique_key,
            unique_until,
            expires_at,
            limit_key,
            after,
            on_failure,
        )
        core = await self._core()
        if self._together is None or if_exists != "return":
            return await core.submit(job, self._session_key, if_exists)
        return await self._together.submit(job)

    async def submit_many(self, jobs: Iterable[Job | Mapping[str, Any]], *, if_exists: str = "return") -> list[Job]:
        """Store and queue many jobs, in batches; see `HeroJobs.submit_many`."""
        return await (await self._core()).submit_many(jobs, self._session_key, if_exists)

    async def chain(self, jobs: Iterable[Job | Mapping[str, Any]], *, on_failure: str = "cancel") -> list[Job]:
        """Submit jobs that come one after another; see `HeroJobs.chain`."""
        return await (await self._core()).flows.chain(jobs, on_failure, self._session_key)

    async def fan_in(
        self,
        jobs: Iterable[Job | Mapping[str, Any]],
        then: Job | Mapping[str, Any],
        *,
        on_failure: str = "cancel",
    ) -> tuple[list[Job], Job]:
        """Submit jobs side by side and one after all of them; see `HeroJobs.fan_in`."""
        return await (await self._core()).flows.fan_in(jobs, then, on_failure, self._session_key)

    async def flow(self, ref: AnyRef) -> list[Job]:
        """Return all jobs that hang together with one; see `HeroJobs.flow`."""
        return await (await self._core()).flows.find(ref)

    async def cancel_flow(self, ref: AnyRef) -> list[Job]:
        """Cancel all jobs that hang together with one; see `HeroJobs.cancel_flow`."""
        return await (await self._core()).flows.cancel(ref)

    async def get(self, ref: AnyRef) -> Job:
        """Return a job as it is now; see `HeroJobs.get`."""
        return await (await self._core()).get(ref)

    async def wait(self, ref: AnyRef, timeout: float | None = None) -> Job:
        """Wait until a job is over and return it; see `HeroJobs.wait`."""
        return await (await self._core()).wait(ref, timeout)

    async def find(
        self,
        *,
        circle_id: str | None = None,
        topic: str | None = None,
        status: str | None = None,
        kind: str | None = None,
        reason: str | None = None,
        tag: str | None = None,
        text: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> Found:
        """Return a page of jobs that meet every condition given, in a thread; see `HeroJobs.find`."""
        return await (await self._core()).find(
            circle_id, topic, status, kind, reason, tag, text, since, until, limit, before
        )

    async def cancel(self, ref: AnyRef) -> Job:
        """Cancel a job; see `HeroJobs.cancel`."""
        return await (await self._core()).cancel(ref)

    async def retry(self, ref: AnyRef) -> Job:
        """Queue a job again that is over; see `HeroJobs.retry`."""
        return await (await self._core()).again.retry(ref)

    async def retry_many(
        self,
        *,
        circle_id: str | None = None,
        topic: str | None = None,
        reason: str | None = None,
        kind: str | None = None,
        tag: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list_[Ref]:
        """Queue all jobs again that ended in error and meet every condition given; see `HeroJobs.retry_many`."""
        return await (await self._core()).again.retry_many(circle_id, topic, reason, kind, tag, since, until)

    async def duplicate(self, ref: AnyRef, **changes: Any) -> Job:
        """Submit a copy of a job with some fields changed; see `HeroJobs.duplicate`."""
        return await (await self._core()).again.duplicate(ref, changes, self._session_key)

    async def delete(self, ref: AnyRef) -> None:
        """Remove a job for good; see `HeroJobs.delete`."""
        await (await self._core()).delete(ref)

    async def prune(
        self,
        *,
        circle_id: str | None = None,
        topic: str | None = None,
        older_than: float | timedelta | None = None,
        status: str | None = None,
        dry_run: bool = False,
    ) -> Pruned:
        """Delete jobs that have been over for long; see `HeroJobs.prune`."""
        seconds = older_than.total_seconds() if isinstance(older_than, timedelta) else older_than
        return await (await self._core()).pruner.prune(circle_id, topic, seconds, status, dry_run)

    async def progress(self, ref: AnyRef) -> Progress | None:
        """Return how far a running job says it is; see `HeroJobs.progress`."""
        return await (await self._core()).progress(ref)

    async def history(self, ref: AnyRef) -> list[Job]:
        """Return every version of a job that is kept, the oldest first."""
        return await (await self._core()).history(ref)

    async def queues(self, circle_id: str | None = None) -> list[QueueInfo]:
        """Return the queues of a circle, or all; see `HeroJobs.queues`."""
        return await (await self._core()).queues(circle_id)

    async def pause(self, circle_id: str, topic: str | None = None) -> None:
        """Have no more jobs of a circle or topic start; see `HeroJobs.pause`."""
        await (await self._core()).rules.pause(circle_id, topic)

    async def resume(self, circle_id: str, topic: str | None = None) -> None:
        """Undo `pause`; see `HeroJobs.resume`."""
        await (await self._core()).rules.resume(circle_id, topic)

    async def paused(self) -> list_[str]:
        """Return what is paused: circles, and topics as circle/topic, sorted."""
        return await (await self._core()).paused()

    async def limits(self) -> dict[str, Limit]:
        """Return the limits in force by name; see `HeroJobs.limits`."""
        return await (await self._core()).rules.limits()

    async def set_limit(
        self,
        name: str,
        *,
        jobs: int | None = None,
        rate: str | None = None,
        key_jobs: int | None = None,
        key_rate: str | None = None,
        weight: int | None = None,
    ) -> Limit:
        """Limit a circle or topic from now on; see `HeroJobs.set_limit`."""
        return await (await self._core()).rules.set_limit(name, jobs, rate, key_jobs, key_rate, weight)

    async def remove_limit(self, name: str) -> None:
        """Undo `set_limit`; see `HeroJobs.remove_limit`."""
        await (await self._core()).rules.remove_limit(name)

    async def peek(self, circle_id: str, topic: str) -> Job | None:
        """Return the job that is next in a queue, without taking it; see `HeroJobs.peek`."""
        return await (await self._core()).peek(circle_id, topic)

    async def empty(self, circle_id: str, topic: str) -> int:
        """Remove all waiting jobs of a queue; see `HeroJobs.empty`."""
        return await (await self._core()).empty(circle_id, topic)

    async def log(self, ref: AnyRef) -> str:
        """Return what is kept of a job's output; see `HeroJobs.log`."""
        return await (await self._core()).log(ref)

    async def follow(self, ref: AnyRef) -> AsyncIterator[str]:
        """Yield what a job writes until it is over; see `HeroJobs.follow`."""
        async for text in (await self._core()).follow(ref):
            yield text

    @property
    def is_remote(self) -> bool:
        """Whether a server does what is asked, not this process."""
        return is_remote(self._url)

    @property
    def schedules(self) -> AsyncSchedules:
        """Jobs that are made again and again: add, list, pause, resume, run, remove."""
        if self._schedules is None:
            from herojobs.client.schedules import (
                AsyncSchedules,
                LocalSchedules,
                RemoteSchedules,
            )  # few programs have any

            async def submit(jobs: list[Job]) -> list[Job]:
                return await (await self._core()).submit_many(jobs, self._session_key)

            if self.is_remote:
                from herojobs.client.remote import plain

                self._schedules = AsyncSchedules(RemoteSchedules(self._call, plain), "")
            else:
                local = LocalSchedules(self.settings, asyncio.to_thread, submit)
                self._schedules = AsyncSchedules(local, self._session_key)
        return self._schedules

    @property
    def sessions(self) -> AsyncClientSessions:
        """Who may do what; see `HeroJobs.sessions`."""
        if self._sessions is None:
            from herojobs.client.sessions import AsyncClientSessions, LocalSessions, RemoteSessions

            core = RemoteSessions(self._call) if self.is_remote else LocalSessions(self.settings, asyncio.to_thread)
            self._sessions = AsyncClientSessions(core)
        return self._sessions

    @property
    def services(self) -> AsyncClientServices:
        """Services that jobs of kind `openrpc` may call; see `HeroJobs.services`."""
        if self._services is None:
            from herojobs.client.services import AsyncClientServices, LocalServices, RemoteServices

            core = RemoteServices(self._call) if self.is_remote else LocalServices(self.settings, asyncio.to_thread)
            self._services = AsyncClientServices(core)
        return self._services

    async def close(self) -> None:
        """Close connections and databases; see `HeroJobs.close`."""
        if self._opened is not None:
            await self._opened.close()
            self._opened = self._together = None
        if self._schedules is not None:
            self._schedules.close()
        if self._sessions is not None:
            await asyncio.to_thread(self._sessions.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _core(self) -> Core:
        if self._opened is None:
            async with self._opening:
                if self._opened is None:
                    self._opened = await self._open()
        return self._opened.core

    async def _open(self) -> Opened | Remote:
        if self.is_remote:
            return Remote(str(self._url), self._session_key, blocking=False)
        opened = Opened(self.settings, await connect_async(self.settings), asyncio.to_thread)
        self._together = Together(opened.core, self.settings.max_params, self._session_key)
        return opened

    async def _call(self, method: str, params: dict[str, Any], result: Any) -> Any:
        """Call a method of the server."""
        from herojobs.client.remote import is_read

        core = cast("RemoteCore", await self._core())
        return await core.call(method, params, result, repeatable=is_read(method))

    async def list(  # the last method: it hides the built-in name in this class
        self,
        *,
        circle_id: str | None = None,
        topic: str | None = None,
        status: str | None = None,
        kind: str | None = None,
        text: str | None = None,
        limit: int = 100,
    ) -> list[Job]:
        """Return jobs that meet every condition given, the newest first; see `HeroJobs.list`."""
        found = await self.find(circle_id=circle_id, topic=topic, status=status, kind=kind, text=text, limit=limit)
        return found.jobs
