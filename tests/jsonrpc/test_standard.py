"""The examples that the JSON-RPC 2.0 specification prints, and the points that implementations get wrong."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from herojobs.jsonrpc import Dispatcher, Methods

methods = Methods()
told: list[Any] = []


@methods.method("subtract")
async def subtract(minuend: int, subtrahend: int) -> int:
    return minuend - subtrahend


@methods.method("update")
def update(a: int = 0, b: int = 0, c: int = 0, d: int = 0, e: int = 0) -> None:
    told.append((a, b, c, d, e))


@methods.method("sum")
def total(a: int, b: int, c: int) -> int:
    return a + b + c


@methods.method("notify_hello")
def notify_hello(n: int) -> None:
    told.append(n)


@methods.method("notify_sum")
def notify_sum(a: int, b: int, c: int) -> None:
    told.append((a, b, c))


@methods.method("get_data")
async def get_data() -> list[Any]:
    return ["hello", 5]


@methods.method("broken")
def broken() -> None:
    raise KeyError("a secret of the inside")


dispatcher: Dispatcher[None] = Dispatcher(methods)


async def answer(text: str | bytes) -> Any:
    data = await dispatcher.answer(text if isinstance(text, bytes) else text.encode(), None)
    if data is None:
        return None
    return msgspec.json.decode(data)


def error(code: int, message: str, id: Any = None) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "error": {"code": code, "message": message}, "id": id}


EXAMPLES = [
    (
        '{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}',
        {"jsonrpc": "2.0", "result": 19, "id": 1},
    ),
    (
        '{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}',
        {"jsonrpc": "2.0", "result": -19, "id": 2},
    ),
    (
        '{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}',
        {"jsonrpc": "2.0", "result": 19, "id": 3},
    ),
    (
        '{"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 4}',
        {"jsonrpc": "2.0", "result": 19, "id": 4},
    ),
    ('{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}', None),
    ('{"jsonrpc": "2.0", "method": "foobar"}', None),
    ('{"jsonrpc": "2.0", "method": "foobar", "id": "1"}', error(-32601, "Method not found", "1")),
    ('{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', error(-32700, "Parse error")),
    ('{"jsonrpc": "2.0", "method": 1, "params": "bar"}', error(-32600, "Invalid Request")),
    (
        '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"}, {"jsonrpc": "2.0", "method"]',
        error(-32700, "Parse error"),
    ),
    ("[]", error(-32600, "Invalid Request")),
    ("[1]", [error(-32600, "Invalid Request")]),
    ("[1,2,3]", [error(-32600, "Invalid Request")] * 3),
    (
        """[
        {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
        {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},
        {"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},
        {"foo": "boo"},
        {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
        {"jsonrpc": "2.0", "method": "get_data", "id": "9"}
    ]""",
        [
            {"jsonrpc": "2.0", "result": 7, "id": "1"},
            {"jsonrpc": "2.0", "result": 19, "id": "2"},
            error(-32600, "Invalid Request"),
            error(-32601, "Method not found", "5"),
            {"jsonrpc": "2.0", "result": ["hello", 5], "id": "9"},
        ],
    ),
    (
        """[
        {"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},
        {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}
    ]""",
        None,
    ),
]


@pytest.mark.parametrize(("sent", "expected"), EXAMPLES)
async def test_the_standards_own_example(sent: str, expected: Any) -> None:
    assert await answer(sent) == expected


async def test_members_of_answers_stand_in_the_order_that_the_standard_prints() -> None:
    sent = b'{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}'
    assert await dispatcher.answer(sent, None) == b'{"jsonrpc":"2.0","result":19,"id":1}'


async def test_notifications_run_though_nobody_hears_of_them() -> None:
    told.clear()
    await answer('{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}')
    await answer('{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5,6]}')
    await answer('{"jsonrpc": "2.0", "method": "broken"}')
    assert told == [(1, 2, 3, 4, 5)]


@pytest.mark.parametrize("id", ["null", '"x"', "0", "-1.50", "1e3", '""', "123456789012345678901234567890"])
async def test_an_id_comes_back_as_it_was_spelled(id: str) -> None:
    data = await dispatcher.answer(b'{"jsonrpc":"2.0","method":"get_data","id":%b}' % id.encode(), None)
    assert data == b'{"jsonrpc":"2.0","result":["hello",5],"id":%b}' % id.encode()


@pytest.mark.parametrize(
    "sent",
    [
        '{"method": "get_data", "id": 1}',
        '{"jsonrpc": "1.0", "method": "get_data", "id": 1}',
        '{"jsonrpc": 2.0, "method": "get_data", "id": 1}',
        '{"jsonrpc": "2.0", "id": 1}',
        '{"jsonrpc": "2.0", "method": null, "id": 1}',
        '{"jsonrpc": "2.0", "method": "get_data", "params": null, "id": 1}',
        '{"jsonrpc": "2.0", "method": "get_data", "params": 1, "id": 1}',
        '{"jsonrpc": "2.0", "method": "get_data", "id": {}}',
        '{"jsonrpc": "2.0", "method": "get_data", "id": [1]}',
        '{"jsonrpc": "2.0", "method": "get_data", "id": true}',
        '"text"', "1", "null", "{}", "[[]]", '{"jsonrpc": 1e999}',
    ],
)  # fmt: skip
async def test_what_is_no_request_is_answered_by_32600_with_id_null(sent: str) -> None:
    got = await answer(sent)
    (only,) = got if isinstance(got, list) else [got]
    hints = only["error"].pop("data", {})
    assert only == error(-32600, "Invalid Request")
    assert not hints or hints["hint"]


@pytest.mark.parametrize("sent", ["", " ", "{", "nul", '{"a":1} x', "[1,]", "[" * 5000, b"\xff", b'{"a":"\xc3"}'])
async def test_what_is_no_json_is_answered_by_32700_with_id_null(sent: str | bytes) -> None:
    assert await answer(sent) == error(-32700, "Parse error")


async def test_a_batch_may_be_100_long() -> None:
    call = '{"jsonrpc":"2.0","method":"get_data","id":1}'
    assert len(await answer(f"[{','.join([call] * 100)}]")) == 100
    assert (await answer(f"[{','.join([call] * 101)}]"))["error"]["code"] == 1008


async def test_an_internal_error_tells_a_number_that_the_log_has(caplog: pytest.LogCaptureFixture) -> None:
    data = await dispatcher.answer(b'{"jsonrpc":"2.0","method":"broken","id":1}', None)
    assert data is not None
    assert b"secret" not in data
    got = msgspec.json.decode(data)["error"]
    assert got["code"] == -32603
    assert got["data"]["id"] in caplog.text
    assert "a secret of the inside" in caplog.text
