"""The core of a remote client: what `herojobs.client.core.Core` does, asked of a server.

Calls are repeated over a broken connection only where that is safe: reads, calls that can't have arrived, and
submissions, which get an idempotency key for it.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NoReturn, TypeVar

import msgspec

from herojobs.client.again import COPIED, ONE_JOBS_OWN
from herojobs.client.answers import error_of, of_status
from herojobs.client.core import QueueInfo
from herojobs.client.flows import Chains
from herojobs.client.given import AnyRef, as_job, as_jobs, as_ref
from herojobs.client.http import Http, Reply
from herojobs.client.prune import Pruned
from herojobs.client.submissions import IF_EXISTS
from herojobs.errors import (
    InvalidJob,
    LimitExceeded,
    LocalOnly,
    RedisUnavailable,
    RemoteError,
    RpcError,
    ServerUnreachable,
    UnknownKind,
    WaitTimeout,
    did_you_mean,
)
from herojobs.job import MASK, Job, validate
from herojobs.jsonrpc import encode_request, read_answers
from herojobs.limits import Limit
from herojobs.live.admin import Progress
from herojobs.names import Queue, Ref
from herojobs.store import Found

T = TypeVar("T")


ANSWER_WITHIN = 30.0
"""Seconds that an answer may take, besides what a call itself waits for."""
LONG_POLL = 50.0
"""Seconds that one `job.wait` waits; `wait` goes on with another."""
PATIENCE = 30.0
"""Seconds that `wait` goes on while the server is away: restarting it must not end who waits for a job."""
PAUSES = (0.1, 0.5)
"""Seconds before a call is repeated."""
LONGEST_BACK_OFF = 5.0
"""Seconds that a server may ask to wait for, so that we wait rather than raise."""
JOBS_A_CALL = 1000
BYTES_A_CALL = 4 * 1024 * 1024
PRUNES = 600.0
"""Seconds that pruning may take: it reads, and maybe rewrites, all that there is."""
MOST_PARAMS = 8 * 1024 * 1024
"""Bytes over which no server can take params; its own limit may be lower."""

_PLAIN = (*(name for name in COPIED if name != "session_key"), "parent", "after")
"""Fields of a job that travel as they are."""
_SET_HERE = {"job_id", "session_key", "time_scheduled", "created_ms"}
_UNTOLD = {name: getattr(Job(), name) for name in Job.__struct_fields__ if name not in {*_PLAIN, *_SET_HERE}}
"""Fields that HeroJobs itself sets, and what they are in a new job."""


class _Page(msgspec.Struct):
    jobs: list[Job]
    cursor: str | None


class _LogPart(msgspec.Struct):
    text: str
    next: int


class _Queue(msgspec.Struct):
    circle_id: str
    topic: str
    waiting: int
    scheduled: int
    active: int
    paused: bool


class RemoteCore:
    """What a client does, over a server.

    Args:
        http: the transport.
        session_key: the key that the transport shows.
    """

    def __init__(self, http: Http, session_key: str) -> None:
        self._http = http
        self._key = session_key
        self.flows = RemoteFlows(self)
        self.again = self.rules = self.pruner = self  # parts of `Core`; here there is so little to do that they are one

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        raise LocalOnly(f"{name}: this can't be done over a server, only in the home itself")

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    # in

    async def submit(self, job: Job, session_key: str = "", if_exists: str = "return") -> Job:
        """Submit a new job; see `HeroJobs.submit`."""
        return (await self.submit_many((job,), session_key, if_exists))[0]

    async def submit_many(
        self, given: Iterable[Job | Mapping[str, Any]], session_key: str = "", if_exists: str = "return"
    ) -> list[Job]:
        """Submit jobs, in batches; see `HeroJobs.submit_many`."""
        if if_exists not in IF_EXISTS:
            raise InvalidJob("if_exists", if_exists, "no such way", did_you_mean(if_exists, IF_EXISTS))
        new = as_jobs(given)
        if len({id(job) for job in new}) < len(new):
            raise InvalidJob("jobs", f"{len(new)} jobs", "the same Job object is in it twice", "an object for each job")
        for place, job in enumerate(new):
            try:
                self._check(job)
            except InvalidJob as e:
                if len(new) > 1:
                    e.place(place)
                raise
        safe = if_exists == "return"
        done: list[Job] = []
        for group, data in _batches(new, secrets.token_hex(8) if safe else ""):
            try:
                raw = msgspec.Raw(b'{"jobs":[%b],"if_exists":"%b"}' % (b",".join(data), if_exists.encode()))
                answered = await self.call("job.submit_many", raw, list[Job], repeatable=safe)
            except Exception as e:
                if done:
                    e.add_note(f"{len(done)} jobs were submitted before, up to {done[-1].ref}")
                raise
            done += [self._taken(job, answer) for job, answer in zip(group, answered, strict=True)]
        return done

    def _check(self, job: Job) -> None:
        """Raise what is wrong with a job as far as that can be told here."""
        if job.session_key not in ("", self._key):
            raise InvalidJob(
                "session_key", MASK, "isn't the client's", "the client's; over a server it goes for all jobs"
            )
        for name, default in _UNTOLD.items():
            if getattr(job, name) != default:
                raise InvalidJob(name, getattr(job, name), "can't be given to a new job over a server")
        with contextlib.suppress(UnknownKind):  # the server may have plug-ins that aren't here
            validate(job, max_params=MOST_PARAMS)

    def _taken(self, job: Job, answer: Job) -> Job:
        """Return the submitted job: the object that was given, unless it has a key, which another job may have had."""
        if job.idempotency_key or job.unique_key:
            return answer
        answer.session_key = self._key
        for name in job.__struct_fields__:
            setattr(job, name, getattr(answer, name))
        return job

    # looking

    async def get(self, ref: AnyRef) -> Job:
        """Return a job as it is now; see `HeroJobs.get`."""
        return await self.call("job.get", {"ref": str(as_ref(ref))}, Job)

    async def wait(self, ref: AnyRef, timeout: float | None) -> Job:
        """Return a job once it is over, by long polls; see `HeroJobs.wait`."""
        name = str(as_ref(ref))
        deadline = None if timeout is None else time.monotonic() + timeout
        away_since = 0.0
        while True:
            left = LONG_POLL if deadline is None else max(0.0, deadline - time.monotonic())
            seconds = min(left, LONG_POLL)
            try:
                return await self.call("job.wait", {"ref": name, "timeout": seconds}, Job, takes=seconds)
            except WaitTimeout:
                away_since = 0.0
            except (ServerUnreachable, RedisUnavailable):
                away_since = away_since or time.monotonic()
                if time.monotonic() - away_since > PATIENCE:
                    raise
                await self._http.pause(PAUSES[-1])
            if deadline is not None and time.monotonic() >= deadline:
                job = await self.get(ref)
                if job.is_over:
                    return job
                raise WaitTimeout(f"{name} is {job.status} after {timeout:g} s")

    async def find(
        self,
        circle_id: str | None,
        topic: str | None,
        status: str | None,
        kind: str | None,
        reason: str | None,
        tag: str | None,
        text: str | None,
        since: datetime | None,
        until: datetime | None,
        limit: int,
        before: str | None,
    ) -> Found:
        """Return a page of jobs; see `HeroJobs.find`."""
        asked = {
            "circle_id": circle_id, "topic": topic, "status": status, "params_type": kind, "reason": reason, "tag": tag,
            "text": text, "since": _ms(since), "until": _ms(until), "limit": limit, "cursor": before,
        }  # fmt: skip
        page = await self.call("job.list", _given(asked), _Page)
        return Found(page.jobs, page.cursor)

    async def history(self, ref: AnyRef) -> list[Job]:
        """Return all versions of a job, the oldest first."""
        return await self.call("job.history", {"ref": str(as_ref(ref))}, list[Job])

    async def progress(self, ref: AnyRef) -> Progress | None:
        """Return how far a running job says it is."""
        return await self.call("job.progress", {"ref": str(as_ref(ref))}, Progress | None)  # type: ignore[arg-type]

    async def log(self, ref: AnyRef) -> str:
        """Return what is kept of a job's output; see `HeroJobs.log`."""
        name, after = str(as_ref(ref)), 0
        texts: list[str] = []
        while True:
            part = await self.call("job.log", {"ref": name, "after": after}, _LogPart)
            if part.next == after:
                return "".join(texts)
            texts.append(part.text)
            after = part.next

    async def follow(self, ref: AnyRef) -> AsyncGenerator[str]:
        """Yield a job's output until it is over; see `HeroJobs.follow`."""
        name = as_ref(ref)
        async for part in self._http.stream(f"/jobs/{name}/log"):
            if isinstance(part, str):
                yield part
            elif part.status != 200:
                raise of_status(part.status, self._http.address.shown, name)
        if not (await self.get(name)).is_over:
            raise ServerUnreachable(f"the server at {self._http.address.shown} ended before {name} was over", True)

    async def queues(self, circle_id: str | None) -> list[QueueInfo]:
        """Return the queues that there are; see `HeroJobs.queues`."""
        found = await self.call("queue.list", _given({"circle_id": circle_id}), list[_Queue])
        return [QueueInfo(q.circle_id, q.topic, q.waiting, q.scheduled, q.active, q.paused) for q in found]

    async def paused(self) -> list[str]:
        """Return what is paused; see `HeroJobs.paused`."""
        return sorted(await self.call("queue.paused", {}, list[str]))

    async def peek(self, circle_id: str, topic: str) -> Job | None:
        """Return the job that is next in a queue; see `HeroJobs.peek`."""
        return await self.call("queue.peek", _named(circle_id, topic), Job | None)  # type: ignore[arg-type]

    # acting

    async def cancel(self, ref: AnyRef) -> Job:
        """Cancel a job; see `HeroJobs.cancel`."""
        return await self.call("job.cancel", {"ref": str(as_ref(ref))}, Job, repeatable=False)

    async def retry(self, ref: AnyRef) -> Job:
        """Queue a job again that is over; see `HeroJobs.retry`."""
        return await self.call("job.retry", {"ref": str(as_ref(ref))}, Job, repeatable=False)

    async def retry_many(
        self,
        circle_id: str | None,
        topic: str | None,
        reason: str | None,
        kind: str | None,
        tag: str | None,
        since: datetime | None,
        until: datetime | None,
    ) -> list[Ref]:
        """Queue all jobs again that ended in error and meet the conditions; see `HeroJobs.retry_many`."""
        asked = {
            "circle_id": circle_id, "topic": topic, "reason": reason, "params_type": kind, "tag": tag,
            "since": _ms(since), "until": _ms(until),
        }  # fmt: skip
        names = await self.call("job.retry_many", _given(asked), list[str], repeatable=False)
        return [Ref.parse(name) for name in names]

    async def duplicate(self, ref: AnyRef, changes: Mapping[str, Any], session_key: str) -> Job:
        """Submit a copy of a job with changes; see `HeroJobs.duplicate`."""
        for name in changes:
            if name not in COPIED:
                raise InvalidJob(name, changes[name], "can't be set", did_you_mean(name, COPIED))
        job = await self.get(ref)
        copied = {name: getattr(job, name) for name in COPIED if name not in ONE_JOBS_OWN | {"session_key"}}
        return (await self.submit_many([as_job(copied | dict(changes))]))[0]

    async def delete(self, ref: AnyRef) -> None:
        """Remove a job; see `HeroJobs.delete`."""
        await self.call("job.delete", {"ref": str(as_ref(ref))}, bool, repeatable=False)

    async def prune(
        self, circle_id: str | None, topic: str | None, older_than: float | None, status: str | None, dry_run: bool
    ) -> Pruned:
        """Delete jobs that have been over for long; see `HeroJobs.prune`."""
        asked = {"circle_id": circle_id, "topic": topic, "older_than": older_than, "status": status, "dry_run": dry_run}
        done = await self.call("job.prune", _given(asked), dict[str, int], takes=PRUNES)
        return Pruned(**done)

    async def limits(self) -> dict[str, Limit]:
        """Return the limits in force; see `HeroJobs.limits`."""
        return await self.call("limit.list", {}, dict[str, Limit])

    async def set_limit(
        self,
        name: str,
        jobs: int | None,
        rate: str | None,
        key_jobs: int | None,
        key_rate: str | None,
        weight: int | None,
    ) -> Limit:
        """Change a limit; see `HeroJobs.set_limit`."""
        changes = {"jobs": jobs, "rate": rate, "key_jobs": key_jobs, "key_rate": key_rate, "weight": weight}
        return await self.call("limit.set", {"name": name, **_given(changes)}, Limit)

    async def remove_limit(self, name: str) -> None:
        """Undo `set_limit`; see `HeroJobs.remove_limit`."""
        await self.call("limit.remove", {"name": name}, bool, repeatable=False)

    async def empty(self, circle_id: str, topic: str) -> int:
        """Remove all waiting jobs of a queue; see `HeroJobs.empty`."""
        return await self.call("queue.empty", _named(circle_id, topic), int, repeatable=False)

    async def pause(self, circle_id: str, topic: str | None) -> None:
        """Have no more jobs of a circle or topic start; see `HeroJobs.pause`. May be repeated: it changes no more."""
        await self._pause("pause", circle_id, topic)

    async def resume(self, circle_id: str, topic: str | None) -> None:
        """Have jobs of a circle or topic start again; see `HeroJobs.resume`."""
        await self._pause("resume", circle_id, topic)

    async def _pause(self, what: str, circle_id: str, topic: str | None) -> None:
        if topic is None:
            await self.call(f"circle.{what}", {"circle_id": Queue.of(circle_id, "x").circle}, bool)
        else:
            await self.call(f"queue.{what}", _named(circle_id, topic), msgspec.Raw)

    # calling

    async def call(
        self, method: str, params: Any, result: type[T], *, repeatable: bool = True, takes: float = 0.0
    ) -> T:
        """Call a method of the server.

        Args:
            method: its name.
            params: its parameters by name.
            result: the type of what it returns.
            repeatable: whether it may be called again though it may have arrived.
            takes: seconds that the call itself waits for something.

        Raises:
            HeroJobsError: what the server answered, or that it didn't.
        """
        body = encode_request(method, params, 1)
        for pause in (*PAUSES, None):
            try:
                return self._read(await self._http.post(body, ANSWER_WITHIN + takes), result)
            except ServerUnreachable as e:
                if pause is None or (e.sent and not repeatable):
                    raise self._lost(e, repeatable) from None
            except LimitExceeded as e:  # the call wasn't let in
                if pause is None or e.retry_after > LONGEST_BACK_OFF:
                    raise
                pause = e.retry_after
            await self._http.pause(pause)
        raise AssertionError  # the last pause is None

    def _read(self, reply: Reply, result: type[T]) -> T:
        address = self._http.address.shown
        if not reply.is_json:
            raise of_status(reply.status, address)
        try:
            answer = read_answers(reply.body)[0][0]
            if answer.error is None:
                return msgspec.json.decode(answer.result, type=result)
        except (RpcError, IndexError, msgspec.ValidationError) as e:
            raise RemoteError(f"{address} doesn't answer as a HeroJobs server does ({e})") from None
        raise error_of(answer.error, address)

    @staticmethod
    def _lost(error: ServerUnreachable, repeatable: bool) -> ServerUnreachable:
        if repeatable or not error.sent:
            return error
        return ServerUnreachable(f"{error}; what was asked may have been done: look before you ask again", True)


