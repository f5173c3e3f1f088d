"""Requests and answers as callers write and read them; bytes of any sort."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from herojobs.jsonrpc import (
    Dispatcher,
    Method,
    Methods,
    RpcError,
    encode_batch,
    encode_request,
    read_answers,
    read_requests,
)

methods = Methods()


@methods.method("echo")
def echo(value: Any, times: int = 1, names: list[str] | None = None) -> Any:
    return [value] * min(times, 3)


class Shape(msgspec.Struct, forbid_unknown_fields=True):
    sides: int


@methods.method("shape")
def shape(shapes: list[Shape]) -> int:
    return len(shapes)


@methods.method("pick")
def pick(colour: Literal["red", "blue"]) -> str:
    return colour


dispatcher: Dispatcher[None] = Dispatcher(methods)
json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


async def test_what_a_caller_writes_is_read_and_answered() -> None:
    sent = encode_batch(
        [encode_request("echo", ["x"], 1), encode_request("echo", {"value": 2}), encode_request("no", None, "b")]
    )
    requests, is_batch = read_requests(sent)
    assert is_batch
    assert [request.id for request in requests if not isinstance(request, RpcError)] == [b"1", None, b'"b"']
    data = await dispatcher.answer(sent, None)
    assert data is not None
    answers, is_batch = read_answers(data)
    assert is_batch
    assert [answer.id for answer in answers] == [1, "b"]
    assert answers[0].value() == ["x"]
    with pytest.raises(RpcError, match="-32601 Method not found"):
        answers[1].value()


@pytest.mark.parametrize(
    "data",
    [
        b"", b"x", b"1", b"{}", b'{"jsonrpc":"2.0","id":1}', b'{"jsonrpc":"2.0","id":1,"result":1,"error":{}}',
        b'{"jsonrpc":"2.0","id":1,"error":{"code":"x","message":""}}', b'{"jsonrpc":"1.0","id":1,"result":1}',
        b'{"jsonrpc":"2.0","id":[],"result":1}', b"[1]", b"\xff", b"[" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_answer_is_told(data: bytes) -> None:
    with pytest.raises(RpcError) as caught:
        read_answers(data)
    assert caught.value.code == 2003


async def fault_of(params: Any) -> dict[str, Any]:
    data = await dispatcher.answer(encode_request("echo", params, 1), None)
    assert data is not None
    error: dict[str, Any] = msgspec.json.decode(data)["error"]
    assert error["code"] == -32602
    return error


async def test_all_faults_come_at_once() -> None:
    error = await fault_of({"times": "x", "names": ["a", 1], "tims": 1})
    assert [each["field"] for each in error["data"]["faults"]] == ["value", "times", "names[1]", "tims"]
    assert error["message"] == (
        'Invalid params: value: expected a value, got nothing; times: expected an integer, got "x"; '
        "names[1]: expected a string, got 1; tims: no such parameter, did you mean 'times'?"
    )
    assert error["data"]["field"] == "value"


async def test_members_of_objects_are_named() -> None:
    data = await dispatcher.answer(encode_request("shape", [[{"sides": 3}, {"side": 4}]], 1), None)
    assert data is not None
    assert msgspec.json.decode(data)["error"]["message"] == "Invalid params: shapes[1].side: no such parameter"
    data = await dispatcher.answer(encode_request("shape", [[{}]], 1), None)
    assert data is not None
    assert b"shapes[0].sides: expected a value, got nothing" in data


async def test_choices_are_named() -> None:
    data = await dispatcher.answer(encode_request("pick", {"colour": "blu"}, 1), None)
    assert data is not None
    fault = msgspec.json.decode(data)["error"]["data"]["faults"][0]
    assert fault == {"field": "colour", "got": '"blu"', "expected": 'one of "blue", "red"'}


async def test_a_parameter_too_many_is_told_by_its_place() -> None:
    error = await fault_of([1, 2, [], 4])
    assert error["data"] | {"faults": 0} == {"field": "3", "got": "4", "expected": "at most 3 parameters", "faults": 0}


@pytest.mark.parametrize("params", [b'{"value":1,"times":"x","times":1}', b'{"value":1,"times":1e999}', b"[1,1e999]"])
async def test_odd_parameters_are_told(params: bytes) -> None:
    data = await dispatcher.answer(b'{"jsonrpc":"2.0","method":"echo","id":1,"params":%b}' % params, None)
    assert data is not None
    assert b"-32602" in data


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
async def test_any_bytes_give_an_error_or_nothing(data: bytes) -> None:
    answer = await dispatcher.answer(data, None)
    assert answer is None or b'"error"' in answer


@given(
    st.fixed_dictionaries(
        {}, optional={"jsonrpc": st.just("2.0") | json, "method": st.just("echo") | json, "params": json, "id": json}
    )
)
async def test_any_json_gives_an_answer_that_is_one(request: dict[str, Any]) -> None:
    answer = await dispatcher.answer(msgspec.json.encode(request), None)
    if answer is None:
        assert "id" not in request
    else:
        answers, _ = read_answers(answer)
        assert answers[0].error is None or answers[0].error.code in (-32600, -32601, -32602)


async def test_the_answers_of_a_batch_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is beyond is refused by itself, but for calls that changed something."""
    monkeypatch.setattr("herojobs.jsonrpc.dispatcher.MOST_ANSWERS", 5_000)
    large = Methods()
    large.add(Method("look", lambda: "x" * 2_000))
    large.add(Method("act", lambda: "x" * 2_000, changes=True))
    names = ["look", "look", "look", "act", "nothing"]
    batch = encode_batch([encode_request(name, None, number) for number, name in enumerate(names)])
    answer = await Dispatcher[None](large).answer(batch, None)
    assert answer is not None
    codes = [each.error.code if each.error else 0 for each in read_answers(answer)[0]]
    assert codes == [0, 0, 1008, 0, -32601]
