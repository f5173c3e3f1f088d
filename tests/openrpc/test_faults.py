"""Services that hang, go away, answer rubbish or without end: each a clear error within the timeout."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from herojobs.errors import RpcError
from herojobs.openrpc.document import BrokenDocument, Document
from herojobs.openrpc.faults import Fault
from herojobs.openrpc.transport import ids_in, read
from herojobs.service_settings import Service
from openrpc.conftest import Calls, Peer, running_peer
from openrpc.tls import tls_servers

Make = Callable[..., Service]


@pytest.mark.parametrize(
    ("way", "behaviour", "code", "told"),
    [
        (way, behaviour, code, told)
        for behaviour, code, told in [
            ("hang", 2002, "No answer within 0.5 s"),
            ("garbage", 2003, "Bad answer: no JSON-RPC answer"),
            ("reset", 2001, "Unreachable: "),
            ("wrong-id", 2003, "the ids that came: 'another'"),
            ("null-id", -32600, "I do not understand"),
            ("both", 2003, "both result and error"),
        ]
        for way in ("http", "ws", "line")
    ]
    + [
        ("http", "drip", 2002, "No answer within 0.5 s"),
        ("line", "drip", 2002, "No answer within 0.5 s"),
        ("http", "huge", 2003, "longer than 1,000,000 bytes"),
        ("ws", "huge", 2003, "longer than 1,000,000 bytes"),
        ("line", "huge", 2003, "longer than 1,000,000 bytes"),
        ("http", "bomb", 2003, "longer than 1,000,000 bytes"),
        ("http", "claims-huge", 2003, "longer than 1,000,000 bytes"),
        ("http", "headers", 2001, "Unreachable: "),
        ("ws", "redirect", 2004, "redirect to 'http://169.254.169.254/latest/'"),
        ("ws", "status", 2001, "refused the connection with HTTP status 403"),
        ("http", "redirect", 2004, "redirect to 'http://169.254.169.254/latest/'"),
        ("http", "status/401", 2003, "HTTP status 401 Told; look at the headers of the service"),
        ("http", "status/404", 2003, "look at the path in its url"),
        ("http", "status/500", 2003, "HTTP status 500 Told"),
        ("http", "error-status", -32600, "I do not understand"),
    ],
)
async def test_a_fault_is_told_within_the_timeout(
    way: str, behaviour: str, code: int, told: str, calls: Calls, service: Make
) -> None:
    seconds = 0.5 if "0.5 s" in told or behaviour == "wrong-id" else 10.0
    bad = service(way, behaviour, timeout=seconds, retries=0, document="none", max_response=1_000_000)
    began = time.monotonic()
    answered = await calls.one(bad, "slow", [0])
    assert time.monotonic() - began < seconds + 15
    assert answered.error is not None
    if (way, behaviour) == ("ws", "wrong-id"):  # whose it is can't be known: several calls share the connection
        code, told = 2002, "1 answers to other ids came"
    assert answered.error.code == code
    assert told in answered.error.message
    assert answered.attempts == 1


@pytest.mark.parametrize("way", ["http", "line"])
async def test_endless_answers_take_no_memory(way: str, service: Make) -> None:
    """In a process of its own, whose peak is measured."""
    bad = service(way, "huge", document="none", retries=0, max_response=8_000_000)
    program = """
