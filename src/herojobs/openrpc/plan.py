"""What the params of an `openrpc` job ask for: a call or several, and how to make them.

Two forms: a JSON-RPC request or batch (`{"method": "math.add", "params": [2, 3]}`), or an envelope, known by its
member `request`, that says more. `jsonrpc` and `id` may be left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import msgspec
from msgspec import Raw

from herojobs.errors import RpcError, did_you_mean
from herojobs.jsonrpc.codes import Code
from herojobs.jsonrpc.messages import shown_bytes
from herojobs.openrpc.position import place_of, place_of_fault

LONGEST_NAME = 1000
"""Most characters of a method's name, the service's before it included."""

_REQUEST = ("jsonrpc", "id", "method", "params")
_ENVELOPE = ("request", "service", "url", "timeout", "retries", "retry_on", "on_error", "notify", "strict")
_object = msgspec.json.Decoder(dict[str, Raw])
_array = msgspec.json.Decoder(list[Raw])

Path = tuple[str | int, ...]


class Call(NamedTuple):
    """One call.

    Attributes:
        service: the service's name; empty: a method of this process.
        method: the method.
        params: compact JSON of its array or object, None if it has none.
        id: JSON of the id that the answer shall have, None: one is made.
    """

    service: str
    method: str
    params: bytes | None
    id: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that a job asks for.

    Attributes:
        calls: the calls in order.
        is_batch: whether they were given as an array, so that the result is one.
        url: where they go, if no service is meant.
        timeout: seconds that one attempt may take; None: as the service says.
        retries: further attempts; None: as the service says.
        retry_on: error codes of answers that are worth another attempt.
        keep: whether the job is done though a call failed, with the errors in its result.
        notify: whether no answers are wanted.
        strict: whether a result that doesn't fit the document is an error; None: as the service says.
    """

    calls: tuple[Call, ...]
    is_batch: bool = False
    url: str = ""
    timeout: float | None = None
    retries: int | None = None
    retry_on: frozenset[int] = frozenset()
    keep: bool = False
    notify: bool = False
    strict: bool | None = None


