"""An OpenRPC document: which methods a service has, and whether a call fits what the document says of it.

Source: https://spec.open-rpc.org, versions 1.2 to 1.4. Schemas are draft 7, with `components` at hand for `$ref`s;
nothing is ever fetched for one.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import jsonschema_rs
import msgspec
from jsonschema_rs import ValidationErrorKind as Kind

from herojobs.errors import RpcError
from herojobs.jsonrpc.codes import Code
from herojobs.jsonrpc.messages import shown

MOST_FAULTS = 50
"""Most faults that one error lists."""
SMALL = 16_384
"""Bytes of JSON up to which all faults are told; of more the first one is."""
NEAREST = 3
"""Most names that an error offers."""

_KINDS = {
    "string": "a string", "integer": "an integer", "number": "a number", "boolean": "true or false",
    "array": "an array", "object": "an object", "null": "null",
}  # fmt: skip

Value = Any


class BrokenDocument(ValueError):
    """A document that isn't one, or has a part that can't be understood."""


class Document:
    """A document; methods are looked into when they are first called.

    Args:
        data: its JSON.

    Raises:
        BrokenDocument: it is none.
    """

    def __init__(self, data: bytes) -> None:
        try:
            raw = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
            raise BrokenDocument(f"it is no JSON: {e}") from None
        if not isinstance(raw, dict) or not isinstance(raw.get("methods"), list):
            raise BrokenDocument('it has no list "methods"')
        self.raw: dict[str, Any] = raw
        self.methods: dict[str, DocumentedMethod] = {}
        for place, entry in enumerate(raw["methods"]):
            entry = self.resolved(entry)
            if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
                raise BrokenDocument(f"methods[{place}] has no name")
            self.methods[entry["name"]] = DocumentedMethod(self, entry)

    def resolved(self, value: Value) -> Value:
        """Return what a `$ref` within the document points to, or the value itself if it is none."""
        for _ in range(20):
            if not isinstance(value, dict) or not isinstance(value.get("$ref"), str):
                return value
            ref = value["$ref"]
            if not ref.startswith("#/"):
                raise BrokenDocument(f"the reference {ref!r} points outside")
            value = self.raw
            for step in ref[2:].split("/"):
                step = step.replace("~1", "/").replace("~0", "~")
                try:
                    value = value[int(step)] if isinstance(value, list) else value[step]
                except (KeyError, IndexError, TypeError, ValueError):
                    raise BrokenDocument(f"the reference {ref!r} points nowhere") from None
        raise BrokenDocument("a reference points to itself")

    def find(self, name: str) -> DocumentedMethod:
        """Return a method.

        Raises:
            RpcError: -32601 with the nearest names, if there is none.
        """
        found = self.methods.get(name)
        if found is None:
            raise unknown_method(name, self.methods)
        return found


class DocumentedMethod:
    """A method as the document describes it.

    Args:
        document: the document.
        entry: its method object.
    """

    def __init__(self, document: Document, entry: Mapping[str, Value]) -> None:
        self._document = document
        self._entry = entry
        self.name: str = entry["name"]
        self.summary = str(entry.get("summary") or "")
        self.description = str(entry.get("description") or "")
        self.idempotent = entry.get("x-idempotent") is True
        self._structure = entry.get("paramStructure", "either")
        self._params: tuple[jsonschema_rs.Draft7Validator, list[str]] | None = None
        self._result: jsonschema_rs.Draft7Validator | None = None
        self._result_known = False

    def schema(self) -> dict[str, Value]:
        """Return the JSON Schema of the params by name, without what its `$ref`s point to.

        Raises:
            BrokenDocument: a part of it can't be understood.
        """
        properties: dict[str, Value] = {}
        required: list[str] = []
        params = self._document.resolved(self._entry.get("params") or [])
        if not isinstance(params, list):
            raise BrokenDocument(f"params of {self.name} is no list")
        for place, param in enumerate(params):
            param = self._document.resolved(param)
            if not isinstance(param, dict) or not isinstance(param.get("name"), str):
                raise BrokenDocument(f"params[{place}] of {self.name} has no name")
            properties[param["name"]] = _described(param)
            if param.get("required") is True:
                required.append(param["name"])
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    def full_schema(self) -> dict[str, Value]:
        """Return the JSON Schema of the params by name, with the `components` that its `$ref`s point to."""
        components = self._document.raw.get("components")
        return self.schema() | ({"components": components} if isinstance(components, dict) else {})

    def check(self, params: Value, size: int = 0) -> None:
        """Check the params of a call.

        Args:
            params: None, a list or a dict.
            size: how many bytes of JSON they were; of large ones the first fault alone is told.

        Raises:
            RpcError: -32602 that tells all that is wrong.
            BrokenDocument: the document can't tell.
        """
        if self._params is None:
            schema = self.full_schema()
            self._params = _validator(schema, self.name), list(schema["properties"])
        validator, names = self._params
        faults: list[dict[str, Value]] = []
        if params and self._structure == "by-name" and isinstance(params, list):
            faults.append({"param": "", "path": "$", "got": shown(params), "expected": f"params by name: {names}"})
        elif params and self._structure == "by-position" and isinstance(params, dict):
            faults.append({"param": "", "path": "$", "got": shown(params), "expected": f"params by position: {names}"})
        elif isinstance(params, list):
            faults += [
                {"param": "", "path": f"$[{place}]", "got": shown(value), "expected": f"at most {len(names)} params"}
                for place, value in enumerate(params[len(names) :], len(names))
            ]
            params = dict(zip(names, params, strict=False))
        if not faults or isinstance(params, dict):
            try:
                faults += _faults(_errors(validator, params or {}, size), names)
            except ValueError as e:  # a number or nesting that the validator can't hold
                faults.append({"param": "", "path": "$", "got": shown(params), "expected": f"other values: {e}"})
        if faults:
            raise invalid_params(faults[:MOST_FAULTS])

    def check_result(self, result: Value, size: int = 0) -> str:
        """Return what is wrong with a result, empty if nothing is or the document doesn't say.

        Args:
            result: the result.
            size: how many bytes of JSON it was.

        Raises:
            BrokenDocument: the document can't tell.
        """
        if not self._result_known:
            described = self._document.resolved(self._entry.get("result"))
            if isinstance(described, dict) and "schema" in described:
                schema: dict[str, Value] = {"allOf": [described["schema"]]}
                if isinstance(components := self._document.raw.get("components"), dict):
                    schema["components"] = components
                self._result = _validator(schema, self.name)
            self._result_known = True
        if self._result is None:
            return ""
        try:
            return "; ".join(
                f"${_path(error.instance_path)}: expected {_expected(error)}, got {shown(error.instance)}"
                for error in _errors(self._result, result, size)[:NEAREST]
            )
        except ValueError as e:
            return f"it can't be checked: {e}"


def _described(param: Mapping[str, Value]) -> Value:
    """Return a param's schema with its description, which tells a model or a reader what it is for."""
    schema = param.get("schema", {})
    text = param.get("description") or param.get("summary")
    # In draft 7 whatever stands beside a $ref is ignored.
    if isinstance(schema, dict) and isinstance(text, str) and "description" not in schema and "$ref" not in schema:
        return {**schema, "description": text}
    return schema


