"""Every method x every role x own and foreign circle. Made from the registry, so a new method is in it by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from herojobs.job import Job
from herojobs.jsonrpc import Dispatcher, Method, encode_request, read_answers
from herojobs.live.redis import BlockingRedis, run_sync
from herojobs.names import Queue
from herojobs.server import access
from herojobs.server.backend import Backend
from herojobs.server.caller import Caller
from herojobs.server.errors import translate
from herojobs.server.methods import METHODS
from herojobs.sessions import Role
from herojobs.settings import load

ANYBODY = {"rpc.discover", "session.open"}
"""Methods that need no session. Whoever adds one here says why: the document is public, and a session must begin."""
NOWHERE = {
    "event.unsubscribe", "job.new", "circle.list", "service.list", "service.get", "service.refresh", "service.set",
    "service.remove", "session.get",
    "session.list", "session.close", "session.create", "session.audit", "session.rotate",
    "session.revoke", "system.info", "system.health", "queue.paused",
    "limit.list", "limit.set", "limit.remove",
}  # fmt: skip
"""Methods that name no circle."""
CANARY = "their own business"
PAUSABLE = [Queue("theirs", topic) for topic in ("default", "unused", "older")]
UNAUTHORIZED, FORBIDDEN, NOT_FOUND = 1004, 1005, 1001


@pytest.fixture
async def backend(tmp_path: Path, redis_url: str) -> AsyncIterator[Backend]:
    async with Backend(load({}, home=tmp_path, redis_url=redis_url)) as opened:
        for circle in ("ours", "theirs"):
            jobs = [Job(params=CANARY if circle == "theirs" else "!!x", circle_id=circle, topic=topic)
                    for topic in ("default", "default", "default", "default", "unused", "older")]  # fmt: skip
            jobs = await opened.core.submit_many(jobs)
            await opened.core.cancel(jobs[0])
        yield opened


def key_for(backend: Backend, role: Role) -> str:
    return backend.sessions.create(role.word, () if role == Role.ADMIN else ["ours"], role)[1]


async def call(backend: Backend, method: Method, key: str, circle: str) -> tuple[Any, int]:
    """Make a method's own example call for a circle; return its result and error code, 0 = it went well."""
    example = msgspec.json.encode(method.example.params if method.example else {}).replace(b"demo", circle.encode())
    params = msgspec.json.decode(example)
    if "timeout" in params and method.name == "job.wait":
        params["timeout"] = 0
    dispatcher: Dispatcher[Caller] = Dispatcher(METHODS, check=access.check, translate=translate)
    answer = await dispatcher.answer(encode_request(method.name, params, 1), Caller(backend, key=key))
    assert answer is not None
    read = read_answers(answer)[0][0]
    return (read.value(), 0) if read.error is None else (None, read.error.code)


def kept(backend: Backend, redis_url: str) -> Any:
    """Return all that there is of the foreign circle, in OurDB and in Redis, and what is paused."""
    found: dict[str, Any] = {
        str(queue): [backend.store.history(queue, id) for id in range(1, 5) if backend.store.existing(queue, [id])]
        for queue in backend.store.queues()
        if queue.circle == "theirs"
    }
    redis = BlockingRedis(redis_url)
    for name in sorted(run_sync(redis.command("KEYS", "*theirs*"))):
        found[name.decode()] = run_sync(redis.command("DUMP", name))
    run_sync(redis.close())
    found["paused"] = [backend.core.rules.read().is_paused(queue) for queue in PAUSABLE]
    return found


def test_every_method_has_a_role_or_is_for_anybody() -> None:
    assert len(METHODS) > 30
    assert {method.name for method in METHODS if method.role is None} == ANYBODY
    assert all(method.role in list(Role) for method in METHODS if method.name not in ANYBODY)
    assert {method.name for method in METHODS} >= NOWHERE
    for method in METHODS:
        params = msgspec.json.encode(method.example.params if method.example else {})
        assert (b"demo" in params) == (method.name not in NOWHERE | ANYBODY), (
            f"{method.name}: the example must name the circle demo, or the method belongs to NOWHERE"
        )


def test_what_changes_something_is_no_viewers() -> None:
    assert not {m.name for m in METHODS if m.changes and (m.role is None or m.role < Role.SUBMITTER)}