import asyncio, resource, sys, tempfile
from pathlib import Path
from herojobs.jsonrpc.methods import Methods
from herojobs.openrpc import CallContext, Caller, PythonMethods
from herojobs.settings import Service, load
async def main():
    caller = Caller(load({}, home=Path(tempfile.gettempdir()) / "none", services={"pets": Service(url=sys.argv[1],
        document="none", retries=0)}), PythonMethods(Methods()))
    async def call():
        try:
            await caller.call("pets", "echo", [1], CallContext("c/t/1", "c"))
        except Exception as e:
            return str(e)
    first = await call()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(4):
        assert await call() == first
    await caller.close()
    print(first, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
asyncio.run(main())
"""
    done = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, bad.url, stdout=subprocess.PIPE, env={**os.environ}
    )
    out, _ = await done.communicate()
    text, grown = out.decode().rsplit(" ", 1)
    assert text == "2003 Bad answer: it is longer than 8,388,608 bytes (max_response of the service)"
    assert int(grown) < 32_000  # kilobytes: no more than a few answers' worth


async def test_wrong_batches(calls: Calls, service: Make) -> None:
    for way in ("http", "line", "ws"):
        caller = calls.caller(service(way, "short-batch", document="none", retries=0))
        answers = await calls(caller, [{"method": "echo"}, {"method": "echo"}])
        assert {answer.error and answer.error.code for answer in answers} == {2003}
        caller = calls.caller(service(way, "null-id", document="none", retries=0))
        answers = await calls(caller, [{"method": "echo"}, {"method": "echo"}])
        assert {answer.error and answer.error.code for answer in answers} == {-32600}


async def test_notices_between_are_passed_over(calls: Calls, service: Make) -> None:
    for way in ("ws", "line"):
        assert (await calls.one(service(way, "notices", document="none"), "echo", [1])).result == b"1"


async def test_a_hanging_call_holds_up_no_other_on_the_same_websocket(calls: Calls, service: Make) -> None:
    caller = calls.caller(service("ws", document="none"))
    hanging = asyncio.create_task(calls(caller, {"method": "slow", "params": [60]}))
    assert (await calls(caller, {"method": "echo", "params": [1]}))[0].result == b"1"
    hanging.cancel()
    assert (await calls(caller, {"method": "echo", "params": [2]}))[0].result == b"2"


@pytest.mark.parametrize("way", ["http", "line", "ws"])
async def test_a_cancelled_call_closes_its_connection_at_once(
    way: str, calls: Calls, service: Make, peer: Peer
) -> None:
    key = "ws" if way == "ws" else "line" if way == "line" else "hang"
    before = peer.looked()[1].get(key, 0)
    caller = calls.caller(service(way, "hang", document="none", timeout=60.0))
    task = asyncio.create_task(calls(caller, {"method": "echo"}))
    while peer.looked()[1].get(key, 0) == before:
        await asyncio.sleep(0.01)
    closed = peer.looked()[1].get(f"{way}-closed", 0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    while peer.looked()[1].get(f"{way}-closed", 0) == closed:
        await asyncio.sleep(0.01)


async def test_a_million_wrong_values_hold_up_nobody(calls: Calls, service: Make) -> None:
    began = time.monotonic()
    answered = await calls.one(service(), "pets.add", {"pet": {"name": "x"}, "tags": [1] * 1_000_000})
    assert answered.error is not None
    assert answered.error.message == 'Invalid params: tags[0]: expected one of "cat", "dog", got 1'
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(("way", "other"), [("http", "ws"), ("ws", "http")])
async def test_a_service_of_another_protocol(way: str, other: str, calls: Calls, service: Make) -> None:
    wrong = msgspec.structs.replace(
        service(retries=0, document="none"), url=service(other).url.replace(f"{other}:", f"{way}:")
    )
    answered = await calls.one(wrong, "x")
    assert answered.error is not None
    assert answered.error.code in (2001, 2003)


async def test_a_service_that_is_killed_fails_its_calls_at_once(calls: Calls) -> None:
    with running_peer() as (doomed, process):
        tasks = []
        for way in ("http", "ws", "line", "unix"):
            caller = calls.caller(Service(url=doomed.url(way), document="none", timeout=60.0))
            tasks.append(asyncio.create_task(calls(caller, {"method": "slow", "params": [60]})))
        while sum(doomed.looked()[1].get(key, 0) for key in ("rpc", "ws", "line")) < 4:
            await asyncio.sleep(0.02)
        process.kill()
        async with asyncio.timeout(40):
            for (answered,) in await asyncio.gather(*tasks):
                assert answered.error is not None
                assert answered.error.code == 2001
                assert answered.attempts == 1  # it may have acted on the call, and slow isn't idempotent


# trying again


async def test_what_was_not_sent_is_tried_again_until_the_retries_are_used_up(calls: Calls) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}", "unix+line:/nowhere", "unix:/nowhere"):
        answered = await calls.one(Service(url=url, retries=1, document="none"), "x")
        assert answered.error is not None
        assert (answered.error.code, answered.attempts) == (2001, 2), url


async def test_no_retry_goes_past_the_deadline(calls: Calls) -> None:
    began = time.monotonic()
    caller = calls.caller(Service(url="unix:/nowhere", retries=20, document="none"))
    (answered,) = await calls(caller, {"method": "x"}, seconds=0.5)
    assert time.monotonic() - began < 60
    assert answered.error is not None
    assert answered.error.code == 2001


async def test_only_idempotent_methods_are_sent_twice(calls: Calls, service: Make, peer: Peer) -> None:
    reset = service("http", "reset", retries=1)
    for method, params, attempts in (("pets.list", None, 2), ("pets.add", {"pet": {"name": "x"}}, 1)):
        answered = await calls.one(reset, method, params)
        assert answered.error is not None
        assert (answered.error.code, answered.attempts) == (2001, attempts), method
    answered = await calls.one(
        service("http", "reset", retries=1, idempotent=("pets.*",)), "pets.add", {"pet": {"name": "x"}}
    )
    assert answered.attempts == 2


async def test_a_busy_service_is_asked_again_when_it_says(calls: Calls, service: Make) -> None:
    answered = await calls.one(service("http", "flaky/0"), "pets.list")
    assert (answered.error, answered.attempts) == (None, 3)
    answered = await calls.one(service("http", "flaky/0"), "pets.add", {"pet": {"name": "x"}})
    assert answered.error is not None
    assert (answered.error.code, answered.error.data, answered.attempts) == (2003, {"status": 503}, 1)
    began = time.monotonic()
    caller = calls.caller(service("http", "flaky/30"))
    (late,) = await calls(caller, {"method": "pets.list"}, seconds=2)  # 30 s would be past the deadline
    assert late.error is not None
    assert time.monotonic() - began < 28
    assert late.attempts == 1
    await calls.one(service("http", "flaky/0", document="none"), "x")


async def test_a_certificate_that_nobody_signed_is_refused_and_not_tried_again(calls: Calls) -> None:
    async with tls_servers("localhost") as (_, ports):
        for scheme, port in ports.items():
            answered = await calls.one(Service(url=f"{scheme}://localhost:{port}/", document="none"), "x")
            assert answered.error is not None
            assert answered.error.code == 2001
            assert "certificate" in answered.error.message
            assert answered.attempts == 1


# odd bytes


@settings(deadline=None)
@given(st.binary() | st.text().map(str.encode) | st.recursive(
    st.none() | st.booleans() | st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["jsonrpc", "id", "result", "error", "code", "message", "method", "x"]), inner))
    .map(msgspec.json.encode))  # fmt: skip
def test_whatever_bytes_come_they_are_an_answer_or_a_bad_one(data: bytes) -> None:
    for use in (lambda: read(data, ["a"]), lambda: ids_in(data)):
        try:
            use()
        except Fault as e:
            code = e.code
        else:
            continue
        assert code == 2003


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.recursive(
    st.none() | st.booleans() | st.sampled_from(["string", "object", "#/components/schemas/A", "a", "by-name"])
    | st.integers(-5, 5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["name", "params", "schema", "result", "type", "$ref", "required", "components", "schemas", "A",
                         "enum", "items", "properties", "pattern", "x-idempotent", "paramStructure"]), inner),
    max_leaves=20))  # fmt: skip
def test_whatever_a_document_says_calls_are_checked_or_it_is_broken(method: object) -> None:
    data = msgspec.json.encode({"methods": [method], "components": {"schemas": {"A": method}}})
    try:
        document = Document(data)
        for name, documented in document.methods.items():
            assert document.find(name) is documented
            documented.check_result({"a": 1})
            documented.check([1])
    except RpcError as e:
        code = e.code
    except BrokenDocument:
        return
    else:
        return
    assert code == -32602