def _validator(schema: dict[str, Value], name: str) -> jsonschema_rs.Draft7Validator:
    try:
        return jsonschema_rs.Draft7Validator(schema, offline=True)
    except (ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as e:
        raise BrokenDocument(f"a schema of {name} can't be used: {str(e).splitlines()[0]}") from None


def _errors(validator: jsonschema_rs.Draft7Validator, value: Value, size: int) -> list[jsonschema_rs.ValidationError]:
    """Return what is wrong with a value.

    The library finds all errors before it gives the first one, which takes seconds if each of a million items is wrong.
    """
    if validator.is_valid(value):
        return []
    if size <= SMALL:
        return list(validator.iter_errors(value))
    try:
        validator.validate(value)
    except jsonschema_rs.ValidationError as e:
        return [e]
    return []


def _faults(errors: Sequence[jsonschema_rs.ValidationError], names: Sequence[str]) -> list[dict[str, Value]]:
    faults = []
    for error in errors[:MOST_FAULTS]:
        path: list[str | int] = list(error.instance_path)
        got: Value = shown(error.instance)
        expected = _expected(error)
        missing, unexpected = getattr(error.kind, "property", ""), getattr(error.kind, "unexpected", ())
        if isinstance(error.kind, Kind.Required):
            path.append(missing)
            got, expected = "nothing", "a value"
        elif isinstance(error.kind, Kind.AdditionalProperties):
            for name in unexpected:
                near = difflib.get_close_matches(name, names, n=1) if not path else []
                told = f"no such param{f', did you mean {near[0]!r}?' if near else ''}"
                value = error.instance.get(name) if isinstance(error.instance, dict) else None
                at = [*path, name]
                faults.append({"param": str(at[0]), "path": f"${_path(at)}", "got": shown(value), "expected": told})
            continue
        param = str(path[0]) if path else ""
        faults.append({"param": param, "path": f"${_path(path)}", "got": got, "expected": expected})
    return faults


def _path(steps: Sequence[str | int]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)


def _expected(error: jsonschema_rs.ValidationError) -> str:
    """Return in words what a schema wanted."""
    kind = error.kind
    match kind:
        case Kind.Type(types=types):
            return " or ".join(_KINDS.get(each, each) for each in types)
        case Kind.Enum(options=options):
            values = options if isinstance(options, list) else [options]
            return "one of " + ", ".join(shown(value) for value in values)
        case Kind.Constant(expected_value=value):
            return shown(value)
        case Kind.Minimum(limit=limit):
            return f"at least {limit}"
        case Kind.Maximum(limit=limit):
            return f"at most {limit}"
        case Kind.MinLength(limit=limit):
            return f"at least {limit} characters"
        case Kind.MaxLength(limit=limit):
            return f"at most {limit} characters"
        case Kind.Pattern(pattern=pattern):
            return f"text like {pattern}"
        case Kind.Format(format=format):
            return f"text of format {format}"
        case Kind.Required(property=property):
            return f"a member {property!r}"
        case _:
            text = error.message
            return f"what {kind.name} says ({text[:200]})"


def invalid_params(faults: Sequence[Mapping[str, Value]]) -> RpcError:
    """Return the error -32602 that lists faults, each with `param`, `path`, `got` and `expected`."""
    told = "; ".join(_told(fault) for fault in faults[:NEAREST])
    more = f" (and {len(faults) - NEAREST} more)" if len(faults) > NEAREST else ""
    return RpcError(Code.INVALID_PARAMS, f"Invalid params: {told}{more}", list(faults))


def _told(fault: Mapping[str, Value]) -> str:
    name = str(fault["path"]).removeprefix("$").removeprefix(".")
    before = f"{name}: " if name else ""
    if str(fault["expected"]).startswith("no such"):
        return before + str(fault["expected"])
    return f"{before}expected {fault['expected']}, got {fault['got']}"


def unknown_method(name: str, known: Sequence[str] | Mapping[str, Value]) -> RpcError:
    """Return the error -32601 with the nearest names."""
    near = difflib.get_close_matches(name, list(known), n=NEAREST)
    hint = f"; did you mean {' or '.join(repr(each) for each in near)}?" if near else ""
    data = {"method": name, "nearest": near}
    return RpcError(Code.METHOD_NOT_FOUND, f"Method not found: {name!r}{hint}", data)