@pytest.mark.parametrize("method", list(METHODS), ids=lambda method: method.name)
async def test_access(method: Method, backend: Backend, redis_url: str) -> None:
    role = method.role or 0
    theirs = kept(backend, redis_url)
    assert len(theirs) > 5
    for each in Role:
        key = key_for(backend, each)
        if each == Role.ADMIN:
            assert kept(backend, redis_url) == theirs  # nobody else has touched anything
            _, code = await call(backend, method, key, "theirs")
            assert code not in (FORBIDDEN, -32603)
            continue
        # With too low a role it is refused, whatever it is about.
        for circle in ("ours", "theirs") if each < role else ():
            assert await call(backend, method, key, circle) == (None, FORBIDDEN)
        if each < role:
            continue
        result, code = await call(backend, method, key, "ours")
        assert code not in (FORBIDDEN, -32603, -32601)
        assert code != UNAUTHORIZED or method.name == "session.open"  # its example shows no key
        assert CANARY.encode() not in msgspec.json.encode(result)
        result, code = await call(backend, method, key, "theirs")
        assert CANARY.encode() not in msgspec.json.encode(result)
        if method.name in NOWHERE | ANYBODY:
            assert b"theirs" not in msgspec.json.encode(result)
        elif code == 0:  # as if there were nothing: what it answers for a circle that isn't there
            nothing, none = await call(backend, method, key, "thairs")
            assert none == 0
            assert msgspec.json.encode(result).replace(b"theirs", b"thairs") == msgspec.json.encode(nothing)
        else:
            assert code in (FORBIDDEN, NOT_FOUND)
            assert (await call(backend, method, key, "thairs"))[1] == code  # the error doesn't tell that it is there


async def test_nobody_may_do_anything(backend: Backend) -> None:
    key = backend.sessions.create("gone", ["ours"], Role.OPERATOR)[1]
    backend.sessions.revoke("gone")
    for method in METHODS:
        for wrong in ("", key, "hjs_00000000_" + "0" * 64):
            if method.name == "rpc.discover":
                assert (await call(backend, method, wrong, "ours"))[1] == 0
            else:
                assert await call(backend, method, wrong, "ours") == (None, UNAUTHORIZED)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("job.submit_many", {"jobs": [{"params": "!!x", "circle_id": name} for name in ("ours", "theirs")]}),
        ("worker.claim", {"queues": ["ours/default", "theirs/default"], "n": 10}),
        ("worker.claim", {"queues": ["ours/default", "Theirs /default"], "n": 10}),
        ("job.set", {"job": {"circleid": " THEIRS", "params": "!!x"}}),
        ("job.set", {"job": {"jobid": 2, "circleid": "theirs", "params": "!!x"}}),
        ("job.list", {"circle_id": "Theirs"}),
        ("job.get", {"ref": " Theirs/default/1"}),
        ("job.get", {"guid": "theirs/default/1"}),
        ("queue.pause", {"circle_id": "théirs", "topic": "default"}),
        ("worker.finish", {"results": [{"ref": "ours/default/1", "token": "x", "result": "1"},
                                       {"ref": "theirs/default/2", "token": "x", "result": "1"}]}),
    ],
)  # fmt: skip
async def test_nothing_gets_through_beside_ones_own(
    name: str, params: dict[str, Any], backend: Backend, redis_url: str
) -> None:
    key = key_for(backend, Role.OPERATOR)
    before = kept(backend, redis_url)
    dispatcher: Dispatcher[Caller] = Dispatcher(METHODS, check=access.check, translate=translate)
    answer = await dispatcher.answer(encode_request(name, params, 1), Caller(backend, key=key))
    assert answer is not None
    assert CANARY.encode() not in answer
    assert kept(backend, redis_url) == before


async def test_a_submitter_changes_its_own_waiting_jobs_only(backend: Backend) -> None:
    dispatcher: Dispatcher[Caller] = Dispatcher(METHODS, check=access.check, translate=translate)
    roles = {"mine": "submitter", "other": "submitter", "op": "operator"}
    mine, other, operator = (backend.sessions.create(name, ["ours"], role)[1] for name, role in roles.items())

    async def change(key: str, job: dict[str, Any]) -> Any:
        answer = await dispatcher.answer(encode_request("job.set", {"job": job}, 1), Caller(backend, key=key))
        assert answer is not None
        return read_answers(answer)[0][0]

    job = (await change(mine, {"circleid": "ours", "params": "!!x"})).value()
    assert (await change(mine, job | {"params": "!!y"})).value()["params"] == "!!y"
    refused = (await change(other, job | {"params": "!!z"})).error
    assert refused is not None
    assert refused.code == FORBIDDEN
    assert (await change(operator, job | {"params": "!!z"})).value()["params"] == "!!z"
