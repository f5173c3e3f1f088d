"""`herojobs ai ...`: models, asking one, what was used, installing what it needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from herojobs.cli import common, following, submitting
from herojobs.cli.common import Circle, Json, options
from herojobs.names import queue_name_fix

if TYPE_CHECKING:
    from herojobs.ai.models import Model
    from herojobs.live.usage import Used
    from herojobs.settings import Settings

ANSWER_WITHIN = 3.0
"""Seconds that a model has to say that it is there."""

app = typer.Typer(help="AI jobs: models, asking them, what they used.", no_args_is_help=True, rich_markup_mode=None)


class Listed(NamedTuple):
    """A model as `herojobs ai models` shows it."""

    name: str
    provider: str
    model: str
    address: str
    circles: tuple[str, ...]
    default: bool
    answers: bool | None
    state: str


@app.command()
def models(
    check: Annotated[bool, typer.Option(help="Ask each whether it answers.")] = True,
    json: Json = False,
) -> None:
    """List the models that jobs may name, and whether they answer from here."""
    from herojobs.ai.models import known

    settings = options.settings()
    with common.working("asking ..."):
        found = [_listed(model, settings, check) for model in known(settings.ai).values()]
    if json:
        common.print_json(found)
        return
    made = common.table("name", "provider", "model", "address", "circles", "answers")
    for each in found:
        name = f"{each.name} (default)" if each.default else each.name
        colour = {True: "green", False: "red", None: "yellow"}[each.answers]
        made.add_row(
            name, each.provider, each.model, each.address, ", ".join(each.circles), f"[{colour}]{each.state}[/]"
        )
    common.console().print(made)


@app.command()
def ask(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT|-", help="The prompt; - reads it from standard input.")],
    model: Annotated[str, typer.Option("--model", "-m", help="The model; default the one in the settings.")] = "",
    system: Annotated[str, typer.Option(help="Instructions before the prompt.")] = "",
    schema: Annotated[Path | None, typer.Option(help="File with the JSON Schema that the answer must fit.")] = None,
    tool: Annotated[list[str] | None, typer.Option("--tool", help="A tool it may call, or a pattern of them.")] = None,
    file: Annotated[
        list[Path] | None, typer.Option("--file", "-f", help="A text file that goes along as data.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens of the answer.")] = None,
    circle: submitting.CircleOr = "default",
    topic: submitting.TopicOr = "default",
    timeout: submitting.Timeout = 0,
    json: Json = False,
) -> None:
    """Ask a model by a job and print the answer; ends with 0 if there is one, with 1 if the job ended in error."""
    import msgspec

    text = sys.stdin.read() if prompt == "-" else prompt
    asked: dict[str, Any] = {"prompt": text, "model": model, "system": system, "tools": tool or []}
    asked |= {"max_tokens": max_tokens, "schema": None if schema is None else _json_file(schema)}
    asked["attachments"] = {path.name: _text_file(path) for path in file or ()}
    named = {name: value for name, value in asked.items() if value}
    params = msgspec.json.encode(named | {"prompt": text}).decode()
    live = sys.stdout.isatty() and not json and schema is None
    with options.client() as hero:
        job = hero.submit(params, params_type="ai", circle_id=circle, topic=topic, timeout=timeout, log=True)
        with following.hint_if_nobody_works(hero, job):
            try:
                for output in hero.follow(job):
                    if live:
                        sys.stdout.write(common.shown(output))
                        sys.stdout.flush()
                job = hero.wait(job)
            except KeyboardInterrupt:
                hero.cancel(job)
                raise
    if live and job.status == "done":
        return
    following.print_outcome(job, json)


@app.command()
def usage(
    circle: Circle = None,
    days: Annotated[int, typer.Option(min=1, max=400, help="Days back, today included.")] = 7,
    json: Json = False,
) -> None:
    """Show what circles have used, by day (UTC) and model."""
    from herojobs.live import usage as sums
    from herojobs.live.connect import connect_blocking
    from herojobs.live.transport import run_sync

    redis = connect_blocking(options.settings())
    try:
        wanted = [queue_name_fix(circle)] if circle else run_sync(sums.circles(redis))
        rows = [
            (day, name, model, used)
            for name in wanted
            for day, by_model in run_sync(sums.read(redis, name, days)).items()
            for model, used in sorted(by_model.items())
            if model != sums.ALL
        ]
    finally:
        run_sync(redis.close())
    rows.sort(key=lambda row: row[:3], reverse=True)
    if json:
        common.print_json([_usage(day.isoformat(), name, model, used) for day, name, model, used in rows])
        return
    made = common.table(
        "day", "circle", "model", "jobs", "requests", "sent", "cached", "received", "tool calls", "cost"
    )
    for day, name, model, used in rows:
        numbers = (used.jobs, used.requests, used.input, used.cached, used.output, used.tools)
        made.add_row(day.isoformat(), name, model, *(f"{number:,}" for number in numbers), _cost(used))
    common.console().print(made)
    if not rows:
        print(f"nothing was used in the last {days} days", file=sys.stderr)


@app.command()
def install(
    local: Annotated[bool, typer.Option(help="Also the model that runs on this machine.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
) -> None:
    """Install what AI jobs need into this environment; what is there already stays."""
    from herojobs.ai.install import steps

    todo = steps(local=local)
    if not todo:
        print("everything is there already")
        return
    for step in todo:
        print(f"{step.what}: about {step.download} MB to fetch, {step.disk} MB on disk")
        print(f"  {' '.join(step.command)}")
    sys.stdout.flush()
    for step in [] if dry_run else todo:
        done = subprocess.run(step.command, check=False)  # noqa: S603 - our own command, no shell
        if done.returncode:
            common.fail(f"{' '.join(step.command)} ended with code {done.returncode}", common.TROUBLE)
    if not dry_run:
        print("done; WatchDogs that run already must be started again")


def _listed(model: Model, settings: Settings, check: bool) -> Listed:
    answers, state = _state(model, settings) if check else (None, "not asked")
    address = model.base_url or ("this machine" if model.is_local else "the provider's own")
    return Listed(
        model.name,
        model.settings.provider,
        model.settings.name or ("SmolLM2 135M" if model.is_local and not settings.ai.local.weights else ""),
        address,
        model.settings.circles,
        model.name == settings.ai.model,
        answers,
        state,
    )


def _state(model: Model, settings: Settings) -> tuple[bool | None, str]:
    """Return whether a model answers, and what is known of it in words."""
    from herojobs.ai import local
    from herojobs.ai.failures import AIFailure
    from herojobs.ai.models import key_of

    if model.is_local:
        lacks = local.missing(settings)
        if lacks:
            return False, lacks
        return True, "runs" if local.running(settings.home) else "starts when a job needs it"
    try:
        key = key_of(model)
    except AIFailure as e:
        return False, e.text.partition(": ")[2]
    if not model.base_url:
        return None, "can't be asked from here"
    import httpx2

    try:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        answer = httpx2.get(f"{model.base_url.rstrip('/')}/models", headers=headers, timeout=ANSWER_WITHIN)
    except httpx2.HTTPError as e:
        return False, f"no: {type(e).__name__}"
    if answer.status_code in (401, 403):
        return False, f"refuses the key ({answer.status_code})"
    return (True, "yes") if answer.status_code < 400 else (False, f"no: HTTP {answer.status_code}")


def _json_file(path: Path) -> Any:
    import msgspec

    try:
        return msgspec.json.decode(path.read_bytes())
    except msgspec.DecodeError as e:
        common.fail(f"schema {path}: no JSON: {e}", common.USAGE)
    except OSError as e:
        common.fail(f"schema {path}: it can't be read: {e.strerror}", common.USAGE)


def _text_file(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        common.fail(f"file {path}: it isn't UTF-8 text", common.USAGE)
    except OSError as e:
        common.fail(f"file {path}: it can't be read: {e.strerror}", common.USAGE)


def _cost(used: Used) -> str:
    if used.usd is None:
        return "unknown"
    return f"{'at least ' if used.unpriced else ''}${used.usd:,.4f}"


def _usage(day: str, circle: str, model: str, used: Used) -> dict[str, Any]:
    return {
        "day": day, "circle": circle, "model": model, "jobs": used.jobs, "requests": used.requests,
        "input_tokens": used.input, "cached_tokens": used.cached, "output_tokens": used.output,
        "tool_calls": used.tools, "cost": used.usd, "currency": "USD", "requests_of_unknown_cost": used.unpriced,
    }  # fmt: skip
