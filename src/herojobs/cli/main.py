"""The command itself: global options, and errors turned into one line and an exit code."""

from __future__ import annotations

import os
import signal
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer
from typer._click.core import ParameterSource
from typer._click.exceptions import ClickException, NoArgsIsHelpError  # typer gives no other way to these two

from herojobs.cli import (
    ai,
    bench,
    chaos,
    databases,
    doctor,
    flows,
    hooks,
    jobs,
    prune,
    queues,
    remote,
    schedules,
    scripts,
    serve,
    server,
    services,
    sessions,
    submitting,
)
from herojobs.cli.common import INTERRUPTED, TROUBLE, USAGE, code_for, options, told

app = typer.Typer(
    name="herojobs",
    help="A job queue whose jobs are text: HeroScript, Rhai, OpenRPC calls and AI prompts.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (submitting, jobs, queues, serve, server, doctor, chaos, bench, scripts, hooks, flows, sessions, prune):
    for name, command in group.COMMANDS.items():
        app.command(name)(command)
app.add_typer(ai.app, name="ai")
app.add_typer(queues.limit_app, name="limit")
app.add_typer(databases.app, name="ourdb")
app.add_typer(schedules.app, name="schedule")
app.add_typer(services.app, name="service")
app.add_typer(sessions.app, name="session")
app.add_typer(scripts.rhai_app, name="rhai")


@app.callback()
def _global(
    context: typer.Context,
    home: Annotated[Path | None, typer.Option(help="Folder of all data (HEROJOBS_HOME, ~/hero).")] = None,
    redis_url: Annotated[str | None, typer.Option(help="Redis to use in place of the embedded one.")] = None,
    url: Annotated[
        str | None, typer.Option(envvar="HEROJOBS_URL", help="A server to ask: https://host:port, http+unix:///path.")
    ] = None,
    session_key: Annotated[
        str | None,
        typer.Option(envvar="HEROJOBS_SESSION_KEY", help="Who asks; better by the variable, which others can't read."),
    ] = None,
) -> None:
    os.environ.pop("HEROJOBS_SESSION_KEY", None)  # what we start, jobs above all, has no business with it
    options.home, options.redis_url = home, redis_url
    is_option = context.get_parameter_source("url") == ParameterSource.COMMANDLINE
    options.url = remote.server_for(context.invoked_subcommand, url, is_option)
    options.session_key = session_key or ""


def main() -> None:
    """Run the command; what a user can mend is told in one line on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal that can't show a letter shows its code
            stream.reconfigure(errors="backslashreplace")
    sys.path.insert(0, os.getcwd())  # modules of actors in the folder where the user stands
    try:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # modules are loaded, now we tell of a Ctrl-C
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = app(standalone_mode=False) or 0
    except typer.Exit as e:
        code = e.exit_code
    except NoArgsIsHelpError as e:
        print(e.format_message())
        code = USAGE
    except ClickException as e:
        print(f"error: {e.format_message()}", file=sys.stderr)
        code = USAGE
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except (BrokenPipeError, SystemExit) as e:
        # typer and rich make exit code 1 of a broken pipe, which here would tell that a job failed
        if isinstance(e, SystemExit) and not isinstance(e.__context__, BrokenPipeError):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads: end without a word
        code = TROUBLE
    except Exception as e:
        known = code_for(e)
        if known is None:
            raise
        print(f"error: {told(e)}", file=sys.stderr)
        code = known
    sys.exit(code if isinstance(code, int) else 0)
