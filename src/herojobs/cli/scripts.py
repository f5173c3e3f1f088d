"""Commands about scripts: which actors and functions there are, and whether a script is right; and small things."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec
import typer

from herojobs.cli import common
from herojobs.cli.common import Json, options
from herojobs.cli.submitting import content
from herojobs.errors import InvalidJob, SettingsError

if TYPE_CHECKING:
    from herojobs.settings import Settings

rhai_app = typer.Typer(help="About Rhai scripts.", no_args_is_help=True)

Actors = Annotated[list[str] | None, typer.Option("--actors", help="A module of actors; may be given more than once.")]


class Problem(NamedTuple):
    """What is wrong in a script, and where; `shown` is it as text, with the place underlined."""

    path: str
    line: int | None
    column: int | None
    message: str
    shown: str


def actors(
    name: Annotated[str | None, typer.Argument(help="One actor only.")] = None,
    module: Actors = None,
    json: Json = False,
) -> None:
    """List the actors that scripts may name, with their actions and help."""
    from herojobs.processors.heroscript import load_registry

    registry = load_registry(options.settings(actors=module))
    if name is not None and name not in registry:
        from herojobs.errors import did_you_mean

        raise InvalidJob("actor", name, "there is no such actor", did_you_mean(name, registry.actors))
    shown = [actor for actor in registry if name is None or actor.name == name]
    if json:
        common.print_json(
            [
                {
                    "actor": actor.name,
                    "doc": actor.doc,
                    "actions": [
                        {"name": each.full_name, "signature": each.signature, "doc": each.summary}
                        for each in actor.actions.values()
                    ],
                }
                for actor in shown
            ]
        )
        return
    out = common.console()
    for actor in shown:
        out.print(f"[bold]{actor.name}[/]  {actor.summary}")
        for action in actor.actions.values():
            out.print(f"  !!{action.signature}", markup=False)
            if action.summary:
                out.print(f"      {action.summary}", markup=False, style="dim")


def check(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="The script; - reads stdin.")],
    kind: Annotated[
        str | None, typer.Option("--type", help="heroscript or rhaiscript; guessed from the ending.")
    ] = None,
    module: Actors = None,
    json: Json = False,
) -> None:
    """Check a script without running it, and print all problems."""
    text = content(file)
    kind = kind or ("rhaiscript" if Path(file).suffix.lower() == ".rhai" else "heroscript")
    path = "" if file == "-" else file
    if kind == "heroscript":
        from herojobs.heroscript import check as check_script
        from herojobs.processors.heroscript import load_registry

        settings = options.settings(actors=module)
        found = check_script(
            text, load_registry(settings), include_root=settings.heroscript_include_root or None, path=path
        )
        problems = [Problem(each.path, each.line, each.column, each.message, each.show(text)) for each in found]
    elif kind == "rhaiscript":
        problems = _check_rhai(text, path)
    else:
        raise InvalidJob("type", kind, "can't be checked", "heroscript or rhaiscript")
    if json:
        common.print_json(
            [{name: value for name, value in each._asdict().items() if name != "shown"} for each in problems]
        )
    else:
        for problem in problems:
            print(problem.shown)
        if problems:
            print(f"{len(problems)} problem{'s' if len(problems) > 1 else ''}", file=sys.stderr)
        else:
            print("ok")
    if problems:
        raise typer.Exit(common.JOB_FAILED)


def _check_rhai(text: str, path: str) -> list[Problem]:
    try:
        import herojobs_rhai
    except ModuleNotFoundError:
        raise SettingsError("the Rhai engine isn't installed: pip install 'herojobs[rhai]'") from None
    try:
        herojobs_rhai.RhaiEngine().compile(text)
    except herojobs_rhai.RhaiError as e:
        place = f"{path}, " if path else ""
        mark = str(e).partition("\n")[2]
        shown = f"{place}line {e.line}, column {e.column}: {e.message}" + (f"\n{mark}" if mark else "")
        return [Problem(path, e.line, e.column, e.message, shown)]
    return []


@rhai_app.command("functions")
def functions(
    own: Annotated[bool, typer.Option("--own", help="Only HeroJobs' and yours, not Rhai's.")] = False,
    json: Json = False,
) -> None:
    """List the functions that a Rhai job may call."""
    from herojobs.processors.kinds import Processors, Unavailable

    processor = Processors(options.settings()).get("rhaiscript")
    if isinstance(processor, Unavailable):
        raise SettingsError(processor.why)
    found = [each for each in processor.engine("").functions() if not own or each["origin"] == "python"]  # type: ignore[attr-defined]
    if json:
        common.print_json(found)
        return
    for each in found:
        print(each["signature"] + (f"   // {each['doc'].strip().splitlines()[0]}" if each["doc"].strip() else ""))


@rhai_app.callback()
def _rhai() -> None:
    """About Rhai scripts."""


def settings(json: Json = False) -> None:
    """Show the settings in force, and where each comes from."""
    from rich.markup import escape

    from herojobs.openrpc.services import shown_service
    from herojobs.settings import meanings

    in_force = options.settings()
    values = msgspec.structs.asdict(in_force)
    if in_force.redis_url:
        values["redis_url"] = common.shown_redis(in_force)
    values["services"] = {name: shown_service(service) for name, service in in_force.services.items()}
    sources = _sources(in_force)
    if json:
        common.print_json({name: {"value": value, "from": sources[name]} for name, value in values.items()})
        return
    told = meanings()
    made = common.table("setting", "value", "from", "meaning")
    for name, value in values.items():
        shown = (
            msgspec.json.encode(value, enc_hook=str).decode()
            if isinstance(value, tuple | dict | msgspec.Struct)
            else str(value)
        )
        style = None if sources[name] == "default" else "bold"
        meaning = told[name].partition(". ")[0].rstrip(".")
        made.add_row(name, escape(shown), sources[name], escape(meaning), style=style)
    common.console().print(made)


def _sources(in_force: Settings) -> dict[str, str]:
    """Return where each setting comes from: an option, a variable, the file, or its default."""
    import tomllib

    from herojobs.settings import PREFIX

    file = in_force.home / "herojobs.toml"
    in_file = tomllib.loads(file.read_text("utf-8")) if file.exists() else {}
    found = {}
    for name in in_force.__struct_fields__:
        if getattr(options, name, None) is not None:
            found[name] = f"--{name.replace('_', '-')}"
        elif PREFIX + name.upper() in os.environ:
            found[name] = PREFIX + name.upper()
        else:
            found[name] = file.name if name in in_file else "default"
    return found


def version() -> None:
    """Print the version."""
    from herojobs import __version__

    print(__version__)


COMMANDS: dict[str, Any] = {"actors": actors, "check": check, "settings": settings, "version": version}
