"""The synchronous client."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from herojobs.client.core import Core, QueueInfo
from herojobs.client.given import AnyRef, new_job
from herojobs.client.open import Opened, Remote, at_once, is_remote, settings_for
from herojobs.client.prune import Pruned
from herojobs.job import After, Job
from herojobs.limits import Limit
from herojobs.live.admin import Progress
from herojobs.live.connect import connect_blocking
from herojobs.live.redis import run_sync
from herojobs.names import Ref
from herojobs.settings import Settings
from herojobs.store import Found

if TYPE_CHECKING:
    from herojobs.client.remote import RemoteCore
    from herojobs.client.schedules import Schedules
    from herojobs.client.services import ClientServices
    from herojobs.client.sessions import ClientSessions

list_ = list
"""The built-in name, which the method `list` hides."""


class HeroJobs:
    """Submits jobs and looks after them.

        with HeroJobs() as hero:
            job = hero.submit("!!fake.return_success message:'hello'", circle_id="demo")
            print(hero.wait(job, timeout=10).result)

    It connects when it is first used, to the embedded Redis unless a URL is set. Safe for several threads.

    Args:
        url: a server to ask, as http://, https:// or, for a Unix socket, http+unix:///path; or the Redis to use, as
            redis://, rediss:// or unix:// address, which counts before the setting `redis_url`.
        session_key: what new jobs carry as their `session_key`; a server wants to see it at each call.
        settings: all settings; read from the environment and the home folder if not given.
        overrides: any other setting by its name, see `herojobs.settings.Settings`.

    Raises:
        SettingsError: a setting is wrong.
    """

    def __init__(
        self, url: str | None = None, *, session_key: str = "", settings: Settings | None = None, **overrides: Any
    ) -> None:
        self.settings = settings_for(url, settings, overrides)
        self._session_key = session_key
        self._url = url
        self._opened: Opened | Remote | None = None
        self._schedules: Schedules | None = None
        self._sessions: ClientSessions | None = None
        self._services: ClientServices | None = None
        self._opening = threading.Lock()

    def submit(
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
        """Store a job and queue it.

        When this returns, the job is in OurDB and in Redis, and will run.

        Args:
            params: the script, call or prompt.
            params_type: its kind: heroscript, rhaiscript, openrpc, ai, or a plug-in's.
            circle_id: the tenant.
            topic: the queue within the circle.
            timeout: seconds it may run; 0 = the setting `default_timeout`.
            at: when it may start, at the earliest: unix seconds or a datetime; default now.
            priority: 0 to 9, higher ones start first within their queue.
            max_attempts: how often it may be started when its worker dies; default 3.
            log: whether its output is kept after it is over.
            tags: free labels to find it by.
            parent: reference of the job that submits this one.
            retries: how many more times it is tried when its content fails; None = by the setting `retry`, normally 0.
            retry_delay: seconds before the first retry, doubled for each further one; None = likewise, normally 10.
            retry_on: what is retried: reasons (`failed`, `timeout`, `killed`, `oom`, `lost`) and texts that occur in
                the error, with `*` for anything; None = likewise, normally failed and timeout.
            idempotency_key: if a job with this key was submitted to this queue lately (setting `idempotency_ttl`), that
                job is what you get, and nothing is submitted: to repeat a submission whose answer was lost.
            unique_key: likewise while a job with this key is there, as long as `unique_until` says.
            unique_until: `finished` (the default): until that job is over; `started`; or seconds since its submission.
            expires_at: if it hasn't started by then it ends, with reason `expired`: unix seconds or a datetime.
            limit_key: what it counts for where its topic limits keys, see `set_limit`: a customer, say.
            if_exists: what happens if its key is taken: `return` the job that has it, or `raise`.
            after: jobs of the circle that must be over before it runs; `After` gives one of them an `on_failure` of
                its own.
            on_failure: what becomes of it if one of these ends in error or is deleted: `cancel`, `fail`, or `run` all
                the same.

        Returns:
            the job, with its id; another job, as it is now, if that has its key.

        Raises:
            JobExists: another job has its key, and `if_exists` is `raise`; nothing was written.
            InvalidJob: a field is wrong (`InvalidName`, `UnknownKind`, `ParamsTooLarge` ...); nothing was written.
            RedisUnavailable: Redis can't be reached; nothing was written.
            SubmissionUnconfirmed: the job is stored, but Redis didn't confirm it; it will run.
            OurDBError: the job can't be stored (disk full, say); nothing was queued.
        """
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
        return run_sync(self._core.submit(job, self._session_key, if_exists))

    def submit_many(self, jobs: Iterable[Job | Mapping[str, Any]], *, if_exists: str = "return") -> list[Job]:
        """Store and queue many jobs, in batches.

        Args:
            jobs: new `Job` objects, or their fields by their Python names.
            if_exists: see `submit`; `raise` refuses all of them if one exists.

        Returns:
            the jobs, with their ids, in order.

        Raises:
            as `submit`; a wrong job refuses all of them, with nothing written.
        """
        return run_sync(self._core.submit_many(jobs, self._session_key, if_exists))

    def chain(self, jobs: Iterable[Job | Mapping[str, Any]], *, on_failure: str = "cancel") -> list[Job]:
        """Submit jobs that come one after another: each runs once the one before is done.

        All are checked before the first one is stored. If Redis goes away in between, those that were stored run.

        Args:
            jobs: new `Job` objects, or their fields by their Python names.
            on_failure: what becomes of a job if the one before it ends in error: `cancel`, `fail` or `run`.

        Returns:
            the jobs, with their ids, in order.

        Raises:
            as `submit`.
        """
        return run_sync(self._core.flows.chain(jobs, on_failure, self._session_key))

    def fan_in(
        self,
        jobs: Iterable[Job | Mapping[str, Any]],
        then: Job | Mapping[str, Any],
        *,
        on_failure: str = "cancel",
    ) -> tuple[list[Job], Job]:
        """Submit jobs that may run side by side, and one that runs once all of them are over.

        Args:
            jobs: new `Job` objects, or their fields by their Python names.
            then: the one that comes after them.
            on_failure: what becomes of `then` if one of them ends in error: `cancel`, `fail` or `run`.

        Returns:
            the jobs, in order, and `then`.

        Raises:
            as `submit`; if `then` can't be submitted, the others run.
        """
        return run_sync(self._core.flows.fan_in(jobs, then, on_failure, self._session_key))

    def flow(self, ref: AnyRef) -> list[Job]:
        """Return all jobs that hang together with one, by `after`, in the order of their submission."""
        return run_sync(self._core.flows.find(ref))

    def cancel_flow(self, ref: AnyRef) -> list[Job]:
        """Cancel all jobs that hang together with one and aren't over; return them as they are now.

        Those that wait for others end first, so that none of them starts; running ones are interrupted.
        """
        return run_sync(self._core.flows.cancel(ref))

    def get(self, ref: AnyRef) -> Job:
        """Return a job as it is now.

        Args:
            ref: `circle/topic/id`, or the job as it was.

        Raises:
            InvalidReference: the text isn't a reference.
            JobNotFound: there is no such job.
        """
        return run_sync(self._core.get(ref))

    def wait(self, ref: AnyRef, timeout: float | None = None) -> Job:
        """Wait until a job is over, well or not, and return it.

        Args:
            ref: the job.
            timeout: seconds to wait at most; None = as long as it takes.

        Raises:
            WaitTimeout: it isn't over by then (also a `TimeoutError`).
            JobNotFound: there is no such job.
        """
        return run_sync(self._core.wait(ref, timeout))

    def find(
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
        """Return a page of jobs that meet every condition given, the newest first, and the cursor of the next page.

        Args:
            circle_id: their circle.
            topic: their topic.
            status: new, active, done or error.
            kind: their params_type.
            reason: why they ended, see `herojobs.job.Reason`.
            tag: one of their tags.
            text: words that occur in their params, result or error.
            since: submitted at or after this.
            until: submitted before this.
            limit: most jobs to return, up to 1000.
            before: `cursor` of the page before.

        Raises:
            InvalidJob: a condition can't be met by any job, such as a status that doesn't exist.
        """
        return run_sync(self._core.find(circle_id, topic, status, kind, reason, tag, text, since, until, limit, before))

    def cancel(self, ref: AnyRef) -> Job:
        """Cancel a job: a waiting one ends at once, a running one is interrupted, and killed if it doesn't stop.

        Returns:
            the job as it is now; a running one may still be `active`, `wait` for its end.

        Raises:
            JobConflict: it is over already.
        """
        return run_sync(self._core.cancel(ref))

    def retry(self, ref: AnyRef) -> Job:
        """Queue a job again that is over, or waits for its next try, under the same reference.

        What it was stays in its history; its attempts and retries are counted anew.

        Raises:
            JobConflict: it waits for its first try, or runs.
            SubmissionUnconfirmed: it is stored as new, but Redis didn't confirm it; it will run.
        """
        return run_sync(self._core.again.retry(ref))

    def retry_many(
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
        """Queue all jobs again that ended in error and meet every condition given; those submitted first go first.

        Args:
            circle_id: their circle.
            topic: their topic.
            reason: why they ended, see `herojobs.job.Reason`. Jobs that somebody ended (`cancelled`, `removed`) or
                that expired are queued again only if this asks for them.
            kind: their params_type.
            tag: one of their tags.
            since: submitted at or after this.
            until: submitted before this.

        Returns:
            what was queued again.

        Raises:
            InvalidJob: a condition can't be met by any job.
            SubmissionUnconfirmed: some are stored as new, but Redis didn't confirm them; these will run.
        """
        return run_sync(self._core.again.retry_many(circle_id, topic, reason, kind, tag, since, until))

    def duplicate(self, ref: AnyRef, **changes: Any) -> Job:
        """Submit a copy of a job, whatever became of that one, with some fields changed.

        Args:
            ref: the job to copy.
            changes: fields by their Python names: `params`, `timeout`, `topic` ...

        Returns:
            the new job.

        Raises:
            JobNotFound: there is no such job.
            InvalidJob: a changed field doesn't exist, can't be set, or is wrong; as `submit`.
        """
        return run_sync(self._core.again.duplicate(ref, changes, self._session_key))

    def delete(self, ref: AnyRef) -> None:
        """Remove a job for good: from its queue, from Redis, and its whole history from OurDB.

        Raises:
            JobConflict: it is running.
        """
        run_sync(self._core.delete(ref))

    def prune(
        self,
        *,
        circle_id: str | None = None,
        topic: str | None = None,
        older_than: float | timedelta | None = None,
        status: str | None = None,
        dry_run: bool = False,
    ) -> Pruned:
        """Delete jobs that have been over for long, with their history and logs, and give the disk back.

        WatchDogs do the same in the background, by the settings.

        Args:
            circle_id: only of this circle.
            topic: only of this topic.
            older_than: seconds, or a `timedelta`, that a job must have been over; None = what the settings `retention`
                and `circle_retention` say, and then logs by `log_retention`, too.
            status: only jobs that ended like this, `done` or `error`.
            dry_run: count, and delete nothing.

        Raises:
            InvalidJob: a value is impossible.
        """
        seconds = older_than.total_seconds() if isinstance(older_than, timedelta) else older_than
        return run_sync(self._core.pruner.prune(circle_id, topic, seconds, status, dry_run))

    def progress(self, ref: AnyRef) -> Progress | None:
        """Return how far a running job says it is: percent, text and when; None if it doesn't say, or doesn't run."""
        return run_sync(self._core.progress(ref))

    def history(self, ref: AnyRef) -> list[Job]:
        """Return every version of a job that is kept, the oldest first."""
        return run_sync(self._core.history(ref))

    def queues(self, circle_id: str | None = None) -> list[QueueInfo]:
        """Return the queues of a circle, or all, and how many jobs are where."""
        return run_sync(self._core.queues(circle_id))

    def pause(self, circle_id: str, topic: str | None = None) -> None:
        """Have no more jobs of a circle, or of one of its topics, start, until `resume`.

        Running jobs go on; what was claimed but hasn't started goes back to its queue. New jobs are accepted, and wait.
        It holds for every WatchDog of the home, and survives restarts of everything. A circle's topics that don't exist
        yet are paused too.

        Args:
            circle_id: the circle.
            topic: the topic; None = the whole circle.

        Raises:
            InvalidName: it can't be a name.
        """
        run_sync(self._core.rules.pause(circle_id, topic))

    def resume(self, circle_id: str, topic: str | None = None) -> None:
        """Undo `pause` of the same circle or topic. A topic of a circle that is paused whole stays paused with it."""
        run_sync(self._core.rules.resume(circle_id, topic))

    def paused(self) -> list_[str]:
        """Return what is paused: circles, and topics as circle/topic, sorted."""
        return run_sync(self._core.paused())

    def limits(self) -> dict[str, Limit]:
        """Return the limits in force by name: those of the setting `limit`, and those of `set_limit` before them."""
        return run_sync(self._core.rules.limits())

    def set_limit(
        self,
        name: str,
        *,
        jobs: int | None = None,
        rate: str | None = None,
        key_jobs: int | None = None,
        key_rate: str | None = None,
        weight: int | None = None,
    ) -> Limit:
        """Limit a circle or topic from now on, in all WatchDogs of the home; what isn't given stays as it is.

        Args:
            name: `circle` (all its topics together), `circle/topic`, `circle/*` (each topic of it), `*` or `*/*`.
            jobs: how many of its jobs run at once; 0 = any number.
            rate: how many start in any span of time, like `100/m`; empty = any number.
            key_jobs: of a topic: how many of its jobs of one `limit_key` run at once; 0 = any number.
            key_rate: of a topic: how many of its jobs of one `limit_key` start in any span of time; empty = any number.
            weight: of a circle: how many jobs it gets started for each one of a circle of weight 1.

        Returns:
            the limit as it is now.

        Raises:
            InvalidLimit: the name or a value is wrong.
        """
        return run_sync(self._core.rules.set_limit(name, jobs, rate, key_jobs, key_rate, weight))

    def remove_limit(self, name: str) -> None:
        """Undo `set_limit`; one that the settings have under this name counts again.

        Raises:
            InvalidLimit: there is none.
        """
        run_sync(self._core.rules.remove_limit(name))

    def peek(self, circle_id: str, topic: str) -> Job | None:
        """Return the job that is next in a queue, without taking it; None if none waits."""
        return run_sync(self._core.peek(circle_id, topic))

    def empty(self, circle_id: str, topic: str) -> int:
        """Remove all waiting and scheduled jobs of a queue; they end with reason `removed`. Return their number."""
        return run_sync(self._core.empty(circle_id, topic))

    def log(self, ref: AnyRef) -> str:
        """Return what is kept of a job's output; empty if the job wasn't submitted with `log`."""
        return run_sync(self._core.log(ref))

    def follow(self, ref: AnyRef) -> Iterator[str]:
        """Yield what a job writes, from its kept log and then live, until it is over."""
        stream = self._core.follow(ref)
        while True:
            try:
                yield run_sync(stream.__anext__())
            except StopAsyncIteration:
                return

    @property
    def is_remote(self) -> bool:
        """Whether a server does what is asked, not this process."""
        return is_remote(self._url)

    @property
    def schedules(self) -> Schedules:
        """Jobs that are made again and again: add, list, pause, resume, run, remove."""
        if self._schedules is None:
            from herojobs.client.schedules import LocalSchedules, RemoteSchedules, Schedules  # few programs have any

            async def submit(jobs: list[Job]) -> list[Job]:
                return await self._core.submit_many(jobs, self._session_key)

            if self.is_remote:
                from herojobs.client.remote import plain

                self._schedules = Schedules(RemoteSchedules(self._call, plain), "")
            else:
                local = LocalSchedules(self.settings, at_once, submit)
                self._schedules = Schedules(local, self._session_key)
        return self._schedules

    @property
    def sessions(self) -> ClientSessions:
        """Who may do what: create, list, get, revoke, rotate; and who did: audit."""
        if self._sessions is None:
            from herojobs.client.sessions import ClientSessions, LocalSessions, RemoteSessions

            core = RemoteSessions(self._call) if self.is_remote else LocalSessions(self.settings, at_once)
            self._sessions = ClientSessions(core)
        return self._sessions

    @property
    def services(self) -> ClientServices:
        """Services that jobs of kind `openrpc` may call: set, list, get, remove."""
        if self._services is None:
            from herojobs.client.services import ClientServices, LocalServices, RemoteServices

            core = RemoteServices(self._call) if self.is_remote else LocalServices(self.settings, at_once)
            self._services = ClientServices(core)
        return self._services

    def close(self) -> None:
        """Close connections and databases. The embedded Redis goes on for other processes of the home."""
        if self._opened is not None:
            run_sync(self._opened.close())
            self._opened = None
        if self._schedules is not None:
            self._schedules.close()
        if self._sessions is not None:
            self._sessions.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _core(self) -> Core:
        if self._opened is None:
            with self._opening:
                if self._opened is None:
                    if self.is_remote:
                        self._opened = Remote(str(self._url), self._session_key, blocking=True)
                    else:
                        self._opened = Opened(self.settings, connect_blocking(self.settings), at_once)
        return self._opened.core

    async def _call(self, method: str, params: dict[str, Any], result: Any) -> Any:
        """Call a method of the server."""
        from herojobs.client.remote import is_read

        return await cast("RemoteCore", self._core).call(method, params, result, repeatable=is_read(method))

    def list(  # the last method: it hides the built-in name in this class
        self,
        *,
        circle_id: str | None = None,
        topic: str | None = None,
        status: str | None = None,
        kind: str | None = None,
        text: str | None = None,
        limit: int = 100,
    ) -> list[Job]:
        """Return jobs that meet every condition given, the newest first; see `find` for more conditions and pages."""
        return self.find(circle_id=circle_id, topic=topic, status=status, kind=kind, text=text, limit=limit).jobs
