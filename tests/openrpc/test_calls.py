"""Calls of a service in another process, over every transport."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import msgspec
import pytest

from herojobs.errors import RpcError
from herojobs.openrpc import ALL
from herojobs.openrpc.document import DocumentedMethod
from herojobs.service_settings import Service
from openrpc.conftest import Calls, Peer

WAYS = ("http", "ws", "unix", "line")
Make = Callable[..., Service]


@pytest.mark.parametrize("way", WAYS)
async def test_a_call_and_a_batch_are_answered(way: str, calls: Calls, service: Make) -> None:
    caller = calls.caller(service(way))
    (only,) = await calls(caller, {"method": "pets.get", "params": [1]})
    assert (json.loads(only.result), only.error, only.attempts) == ({"id": 1, "name": "Tom"}, None, 1)
    batch = [{"method": "pets.get", "params": {"id": id}} for id in (1, 999, 1)]
    answers = await calls(caller, batch)
    assert [answer.error and answer.error.code for answer in answers] == [None, 404, None]
    assert answers[1].error is not None
    assert answers[1].error.data == {"id": 999}
    assert await calls(caller, {"method": "pets.note", "params": ["x"]}, notify=True)
    assert await caller.call("pets", "pets.get", [1], calls.context()) == {"id": 1, "name": "Tom"}
    assert any("pets pets.get, attempt 1: " in line and " bytes out, " in line for line in calls.log)


@pytest.mark.parametrize("way", WAYS)
async def test_calls_of_many_jobs_run_at_once(way: str, calls: Calls, service: Make) -> None:
    caller = calls.caller(service(way, concurrency=100, document="none"))
    async with asyncio.timeout(50):  # one after another they take 60 s
        answers = await asyncio.gather(
            *(calls(caller, {"method": "slow", "params": [1.5, number]}) for number in range(40))
        )
    assert [json.loads(answer.result) for (answer,) in answers] == list(range(40))


async def test_concurrency_is_bounded_by_the_setting(calls: Calls, service: Make) -> None:
    caller = calls.caller(service(concurrency=2, document="none"))
    began = asyncio.get_running_loop().time()
    await asyncio.gather(*(calls(caller, {"method": "slow", "params": [0.1]}) for _ in range(6)))
    assert asyncio.get_running_loop().time() - began >= 0.29


async def test_one_websocket_serves_all_jobs_and_is_opened_again(calls: Calls, service: Make, peer: Peer) -> None:
    before = peer.looked()[1].get("ws-connections", 0)
    caller = calls.caller(service("ws", document="none", headers={"X-Tenant": "t"}))
    await asyncio.gather(*(calls(caller, {"method": "echo", "params": [1]}) for _ in range(5)))
    seen, counts = peer.looked()
    assert counts["ws-connections"] == before + 1
    assert seen[-1]["headers"]["x-tenant"] == "t"
    transport = caller._peers["pets"].transport
    transport._connection.transport.abort()  # type: ignore[attr-defined]
    await asyncio.sleep(0)
    while transport._connection is not None:  # type: ignore[attr-defined]
        await asyncio.sleep(0.01)
    await calls(caller, {"method": "echo", "params": [1]})
    assert peer.looked()[1]["ws-connections"] == before + 2


async def test_what_is_sent_is_what_was_written(calls: Calls, service: Make, peer: Peer) -> None:
    params = '{"value": {"n": 12345678901234567890123, "x": 1.50, "é": "\\u00e9"}}'
    from herojobs.openrpc.plan import read_plan

    text = f'{{"service": "pets", "request": {{"method": "echo",\n "params": {params}, "id": 5}}}}'
    context = calls.context()
    caller = calls.caller(service(document="none"))
    (only,) = await caller.run(read_plan(text), context)
    sent = peer.looked()[0][-1]
    assert '"params":{"value":{"n":12345678901234567890123,"x":1.50,"é":"\\u00e9"}}' in sent["body"]
    assert json.loads(sent["body"])["id"] == f"{context.ref}#1"
    assert sent["headers"]["idempotency-key"] == context.ref
    assert sent["headers"]["content-type"] == "application/json"
    assert b"12345678901234567890123" in only.result
    assert only.call.id == b"5"


FAULTS = [
    ("pets.lst", None, -32601, "did you mean 'pets.list'"),
    ("pets.list", {"limit": 0}, -32602, "limit: expected at least 1, got 0"),
    ("pets.list", ["x"], -32602, 'limit: expected an integer, got "x"'),
    ("pets.list", [1, 2], -32602, "[1]: expected at most 1 params, got 2"),
    ("pets.list", {"limt": 1}, -32602, "limt: no such param, did you mean 'limit'?"),
    ("pets.get", None, -32602, "id: expected a value, got nothing"),
    ("pets.add", [{"name": "x"}], -32602, "params by name: ['pet', 'tags']"),
    ("pets.add", {"pet": {"name": "", "colour": 1}, "tags": ["cow"]}, -32602, 'tags[0]: expected one of "cat", "dog"'),
    ("pets.add", {"pet": {"name": 7}}, -32602, "pet.name: expected a string, got 7"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "params", "code", "told"), FAULTS)
async def test_faults_are_told_before_anything_is_sent(
    method: str, params: object, code: int, told: str, calls: Calls, service: Make, peer: Peer
) -> None:
    before = len(peer.looked()[0])
    answered = await calls.one(service(), method, params)
    assert answered.error is not None
    assert answered.error.code == code
    assert told in answered.error.message
    assert answered.attempts == 0
    assert len(peer.looked()[0]) == before


async def test_all_faults_come_in_one_error_with_their_paths(calls: Calls, service: Make) -> None:
    answered = await calls.one(service(), "pets.add", {"pet": {"name": 7, "age": "x"}, "tags": ["cow"], "more": 1})
    assert answered.error is not None
    assert {fault["path"] for fault in answered.error.data} == {"$.pet.name", "$.pet.age", "$.tags[0]", "$.more"}  # type: ignore[attr-defined]
    assert {"param": "pet", "path": "$.pet.name", "got": "7", "expected": "a string"} in answered.error.data  # type: ignore[operator]


async def test_schemas_are_compiled_once_for_a_document(
    calls: Calls, service: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []
    schema = DocumentedMethod.schema
    monkeypatch.setattr(DocumentedMethod, "schema", lambda self: compiled.append(self.name) or schema(self))
    caller = calls.caller(service())
    for _ in range(3):
        await calls(caller, {"method": "pets.list"})
    assert compiled == ["pets.list"]


async def test_a_broken_part_of_a_document_leaves_its_method_unchecked(calls: Calls, service: Make) -> None:
    answered = await calls.one(service(), "pets.broken", [1])
    assert answered.result == b"1"
    assert any("goes out unchecked" in line for line in calls.log)


async def test_a_result_that_is_not_as_documented_is_a_warning_or_an_error(calls: Calls, service: Make) -> None:
    answered = await calls.one(service(), "pets.odd")
    assert answered.result == b"5"
    assert any("warning: the result isn't as documented: $: expected a string, got 5" in line for line in calls.log)
    for more, strict in (({"strict": True}, {}), ({}, {"strict": True})):
        answered = await calls.one(service(**more), "pets.odd", **strict)
        assert answered.error is not None
        assert answered.error.code == 2003


async def test_the_document_is_asked_for_once_and_again_for_a_new_method(
    calls: Calls, service: Make, peer: Peer
) -> None:
    before = peer.looked()[1].get("discover", 0)
    caller = calls.caller(service())
    await asyncio.gather(*(calls(caller, {"method": "pets.list"}) for _ in range(10)))
    assert peer.looked()[1]["discover"] == before + 1
    known = caller._peers["pets"]
    for refresh_from, expected in ((float("inf"), -32601), (0.0, None)):
        known._refresh_from = refresh_from
        if expected is None:
            await calls.one(service("http", "rpc", document="none"), "grow")
        (answered,) = await calls(caller, {"method": "pets.new"})
        assert (answered.error and answered.error.code) == expected
    assert peer.looked()[1]["discover"] == before + 2
    assert known._document is not None
    assert json.loads((calls.home / "var/openrpc/documents/pets.json").read_text())["info"]["title"] == "Pets"


async def test_a_document_on_disk_serves_when_none_can_be_had(calls: Calls, service: Make) -> None:
    folder = calls.home / "var/openrpc/documents"
    folder.mkdir(parents=True)
    (folder / "pets.json").write_text('{"methods": [{"name": "only.this", "params": []}]}')
    service_gone = service("line", "rpc")
    gone = msgspec.structs.replace(service_gone, url="unix+line:/nowhere", retries=0)
    answered = await calls.one(gone, "pets.list")
    assert answered.error is not None
    assert answered.error.code == -32601
    assert any("an older one serves" in line for line in calls.log)
    assert (await calls.one(gone, "only.this")).error.code == 2001  # type: ignore[union-attr]


async def test_a_document_that_one_process_refreshes_is_seen_by_all(calls: Calls, service: Make, peer: Peer) -> None:
    one, other = calls.caller(service()), calls.caller(service())
    await calls(other, {"method": "pets.list"})
    known = other._peers["pets"]
    assert known._document is not None
    discovered = peer.looked()[1]["discover"]
    (calls.home / "var/openrpc/documents/pets.json").write_text('{"methods": []}')
    (answered,) = await calls(other, {"method": "pets.list"})
    assert answered.error is not None
    assert answered.error.code == -32601
    assert await one.document("pets", calls.context(circle=ALL), refresh=True) is not None
    (answered,) = await calls(other, {"method": "pets.list"})
    assert answered.error is None
    assert peer.looked()[1]["discover"] == discovered + 1


@pytest.mark.parametrize(
    ("document", "told"), [("no.json", "No such file"), ("bad.json", 'no list "methods"'), ("good.json", "")]
)
async def test_a_document_may_be_a_file(document: str, told: str, calls: Calls, service: Make) -> None:
    (calls.home / "bad.json").write_text("{}")
    (calls.home / "good.json").write_text('{"methods": [{"name": "echo", "params": []}]}')
    answered = await calls.one(service(document=document), "echo", [1] if told else None)
    if told:
        assert answered.error is not None
        assert answered.error.code == 2003
        assert told in answered.error.message
    else:
        assert answered.result == b"null"


async def test_a_document_may_be_a_url(calls: Calls, service: Make, peer: Peer) -> None:
    answered = await calls.one(service(document=peer.url("http", "openrpc.json")), "pets.lost")
    assert answered.error is not None
    assert answered.error.code == -32601
    assert peer.looked()[1]["fetched"]


async def test_without_a_document_calls_go_out_unchecked_and_the_log_tells(calls: Calls, service: Make) -> None:
    caller = calls.caller(service("http", "bare"))
    for number in (1, 2):
        (answered,) = await calls(caller, {"method": "pets.list", "params": {"limit": 1}})
        assert answered.error is None
        assert sum("has no document" in line for line in calls.log) == number, "each job's log tells"


async def test_only_allowed_methods_and_circles(calls: Calls, service: Make) -> None:
    allowed = service(methods=("pets.l*",), circles=("c",))
    assert (await calls.one(allowed, "pets.list")).error is None
    refused = (await calls.one(allowed, "pets.get", [1])).error
    assert refused is not None
    assert (refused.code, "none of the methods of service pets" in refused.message) == (2004, True)
    caller = calls.caller(allowed)
    with pytest.raises(RpcError, match=r"2004 .*no service 'pets' for circle d"):
        await caller.call("pets", "pets.list", [], calls.context(circle="d"))
    with pytest.raises(RpcError, match="did you mean 'pets'"):
        await caller.call("pest", "pets.list", [], calls.context())


async def test_methods_are_listed_with_their_schemas(calls: Calls, service: Make) -> None:
    caller = calls.caller(service(methods=("pets.add", "pets.get"), idempotent=("pets.add",)))
    found = await caller.methods("c", calls.context())
    assert [(each.service, each.name, each.idempotent) for each in found] == [
        ("pets", "pets.add", True), ("pets", "pets.get", True)
    ]  # fmt: skip
    assert found[0].schema["properties"]["tags"]["description"] == "What it is."
    assert found[0].schema["required"] == ["pet"]
    assert "NewPet" in found[0].schema["components"]["schemas"]
    assert await calls.caller(service(circles=("other",))).methods("c") == []


async def test_an_error_code_that_the_envelope_names_is_tried_again(calls: Calls, service: Make) -> None:
    bare = service(document="none")
    answered = await calls.one(bare, "busy", [2], retries=3, retry_on=[-32001])
    assert (answered.result, answered.attempts) == (b'"done"', 3)
    answered = await calls.one(bare, "busy", [2], retries=3)
    assert answered.error is not None
    assert (answered.error.code, answered.attempts) == (-32001, 1)
    await calls.one(bare, "busy", [0])


async def test_secrets_are_masked(calls: Calls, service: Make, monkeypatch: pytest.MonkeyPatch, peer: Peer) -> None:
    monkeypatch.setenv("PETS_TOKEN", 'Bearer canary-"123"')
    secret = service(
        "http", "echo-headers", headers={"Authorization": "env:PETS_TOKEN"}, document="none", redact=("pin",)
    )
    answered = await calls.one(secret, "pay", {"card": {"pin": [4711234]}})
    assert answered.error is not None
    told = json.dumps([answered.error.message, answered.error.data, calls.log])
    assert "canary" not in told
    assert "4711234" not in told
    assert "I saw ***" in told
    assert peer.looked()[0][-1]["headers"]["authorization"] == 'Bearer canary-"123"'
    monkeypatch.delenv("PETS_TOKEN")
    answered = await calls.one(secret, "pay", {})
    assert answered.error is not None
    assert "needs the variable PETS_TOKEN, which isn't set" in answered.error.message


async def test_calls_of_one_job_differ_by_id_and_idempotency_key(calls: Calls, service: Make, peer: Peer) -> None:
    for way in ("http", "ws"):
        caller = calls.caller(service(way, document="none"))
        context = calls.context()
        values = [1, 2, 1]
        made = [caller.call("pets", "slow", [0.05, value], context) for value in values]
        assert await asyncio.gather(*made) == values
        sent = peer.looked()[0][-3:]
        assert {json.loads(each["body"])["id"] for each in sent} == {f"{context.ref}#{n}" for n in (1, 2, 3)}
        if way == "http":
            keys = [each["headers"]["idempotency-key"] for each in sent]
            assert len(set(keys)) == 2
            assert all(key.startswith(f"{context.ref}-") for key in keys)


async def test_a_compressed_answer_is_read(calls: Calls, service: Make) -> None:
    assert (await calls.one(service("http", "gzip", document="none"), "echo", ["x" * 9999])).result[1:3] == b"xx"
