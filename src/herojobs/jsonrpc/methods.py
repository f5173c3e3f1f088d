"""Methods: Python functions with the name, parameters and documentation that callers see, made from their signature."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, get_type_hints

import msgspec

from herojobs.errors import RpcError, did_you_mean
from herojobs.jsonrpc.codes import Code
from herojobs.jsonrpc.messages import shown, shown_bytes

F = TypeVar("F", bound=Callable[..., Any])

UNKNOWN = "no such parameter"
_MEMBER = re.compile(r"Object (contains unknown|missing required) field `(.*)`$")
_PATH = re.compile(r" - at `\$(.*)`$")
_KINDS = {
    "str": "a string", "int": "an integer", "float": "a number", "bool": "true or false", "array": "an array",
    "object": "an object", "null": "null",
}  # fmt: skip


class Param(NamedTuple):
    """A parameter.

    Attributes:
        name: its name.
        type: its type, annotations included.
        required: whether it must be given.
        default: what counts if it isn't.
        text: what it means.
    """

    name: str
    type: Any
    required: bool
    default: Any
    text: str


class Example(NamedTuple):
    """A call that works.

    Attributes:
        params: its parameters by name.
        result: what it returns.
        name: what it shows.
    """

    params: Mapping[str, Any]
    result: Any
    name: str = "example"


class Method:
    """A function that can be called by name.

    Args:
        name: the name.
        function: what runs, a coroutine function or a plain one. Its docstring is the documentation: the first line
            the summary, the entries of `Args:` the parameters' texts.
        role: what the caller must be to call it; means something to `Dispatcher`'s `check` alone.
        errors: codes of the errors it may answer, besides those that any method may.
        example: a call that works.
        result: type of the result, where the annotation doesn't tell what the caller sees.
        takes_context: whether the function's first argument is the context of the call.
        changes: whether it changes anything.
        aliases: other names by which parameters may be given.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        role: int | None = None,
        errors: Sequence[int] = (),
        example: Example | None = None,
        result: Any = None,
        takes_context: bool = False,
        changes: bool = False,
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.function = function
        self.role = role
        self.errors = tuple(errors)
        self.example = example
        self.takes_context = takes_context
        self.changes = changes
        self._aliases = dict(aliases or {})
        self.summary, self.description, texts = _documentation(function)
        hints = get_type_hints(function, include_extras=True)
        self.result: Any = hints.get("return", Any) if result is None else result
        given = list(inspect.signature(function).parameters.values())[1 if takes_context else 0 :]
        self.params = tuple(
            Param(
                each.name,
                hints.get(each.name, Any),
                each.default is each.empty,
                None if each.default is each.empty else each.default,
                texts.get(each.name, ""),
            )
            for each in given
        )
        self._names = tuple(param.name for param in self.params)
        # A struct of all parameters: msgspec reads and checks them in one go. Names are given by the encoded name, as
        # a struct can't have fields of some names.
        self._struct: Any = msgspec.defstruct(
            "Params",
            [
                (f"p_{each.name}", each.type) if each.required else (f"p_{each.name}", each.type, each.default)
                for each in self.params
            ],
            rename={f"p_{each.name}": each.name for each in self.params},
            kw_only=True,
            forbid_unknown_fields=True,
        )
        self._decoder = msgspec.json.Decoder(self._struct)
        self._array = msgspec.json.Decoder(list[msgspec.Raw])

    def bind(self, params: bytes | None) -> dict[str, Any]:
        """Return the arguments for a call, by name, all of them.

        Args:
            params: JSON of an array or object, None if none were given.

        Raises:
            RpcError: -32602 that names every parameter which is wrong.
        """
        try:
            if params is None:
                made = self._decoder.decode(b"{}")
            elif params.startswith(b"{"):
                made = self._decoder.decode(params)
            else:
                made = self._decoder.decode(self._by_name(params))
        except msgspec.ValidationError:
            renamed = self._renamed(params)
            if renamed is not None:
                return self.bind(renamed)
            raise self._faults(params) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as e:
            raise RpcError(Code.INVALID_PARAMS, f"Invalid params: {e}", {"hint": str(e)}) from None
        return dict(zip(self._names, msgspec.structs.astuple(made), strict=True))

    def _renamed(self, params: bytes | None) -> bytes | None:
        """Return parameters with other names replaced by their own, None if there are none to replace."""
        if not self._aliases or params is None or not params.startswith(b"{"):
            return None
        given = msgspec.json.decode(params, type=dict[str, msgspec.Raw])
        if not any(other in given and name not in given for other, name in self._aliases.items()):
            return None
        return msgspec.json.encode({self._aliases.get(name, name): value for name, value in given.items()})

    def _by_name(self, params: bytes) -> bytes:
        values = self._array.decode(params)
        if len(values) > len(self._names):
            raise msgspec.ValidationError
        pairs = (b'"%b":%b' % (name.encode(), value) for name, value in zip(self._names, values, strict=False))
        return b"{%b}" % b",".join(pairs)

    def _faults(self, params: bytes | None) -> RpcError:
        """Look at each parameter by itself; return the error that tells all that is wrong."""
        faults: list[dict[str, Any]] = []
        given: dict[str, Any]
        if params is None:
            given = {}
        elif params.startswith(b"{"):
            given = msgspec.json.decode(params, type=dict[str, msgspec.Raw])
        else:
            values = self._array.decode(params)
            given = dict(zip(self._names, values, strict=False))
            most = len(self._names)
            faults += [
                {"field": str(place), "got": shown_value(value), "expected": f"at most {most} parameters"}
                for place, value in enumerate(values[most:], most)
            ]
        for param in self.params:
            if param.name not in given:
                if param.required:
                    faults.append({"field": param.name, "expected": expected(param.type), "got": "nothing"})
                continue
            try:
                msgspec.json.decode(given[param.name], type=param.type)
            except msgspec.ValidationError as e:
                faults.append(fault(param.name, given[param.name], e, param.type))
        for name in [name for name in given if name not in self._names]:
            hint = did_you_mean(name, self._names)
            faults.append({"field": name, "expected": UNKNOWN, "got": shown_value(given[name])})
            if hint:
                faults[-1]["hint"] = hint
        if not faults:  # a parameter that was given twice, once wrongly
            faults.append({"field": "params", "expected": "each parameter once", "got": shown_bytes(params or b"")})
        return invalid_params(faults)