def read_plan(text: str) -> Plan:
    """Return what a job's params ask for.

    Raises:
        RpcError: -32700 if it is no JSON, -32600 if it is no call; the message names line and column.
    """
    return _Reader(text).read()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text

    def read(self) -> Plan:
        try:
            data = self._text.encode()
            msgspec.json.decode(data, type=Raw)  # all of it is looked at before any part is
            if data.lstrip().startswith(b"["):
                return Plan(calls=self._batch(data, ()), is_batch=True)
            if not data.lstrip().startswith(b"{"):
                self._invalid((), f"expected a request, an array of requests or an envelope, got {shown_bytes(data)}")
            members = _members(data)
            if "request" in members:
                return self._envelope(members)
            if "method" not in members:
                self._only(members, (*_REQUEST, *_ENVELOPE), ())
                self._invalid((), 'it has neither "method", as a call, nor "request", as an envelope of calls')
            return Plan(calls=(self._call(members, ()),))
        except RecursionError:
            raise RpcError(Code.PARSE_ERROR, "Parse error: it is nested too deeply") from None
        except UnicodeEncodeError:
            raise RpcError(Code.PARSE_ERROR, "Parse error: a character that isn't Unicode") from None
        except msgspec.DecodeError as e:
            problem = str(e).removeprefix("JSON is malformed: ")
            line, column = place_of_fault(self._text, problem)
            told = problem.split(" (byte")[0].replace("Input data was truncated", "it ends too early")
            raise RpcError(
                Code.PARSE_ERROR,
                f"Parse error: line {line}, column {column}: {told}",
                {"line": line, "column": column, "problem": told},
            ) from None

    def _envelope(self, members: dict[str, bytes]) -> Plan:
        self._only(members, _ENVELOPE, ())
        service = self._value(members, "service", str, "the name of a service")
        url = self._value(members, "url", str, "a URL")
        if service is not None and url is not None:
            self._invalid(("url",), "there is a service already; give one of both")
        timeout = self._value(members, "timeout", float, "seconds, over 0")
        if timeout is not None and not (timeout > 0 and math.isfinite(timeout)):
            self._expected(("timeout",), "seconds, over 0", members["timeout"])
        retries = self._value(members, "retries", int, "a number from 0 to 20")
        if retries is not None and not 0 <= retries <= 20:
            self._expected(("retries",), "a number from 0 to 20", members["retries"])
        on_error = self._value(members, "on_error", str, '"fail" or "keep"')
        if on_error not in (None, "fail", "keep"):
            self._expected(("on_error",), '"fail" or "keep"', members["on_error"])
        request = members["request"]
        is_batch = request.startswith(b"[")
        target = service if service is not None else "" if url is not None else None
        calls = (
            self._batch(request, ("request",), target)
            if is_batch
            else (self._call(self._request(request, ("request",)), ("request",), target),)
        )
        return Plan(
            calls=calls,
            is_batch=is_batch,
            url=url or "",
            timeout=timeout,
            retries=retries,
            retry_on=frozenset(self._value(members, "retry_on", list[int], "a list of error codes") or ()),
            keep=on_error == "keep",
            notify=bool(self._value(members, "notify", bool, "true or false")),
            strict=self._value(members, "strict", bool, "true or false"),
        )

    def _batch(self, data: bytes, path: Path, service: str | None = None) -> tuple[Call, ...]:
        entries = _array.decode(data)
        if not entries:
            self._invalid(path, "the batch is empty")
        return tuple(
            self._call(self._request(bytes(entry), (*path, place)), (*path, place), service)
            for place, entry in enumerate(entries)
        )

    def _request(self, data: bytes, path: Path) -> dict[str, bytes]:
        if not data.startswith(b"{"):
            self._expected(path, 'a request, like {"method": "math.add", "params": [2, 3]}', data)
        return _members(data)

    def _call(self, members: dict[str, bytes], path: Path, service: str | None = None) -> Call:
        self._only(members, _REQUEST, path)
        if "jsonrpc" in members and members["jsonrpc"] != b'"2.0"':
            self._expected((*path, "jsonrpc"), '"2.0"', members["jsonrpc"])
        if "method" not in members:
            self._invalid(path, '"method" is missing')
        method = self._value(members, "method", str, "the name of a method", path)
        if not method or len(method) > LONGEST_NAME:
            right = f"the name of a method, at most {LONGEST_NAME:,} characters"
            self._expected((*path, "method"), right, members["method"])
        params = members.get("params")
        if params is not None and params[:1] not in (b"[", b"{"):
            self._expected((*path, "params"), "an array or an object", params)
        id = members.get("id")
        if id is not None and id[:1] not in b'"-0123456789n':
            self._expected((*path, "id"), "a string, a number or null", id)
        if service is None:
            service, colon, name = method.partition(":")
            service, method = (service, name) if colon else ("", service)
            if colon and not (service and method):
                self._expected((*path, "method"), "service:method", members["method"])
        return Call(
            service,
            method,
            None if params is None else msgspec.json.format(params, indent=-1),
            id,
        )

    def _value(self, members: dict[str, bytes], name: str, kind: Any, right: str, path: Path = ()) -> Any:
        if name not in members:
            return None
        try:
            return msgspec.json.decode(members[name], type=kind)
        except msgspec.ValidationError:
            self._expected((*path, name), right, members[name])

    def _only(self, members: Iterable[str], known: Sequence[str], path: Path) -> None:
        for name in members:
            if name not in known:
                self._invalid((*path, name), f"no such member; {did_you_mean(name, known)}")

    def _expected(self, path: Path, right: str, got: bytes) -> NoReturn:
        self._invalid(path, f"expected {right}, got {shown_bytes(got)}")

    def _invalid(self, path: Path, problem: str) -> NoReturn:
        line, column = place_of(self._text, path)
        name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")
        raise RpcError(
            Code.INVALID_REQUEST,
            f"Invalid Request: line {line}, column {column}: {name}{': ' if name else ''}{problem}",
            {"line": line, "column": column, "path": name, "problem": problem},
        )


def _members(data: bytes) -> dict[str, bytes]:
    return {name: bytes(value) for name, value in _object.decode(data).items()}
