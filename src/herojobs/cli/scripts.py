"""Commands about scripts: which actors and functions there are, and whether a script is right; and small things."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from herojobs.cli import common
from herojobs.cli.common import Json, options
from herojobs.errors import InvalidJob, SettingsError

rhai_app = typer.Typer(help="About Rhai scripts.", no_args_is_help=True)

Actors = Annotated[list[str] | None, typer.Option("--actors", help="A module of actors; may be given more than once.")]


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
) -> None:
    """Check a script without running it, and print all problems."""
    text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    kind = kind or ("rhaiscript" if file.endswith(".rhai") else "heroscript")
    if kind == "heroscript":
        from herojobs.heroscript import check as check_script
        from herojobs.processors.heroscript import load_registry

        settings = options.settings(actors=module)
        problems = check_script(
            text, load_registry(settings), include_root=settings.heroscript_include_root or None, path=file
        )
        for problem in problems:
            print(problem.show(text))
        found = len(problems)
    elif kind == "rhaiscript":
        found = _check_rhai(text)
    else:
        raise InvalidJob("type", kind, "can't be checked", "heroscript or rhaiscript")
    if found:
        print(f"{found} problem{'s' if found > 1 else ''}", file=sys.stderr)
        raise typer.Exit(common.JOB_FAILED)
    print("ok")


def _check_rhai(text: str) -> int:
    try:
        import herojobs_rhai
    except ModuleNotFoundError:
        raise SettingsError("the Rhai engine isn't installed: pip install 'herojobs[rhai]'") from None
    try:
        herojobs_rhai.RhaiEngine().compile(text)
    except herojobs_rhai.RhaiError as e:
        print(e)
        return 1
    return 0


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
    """Show the settings in force."""
    from herojobs.settings import Settings, meanings

    values = msgspec.structs.asdict(options.settings())
    if "@" in values["redis_url"]:
        from herojobs.live.trouble import shown_address

        values["redis_url"] = shown_address(values["redis_url"])
    if json:
        common.print_json(values)
        return
    defaults = {field.name: field.default for field in msgspec.structs.fields(Settings)}
    told = meanings()
    made = common.table("setting", "value", "meaning")
    for name, value in values.items():
        changed = name != "home" and value != defaults[name]
        made.add_row(f"[bold]{name}[/]" if changed else name, str(value), told[name].partition(". ")[0])
    common.console().print(made)


def version() -> None:
    """Print the version."""
    from herojobs import __version__

    print(__version__)


COMMANDS: dict[str, Any] = {"actors": actors, "check": check, "settings": settings, "version": version}