class Methods:
    """A registry of methods, in the order in which they were added."""

    def __init__(self) -> None:
        self._methods: dict[str, Method] = {}

    def add(self, method: Method) -> None:
        """Add a method.

        Raises:
            ValueError: there is one of that name, or the name is kept for the protocol.
        """
        if method.name in self._methods:
            raise ValueError(f"there is a method {method.name!r} already")
        if method.name.startswith("rpc.") and method.name != "rpc.discover":
            raise ValueError(f"{method.name!r}: names that begin with rpc. are the protocol's")
        self._methods[method.name] = method

    def method(self, name: str, **options: Any) -> Callable[[F], F]:
        """Return a decorator that adds a function; options are those of `Method`."""

        def add(function: F) -> F:
            self.add(Method(name, function, **options))
            return function

        return add

    def get(self, name: str) -> Method | None:
        """Return a method, None if there is none of that name."""
        return self._methods.get(name)

    def find(self, name: str) -> Method:
        """Return a method.

        Raises:
            RpcError: there is none; the error names the nearest one.
        """
        method = self._methods.get(name)
        if method is None:
            hint = did_you_mean(name, self._methods)
            data = {"hint": hint} if hint.startswith("did") else None
            raise RpcError(Code.METHOD_NOT_FOUND, "Method not found", data)
        return method

    def __iter__(self) -> Iterator[Method]:
        return iter(self._methods.values())

    def __len__(self) -> int:
        return len(self._methods)


