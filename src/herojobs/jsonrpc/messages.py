"""The messages: requests read and written, answers read and written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, Raw, UnsetType

from herojobs.errors import RpcError
from herojobs.jsonrpc.codes import Code

MAX_BATCH = 100
"""Most entries of a batch that is read."""

_SCALAR_IDS = b'"-0123456789n'
"""How the JSON of a valid id begins: a string, a number or null."""


class Request(NamedTuple):
    """A call that was received.

    Attributes:
        method: its method.
        params: JSON of its array or object, None if it has none.
        id: JSON of its id, as it was spelled; None makes it a notification, which nobody answers.
    """

    method: str
    params: bytes | None
    id: bytes | None


class Answer(NamedTuple):
    """An answer that was received: `error` is None, or `result` counts for nothing.

    Attributes:
        id: the id of the request; None where the other side couldn't tell it.
        result: JSON of the result.
        error: the error, if it is one.
    """

    id: str | int | float | None
    result: bytes
    error: RpcError | None

    def value(self) -> Any:
        """Return the result, or raise the error."""
        if self.error is not None:
            raise self.error
        return msgspec.json.decode(self.result)


class _Wire(msgspec.Struct):
    method: str
    jsonrpc: str
    params: Raw | UnsetType = UNSET
    id: Raw | UnsetType = UNSET


class _WireAnswer(msgspec.Struct):
    jsonrpc: str = ""
    id: str | int | float | None = None
    result: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET


class _WireError(msgspec.Struct):
    code: int
    message: str
    data: Any = None


_encoder = msgspec.json.Encoder()
_wire = msgspec.json.Decoder(_Wire)
_wire_answer = msgspec.json.Decoder(_WireAnswer)
_wire_error = msgspec.json.Decoder(_WireError)
_entries = msgspec.json.Decoder(list[Raw])
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read_requests(data: bytes, max_batch: int = MAX_BATCH) -> tuple[list[Request | RpcError], bool]:
    """Read what a client sent.

    Args:
        data: the message.
        max_batch: most entries of a batch.

    Returns:
        the calls in order, in the place of an invalid one its error; and whether they came as a batch.

    Raises:
        RpcError: nothing of it can be read: no JSON, an empty batch, or one that is too long.
    """
    try:
        data.isascii() or data.decode("utf-8")  # a Raw part isn't looked into, so this must come first
        if not data.lstrip(b" \t\r\n").startswith(b"["):
            return [_read(data)], False
        entries = _entries.decode(data)
    except _UNREADABLE:
        raise RpcError(Code.PARSE_ERROR, "Parse error") from None
    if not entries:
        raise RpcError(Code.INVALID_REQUEST, "Invalid Request")
    if len(entries) > max_batch:
        raise RpcError(
            Code.TOO_LARGE, "Too large", {"got": f"{len(entries)} calls", "expected": f"at most {max_batch}"}
        )
    return [_read(entry) for entry in entries], True


def _read(data: bytes | Raw) -> Request | RpcError:
    try:
        wire = _wire.decode(data)
    except msgspec.ValidationError:
        return _invalid(data)
    if wire.jsonrpc != "2.0":
        return _invalid(data)
    params = None if wire.params is UNSET else bytes(wire.params)
    if params is not None and params[0] not in b"[{":
        return _invalid(data)
    id = None if wire.id is UNSET else bytes(wire.id)
    if id is not None and id[0] not in _SCALAR_IDS:
        return _invalid(data)
    return Request(wire.method, params, id)


def _invalid(data: bytes | Raw) -> RpcError:
    """Return the error of a call that is JSON but no request; without an id it is as bare as the standard's."""
    try:
        value = msgspec.json.decode(data)
    except msgspec.ValidationError as e:
        return RpcError(Code.INVALID_REQUEST, "Invalid Request", {"hint": str(e)})
    if not isinstance(value, dict) or "id" not in value:
        return RpcError(Code.INVALID_REQUEST, "Invalid Request")
    wrong = []
    if value.get("jsonrpc") != "2.0":
        wrong.append(("jsonrpc", '"2.0"'))
    if not isinstance(value.get("method"), str):
        wrong.append(("method", "a string"))
    if "params" in value and not isinstance(value["params"], list | dict):
        wrong.append(("params", "an array or object, or no such member"))
    if "id" in value and (isinstance(value["id"], bool) or not isinstance(value["id"], str | int | float | None)):
        wrong.append(("id", "a string, a number or null"))
    hints = [
        f"{name}: expected {right}, " + (f"got {shown(value[name])}" if name in value else "it is missing")
        for name, right in wrong
    ]
    return RpcError(Code.INVALID_REQUEST, "Invalid Request", {"hint": "; ".join(hints)})


