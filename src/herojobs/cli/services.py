"""Commands about services that jobs of kind openrpc call: list, show, add, remove, refresh, call."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from herojobs.cli import common
from herojobs.cli.common import Json, options
from herojobs.errors import RpcError

if TYPE_CHECKING:
    from herojobs.client.services import ShownService
    from herojobs.openrpc import CallContext, Caller

T = TypeVar("T")

app = typer.Typer(help="Services that jobs of kind openrpc call.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The service.")]


@app.command("list")
def list_(json: Json = False) -> None:
    """List the services: those of the settings and those that were added."""
    with options.client() as hero:
        found = hero.services.list()
    if json:
        common.print_json({each.name: _fields(each) | {"origin": each.origin} for each in found})
        return
    made = common.table("name", "origin", "circles", "methods", "url")
    for each in found:
        made.add_row(each.name, each.origin, ", ".join(each.circles), ", ".join(each.methods), each.url)
    common.console().print(made if found else "no services yet; `herojobs service add NAME URL` adds one")


@app.command()
def show(name: Name, json: Json = False) -> None:
    """Show a service and the methods that its document has."""
    with _told(), options.client() as hero:
        service = hero.services.get(name)
    document = _document(service)
    if json:
        common.print_json({"name": name, **_fields(service), "openrpc": document})
        return
    out = common.console()
    for field, value in _fields(service).items():
        if value not in ({}, (), [], False):
            out.print(f"{field:<14}{_words(value)}", markup=False)
    if document is not None:
        made = common.table("method", "params", "what it does")
        for method in document["methods"]:
            made.add_row(str(method.get("name")), _params(method), str(method.get("summary", "")))
        out.print(made)


@app.command()
def add(
    name: Name,
    url: Annotated[str, typer.Argument(metavar="URL", help="http, https, ws, wss, unix:/path or unix+line:/path.")],
    document: Annotated[str | None, typer.Option(help="discover (default), a path, a URL, or none.")] = None,
    header: Annotated[
        list[str] | None, typer.Option(help="A header as Name=value or Name=env:VARIABLE; repeatable.")
    ] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds that one attempt may take.")] = None,
    retries: Annotated[int | None, typer.Option(help="Further attempts after one that failed.")] = None,
    idempotent: Annotated[
        list[str] | None, typer.Option(help="Pattern of methods that may be sent twice; repeatable.")
    ] = None,
    method: Annotated[list[str] | None, typer.Option(help="Pattern of methods allowed (all); repeatable.")] = None,
    circle: Annotated[
        list[str] | None, typer.Option("--circle", "-c", help="A circle that may call it (all); repeatable.")
    ] = None,
    concurrency: Annotated[int | None, typer.Option(help="Requests under way at once in a worker.")] = None,
    max_response: Annotated[int | None, typer.Option(help="Longest answer in bytes.")] = None,
    strict: Annotated[bool, typer.Option(help="A result that isn't as documented is an error.")] = False,
    redact: Annotated[list[str] | None, typer.Option(help="Member of params to mask in logs; repeatable.")] = None,
    json: Json = False,
) -> None:
    """Add a service, or change one that was added; running workers know it at once."""
    headers = {}
    for text in header or ():
        key, mark, value = text.partition("=")
        if not mark:
            common.fail(f"--header {text!r}: write Name=value", common.USAGE)
        headers[key] = value
    given = {
        "url": url,
        "document": document,
        "headers": headers,
        "timeout": timeout,
        "retries": retries,
        "idempotent": idempotent,
        "methods": method,
        "circles": circle,
        "concurrency": concurrency,
        "max_response": max_response,
        "strict": strict,
        "redact": redact,
    }
    with _told(), options.client() as hero:
        hero.services.set(name, {field: value for field, value in given.items() if value is not None})
        service = hero.services.get(name)
    found = _document(service)
    if json:
        common.print_json({"name": name, **_fields(service), "methods_found": _count(found)})
    else:
        print(f"added {name}" + ("" if found is None else f"; its document has {_count(found)} methods"))


@app.command()
def remove(name: Name, json: Json = False) -> None:
    """Remove a service that was added."""
    with options.client() as hero:
        hero.services.remove(name)
    if json:
        common.print_json({"removed": name})
    else:
        print(f"removed {name}")


@app.command()
def refresh(name: Name, json: Json = False) -> None:
    """Ask a service for its document anew; running workers use it from their next call on."""
    with _told(), options.client() as hero:
        document = _document(hero.services.get(name, refresh=True))
    if json:
        common.print_json(document)
    elif document is not None:
        print(f"the document of {name} has {_count(document)} methods")


@app.command()
def call(
    name: Name,
    method: Annotated[str, typer.Argument(metavar="METHOD", help="The method.")],
    params: Annotated[str, typer.Argument(metavar="[PARAMS]", help="JSON array or object; - reads it.")] = "",
    seconds: Annotated[float, typer.Option("--timeout", help="Seconds that it may take.")] = 30.0,
) -> None:
    """Call a method at once, without a job, and print its result as JSON."""
    import time

    import msgspec

    if options.url:
        common.fail("a call is made from here; over a server run a job: herojobs run --type openrpc", common.USAGE)
    text = sys.stdin.read() if params == "-" else params
    try:
        given = msgspec.json.decode(text) if text else None
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as e:
        common.fail(f"PARAMS {text[:60]!r}: no JSON: {e}", common.USAGE)
    if not isinstance(given, list | dict | None):
        common.fail(f"PARAMS {text[:60]!r}: write an array or an object", common.USAGE)

    async def make(caller: Caller, context: CallContext) -> Any:
        context.deadline = time.monotonic() + seconds
        return await caller.call(name, method, given, context, timeout=seconds)

    with _told():
        result = _run(make)
    common.print_json(result)


def _run(use: Callable[[Caller, CallContext], Awaitable[T]]) -> T:
    """Run something with a caller that tells on stderr what a job's log would hold."""
    from herojobs.jsonrpc.methods import Methods
    from herojobs.openrpc import ALL, CallContext, Caller, PythonMethods

    async def run() -> T:
        caller = Caller(options.settings(), PythonMethods(Methods()))
        try:
            return await use(caller, CallContext("command", ALL, lambda text: print(text, file=sys.stderr)))
        finally:
            await caller.close()

    return asyncio.run(run())


