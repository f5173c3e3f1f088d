"""Writes the reference pages that are made from the code: docs/cli.md and docs/settings.md."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import typer

from herojobs.ai_settings import AISettings, Daily, LocalSettings, ModelSettings, Price
from herojobs.limits import Limit
from herojobs.retries import RetryPolicy
from herojobs.service_settings import Service
from herojobs.settings import PREFIX, Settings, Webhook, default_of, meanings

DOCS = Path(__file__).parent

TABLES = [
    ("Rules of retries", "Fields of a table `[retry.NAME]`, see [retries](retries.md).", RetryPolicy),
    ("Limits", "Fields of a table `[limit.NAME]`, see [limits](limits.md).", Limit),
    ("Tables of services", "Fields of a table `[services.NAME]`, see [OpenRPC](openrpc.md).", Service),
    ("Tables of webhooks", "Fields of a table `[webhooks.NAME]`, see [webhooks](webhooks.md).", Webhook),
    ("The table of AI jobs", "Fields of the table `[ai]`, see [AI jobs](ai.md).", AISettings),
    ("Tables of models", "Fields of a table `[ai.models.NAME]`.", ModelSettings),
    ("Prices of models", "Fields of `price` in such a table.", Price),
    ("Daily limits", "Fields of a table `[ai.daily.CIRCLE]`.", Daily),
    ("The local model", "Fields of the table `[ai.local]`.", LocalSettings),
]


def settings_page() -> str:
    told = meanings()
    lines = [
        "# Settings",
        "",
        f"A setting comes from the variable `{PREFIX}NAME`, else from `herojobs.toml` in the home folder, else it has",
        "its default.",
        "Lists are written with commas in variables, dictionaries as JSON. A name in the file that no setting has is",
        "an error, and so is a variable that is nearly a setting's. `herojobs settings` shows what is in force.",
        "",
    ]
    for field in msgspec.structs.fields(Settings):
        default = default_of(field)
        if isinstance(default, msgspec.Struct):
            default = ""
        shown = (
            "empty" if default in ("", (), {}) else f"`{str(default).lower() if default in (True, False) else default}`"
        )
        if default in (0, 1) and not isinstance(default, bool):
            shown = f"`{default}`"
        lines += [
            f"## {field.name}",
            "",
            told[field.name],
            "",
            f"Default: {shown}. Variable: `{PREFIX}{field.name.upper()}`.",
            "",
        ]
    for title, told_of, table in TABLES:
        lines += [f"## {title}", "", told_of, "", "| field | meaning | default |", "|---|---|---|"]
        told = meanings(table)
        for field in msgspec.structs.fields(table):
            shown = "must be given" if field.required else f"`{msgspec.json.encode(default_of(field)).decode()}`"
            lines.append(f"| `{field.name}` | {told[field.name]} | {shown} |")
        lines.append("")
    return "\n".join(lines)


def cli_page() -> str:
    from herojobs.cli.main import app

    root = typer.main.get_command(app)
    lines = [
        "# The command",
        "",
        "`herojobs COMMAND --help` shows the same. Options before the command: `--home`, `--redis-url`, and, to ask",
        "a server, `--url` and `--session-key` (docs/remote.md).",
        "",
        "| exit code | meaning |",
        "|---|---|",
        "| 0 | well; the job is done |",
        "| 1 | the job ended in error; `doctor` or `check` found a problem |",
        "| 2 | wrong usage or input |",
        "| 3 | no such job, queue or schedule |",
        "| 4 | Redis or the disk is in trouble |",
        "| 5 | the wait timed out |",
        "| 130 | interrupted |",
        "",
    ]
    for name, command in _commands(root):
        lines += [f"## herojobs {name}", "", (command.help or "").strip(), ""]
        rows = [
            _row(parameter)
            for parameter in command.params
            if parameter.name != "help" and not getattr(parameter, "hidden", False)
        ]
        if rows:
            lines += ["| | |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def _commands(group: Any, before: str = "") -> list[tuple[str, Any]]:
    found = []
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found += _commands(command, f"{before}{name} ")
        else:
            found.append((before + name, command))
    return found


def _row(parameter: Any) -> str:
    names = " ".join(f"`{name}`" for name in parameter.opts) if parameter.param_type_name == "option" else ""
    shown = names or f"`{parameter.metavar or parameter.name.upper()}`"
    return f"| {shown.replace('|', chr(92) + '|')} | {(parameter.help or '').replace('|', chr(92) + '|')} |"


def main() -> None:
    pages = {"settings.md": settings_page(), "cli.md": cli_page()}
    stale = [name for name, text in pages.items() if not (DOCS / name).exists() or (DOCS / name).read_text() != text]
    if "--check" in sys.argv:
        sys.exit(f"not up to date, run `make docs`: {', '.join(stale)}" if stale else 0)
    for name in stale:
        (DOCS / name).write_text(pages[name])
        print(f"wrote docs/{name}")


if __name__ == "__main__":
    main()
