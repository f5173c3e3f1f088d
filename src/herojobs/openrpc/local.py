"""Methods that are Python functions of the user's modules."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import traceback
import types
import typing
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from typing import Any, TypeVar

import msgspec

from herojobs.errors import RpcError, WorkerError
from herojobs.jsonrpc.codes import Code
from herojobs.jsonrpc.methods import Method, Methods
from herojobs.openrpc.context import CallContext, MethodInfo

ENTRY_POINTS = "herojobs.openrpc"
"""Group of the entry points through which other distributions add methods: a module or a function each."""

_MARK = "__herojobs_openrpc__"
F = TypeVar("F", bound=Callable[..., Any])


def method(name: str) -> Callable[[F], F]:
    """Return a decorator that makes a function callable by jobs of kind `openrpc`.

    Its parameters and their types are read from the signature, what it does and its parameters mean from the docstring.
    A first parameter annotated with `CallContext` gets the caller. A coroutine function shares the concurrent worker;
    a plain one has an exclusive worker to itself while it runs. Raise `RpcError` to answer with a code of your own.

    Args:
        name: the method's name, like `math.add`.

    Raises:
        ValueError: the name can't be a method's: it is empty, has a `:` in it or begins with `rpc.`.
    """
    if not name or ":" in name or name.startswith("rpc."):
        raise ValueError(f"{name!r} can't be a method's name: it must not be empty, contain ':' or begin with 'rpc.'")

    def mark(function: F) -> F:
        setattr(function, _MARK, name)
        return function

    return mark


def load_methods(modules: Iterable[str]) -> Methods:
    """Return the methods of modules, and those that installed distributions offer.

    Raises:
        WorkerError: a module doesn't import or has no method, a name is taken, or a signature can't be read.
    """
    methods = Methods()
    for name in modules:
        try:
            module = importlib.import_module(name)
        except Exception as e:  # a user's module may raise anything while it is imported
            raise WorkerError(f"the methods in {name!r} can't be imported: {type(e).__name__}: {e}") from e
        _add(methods, module, name)
    for point in entry_points(group=ENTRY_POINTS):
        try:
            found = point.load()
        except Exception as e:
            raise WorkerError(f"the methods of {point.value!r} can't be loaded: {type(e).__name__}: {e}") from e
        _add(methods, found, point.value)
    return methods


class PythonMethods:
    """Python methods as a `Caller` calls them.

    Args:
        methods: the methods.
        threads: whether plain functions run in a thread, so that they don't hold up the event loop; a thread can't be
            ended from outside.
    """

    def __init__(self, methods: Methods, *, threads: bool = True) -> None:
        self._methods = methods
        self._threads = threads

    def names(self, circle: str) -> list[str]:
        """Return the names of all methods."""
        return [method.name for method in self._methods]

    def infos(self, circle: str) -> list[MethodInfo]:
        """Return what a caller can know of each method."""
        return [MethodInfo("", each.name, each.summary, method_schema(each), False) for each in self._methods]

    def is_async(self, name: str, circle: str) -> bool:
        """Return whether a method is a coroutine function."""
        method = self._methods.get(name)
        return method is None or inspect.iscoroutinefunction(method.function)

    def check(self, method: str, params: bytes | None, circle: str) -> None:
        """Raise `RpcError` if params don't fit a method."""
        self._methods.find(method).bind(params)

    async def call(self, method: str, params: bytes | None, context: CallContext) -> bytes:
        """Call a method and return its result as JSON.

        Raises:
            RpcError: the params don't fit, or the function raised; its traceback goes to the log.
        """
        found = self._methods.find(method)
        values = found.bind(params)
        given = (context,) if found.takes_context else ()
        try:
            if inspect.iscoroutinefunction(found.function):
                result = await found.function(*given, **values)
            elif self._threads:
                result = await asyncio.to_thread(found.function, *given, **values)
            else:
                result = found.function(*given, **values)
            return msgspec.json.encode(result)
        except RpcError:
            raise
        except Exception as e:
            context.log("".join(traceback.format_exception(e)).rstrip())
            raise RpcError(Code.INTERNAL_ERROR, f"Internal error: {type(e).__name__}: {e}") from e


def method_schema(method: Method) -> dict[str, Any]:
    """Return the JSON Schema of a method's params by name."""
    schemas, components = msgspec.json.schema_components(
        [param.type for param in method.params], ref_template="#/components/schemas/{name}"
    )
    properties = {
        param.name: {**schema, "description": param.text} if param.text and "$ref" not in schema else schema
        for param, schema in zip(method.params, schemas, strict=True)
    }
    required = [param.name for param in method.params if param.required]
    made = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return made | ({"components": {"schemas": components}} if components else {})


def _add(methods: Methods, source: object, place: str) -> None:
    functions = list(vars(source).values()) if isinstance(source, types.ModuleType) else [source]
    marked = [each for each in functions if inspect.isfunction(each) and hasattr(each, _MARK)]
    if not marked:
        raise WorkerError(f"{place!r} has no function marked with @openrpc.method")
    for function in marked:
        name = getattr(function, _MARK)
        known = methods.get(name)
        if known is not None and known.function is function:
            continue  # seen in two modules
        try:
            methods.add(Method(name, function, takes_context=_takes_context(function)))
        except Exception as e:  # annotations may be anything
            raise WorkerError(f"the method {name!r} of {place!r}: {e}") from e


def _takes_context(function: Callable[..., Any]) -> bool:
    first = next(iter(inspect.signature(function).parameters), None)
    return first is not None and typing.get_type_hints(function).get(first) is CallContext