class _told:  # noqa: N801 - used like a function
    """Ends the command with the exit code that an error of a call means."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from herojobs.jsonrpc.codes import Code

        if isinstance(error, RpcError):
            unanswered = dict.fromkeys((Code.UNREACHABLE, Code.CALL_TIMEOUT, Code.BAD_ANSWER), common.TROUBLE)
            codes = unanswered | {Code.REFUSED_BY_GUARD: common.NOT_FOUND}
            common.fail(str(error), codes.get(error.code, common.JOB_FAILED))  # type: ignore[call-overload]


def _fields(service: ShownService) -> dict[str, Any]:
    """Return a service's settings, as far as who asks may see them."""
    few = {"url": service.url, "circles": service.circles, "methods": service.methods}
    return few if service.settings is None else service.settings


def _document(service: ShownService) -> dict[str, Any] | None:
    """Return a service's document; tell why if there is none."""
    if service.note:
        print(service.note, file=sys.stderr)
    found: dict[str, Any] | None = service.document
    return found


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {each}" for name, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _count(document: dict[str, Any] | None) -> int:
    return 0 if document is None else len(document["methods"])


def _params(method: dict[str, Any]) -> str:
    """Return the names of a method's params; those that may be left out with a question mark."""
    names = []
    for param in method.get("params") or ():
        if isinstance(param, dict) and "name" in param:
            names.append(str(param["name"]) + ("" if param.get("required") else "?"))
        else:
            names.append(str(param.get("$ref", "?")).rpartition("/")[2] if isinstance(param, dict) else "?")
    return ", ".join(names)