class RemoteFlows(Chains):
    """Jobs that come after others; in the place of `herojobs.client.flows.Flows`."""

    def __init__(self, core: RemoteCore) -> None:
        super().__init__(core.submit_many)
        self._core = core

    async def find(self, ref: AnyRef) -> list[Job]:
        """Return all jobs that hang together with one; see `HeroJobs.flow`."""
        return await self._core.call("job.flow", {"ref": str(as_ref(ref))}, list[Job])

    async def cancel(self, ref: AnyRef) -> list[Job]:
        """Cancel all jobs of a flow that aren't over; see `HeroJobs.cancel_flow`."""
        return await self._core.call("job.cancel_flow", {"ref": str(as_ref(ref))}, list[Job], repeatable=False)


def _batches(new: list[Job], prefix: str) -> Iterator[tuple[list[Job], list[bytes]]]:
    """Yield jobs in groups that fit a message, with the JSON of each; they get an idempotency key if they have none."""
    group: list[Job] = []
    data: list[bytes] = []
    size = 0
    for place, job in enumerate(new):
        fields = plain(job)
        if prefix and not job.idempotency_key:
            fields["idempotency_key"] = f"{prefix}-{place}"
        encoded = msgspec.json.encode(fields)
        if group and (len(group) >= JOBS_A_CALL or size + len(encoded) > BYTES_A_CALL):
            yield group, data
            group, data, size = [], [], 0
        group.append(job)
        data.append(encoded)
        size += len(encoded)
    if group:
        yield group, data


def is_read(method: str) -> bool:
    """Return whether a method only looks, so that it may be called again though it may have arrived."""
    return method.endswith((".get", ".list", ".audit"))


def plain(job: Job) -> dict[str, Any]:
    """Return a new job as `job.submit` takes it."""
    fields = {name: value for name in _PLAIN if (value := getattr(job, name)) is not None}
    return fields | {"run_at": job.time_scheduled}


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _named(circle_id: str, topic: str) -> dict[str, str]:
    queue = Queue.of(circle_id, topic)
    return {"circle_id": queue.circle, "topic": queue.topic}


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)