def invalid_params(faults: Sequence[Mapping[str, Any]]) -> RpcError:
    """Return the error -32602 for faults, each with `field`, `got`, `expected`, maybe `hint`.

    `data` holds the first fault's members, and all of them under `faults`.
    """
    told = "; ".join(f"{each['field']}: {_told(each)}" for each in faults)
    return RpcError(Code.INVALID_PARAMS, f"Invalid params: {told}", {**faults[0], "faults": list(faults)})


def _told(fault: Mapping[str, Any]) -> str:
    if fault["expected"] == UNKNOWN:
        return UNKNOWN + (f", {fault['hint']}" if "hint" in fault else "")
    return f"expected {fault['expected']}, got {fault['got']}"


def fault(field: str, value: Any, error: msgspec.ValidationError, wanted: Any = Any) -> dict[str, Any]:
    """Return what is wrong with a parameter.

    Args:
        field: its name.
        value: JSON of what was given.
        error: what msgspec said.
        wanted: its type.
    """
    text = str(error)
    path = found[1] if (found := _PATH.search(text)) else ""
    try:
        got: Any = msgspec.json.decode(value)
    except msgspec.ValidationError:  # a number that no float holds
        return {"field": field + path, "got": shown_bytes(value), "expected": "a number in range"}
    for step in re.findall(r"\[(\d+)\]|\.([^.\[]+)", path):
        try:
            got = got[int(step[0])] if step[0] else got[step[1]]
        except (KeyError, IndexError, TypeError, ValueError):
            break
    text = _PATH.sub("", text)
    if member := _MEMBER.match(text):  # of an object within the parameter
        name = f"{field}{path}.{member[2]}"
        if member[1] == "missing required":
            return {"field": name, "got": "nothing", "expected": "a value"}
        return {"field": name, "got": shown(got.get(member[2])), "expected": UNKNOWN}
    if text.startswith("Invalid enum value") and not path:
        return {"field": field, "got": shown(got), "expected": expected(wanted)}
    right = re.sub(r", got .*$", "", text).removeprefix("Expected ")
    right = re.sub(r"`([^`]*)`", lambda match: _kinds(match[1]), right, count=0 if right.startswith("`") else -1)
    return {"field": field + path, "got": shown(got), "expected": right[:1].lower() + right[1:]}


def _kinds(text: str) -> str:
    return " or ".join(_KINDS.get(kind, f"`{kind}`") for kind in text.split(" | "))


def expected(wanted: Any) -> str:
    """Return in words what a value of a type looks like."""
    return _words(msgspec.json.schema(wanted))


def _words(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_words(each) for each in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(shown(each) for each in schema["enum"])
    kind = schema.get("type", "object" if schema else "value")
    words = {"integer": "an integer", "boolean": "true or false", "array": "an array", "object": "an object"}
    return words.get(kind, "null" if kind == "null" else f"a {kind}")


def shown_value(value: Any) -> str:
    """Return JSON for an error's text, shortened."""
    return shown_bytes(value) if isinstance(value, msgspec.Raw) else shown(value)


def _documentation(function: Callable[..., Any]) -> tuple[str, str, dict[str, str]]:
    """Return the summary, the paragraphs that follow it, and the parameters' texts, from a google-style docstring."""
    text = inspect.getdoc(function) or ""
    summary, _, rest = text.partition("\n")
    before, _, arguments = rest.partition("Args:\n")
    before = re.split(r"^(?:Returns|Raises):$", before, flags=re.MULTILINE)[0]
    texts: dict[str, str] = {}
    name = ""
    for line in arguments.split("\n"):
        if line and not line.startswith(" "):
            break  # the next section
        if entry := re.match(r"    (\w+): (.*)", line):
            name = entry[1]
            texts[name] = entry[2]
        elif name and line.strip():
            texts[name] += " " + line.strip()
    return summary.strip(), " ".join(before.split()), texts