def encode_result(id: bytes, result: Any) -> bytes:
    """Return the answer to a call that went well."""
    return b'{"jsonrpc":"2.0","result":%b,"id":%b}' % (_encoder.encode(result), id)


def encode_error(id: bytes | None, error: RpcError) -> bytes:
    """Return the answer to a call that failed; no id if it couldn't be read."""
    told: dict[str, Any] = {"code": int(error.code), "message": error.message}
    if error.data is not None:
        told["data"] = error.data
    return b'{"jsonrpc":"2.0","error":%b,"id":%b}' % (_encoder.encode(told), b"null" if id is None else id)


def encode_request(method: str, params: Any = None, id: str | int | None = None) -> bytes:
    """Return a request, or a notification if no id is given.

    Args:
        method: the method.
        params: a list or tuple (by position), a dict or struct (by name), or None: it takes none.
        id: what the answer is to be known by.
    """
    told: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if params is not None:
        told["params"] = params
    if id is not None:
        told["id"] = id
    return _encoder.encode(told)


def encode_batch(messages: Iterable[bytes]) -> bytes:
    """Return encoded messages as one batch."""
    return b"[" + b",".join(messages) + b"]"


def read_answers(data: bytes) -> tuple[list[Answer], bool]:
    """Read what a server answered; return the answers in its order, and whether they came as a batch.

    Raises:
        RpcError: this is no JSON-RPC answer; its code is `Code.BAD_ANSWER`.
    """
    try:
        data.isascii() or data.decode("utf-8")
        if data.lstrip(b" \t\r\n").startswith(b"["):
            return [_answer(entry) for entry in _entries.decode(data)], True
        return [_answer(data)], False
    except _UNREADABLE as e:
        raise RpcError(Code.BAD_ANSWER, f"no JSON-RPC answer: {_why(e)}", {"got": shown_bytes(data)}) from None


def _answer(data: bytes | Raw) -> Answer:
    wire = _wire_answer.decode(data)
    has_result, has_error = wire.result is not UNSET, wire.error is not UNSET
    if has_result == has_error or wire.jsonrpc != "2.0":
        members = "both result and error" if has_result else "neither result nor error"
        problem = members if wire.jsonrpc == "2.0" else 'jsonrpc isn\'t "2.0"'
        raise RpcError(Code.BAD_ANSWER, f"no JSON-RPC answer: {problem}", {"got": shown_bytes(data)})
    if wire.error is UNSET:
        assert wire.result is not UNSET
        return Answer(wire.id, bytes(wire.result), None)
    error = _wire_error.decode(wire.error)
    return Answer(wire.id, b"null", RpcError(error.code, error.message, error.data))


def shown(value: Any) -> str:
    """Return a JSON value for an error's text: as JSON, shortened."""
    return shown_bytes(_encoder.encode(value))


def shown_bytes(data: bytes | Raw) -> str:
    """Return JSON for an error's text, shortened."""
    return bytes(memoryview(data)[:60]).decode("utf-8", "replace") + ("..." if len(data) > 60 else "")


def _why(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return str(error).replace("JSON is malformed: ", "")
