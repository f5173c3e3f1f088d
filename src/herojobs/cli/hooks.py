"""The command about webhooks and hooks: who was told what."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from herojobs.cli import common
from herojobs.cli.common import Json, options


def webhooks(
    resend: Annotated[bool, typer.Option("--resend", help="Try again what was given up.")] = False,
    json: Json = False,
) -> None:
    """Show how far webhooks and hooks have been told what becomes of jobs."""
    from herojobs.hooks.outbox import Outbox, TargetState, outbox_path

    settings = options.settings()
    path = outbox_path(settings.home)
    states = []
    resent = 0
    if path.exists():
        outbox = Outbox(path)
        if resend:
            resent = outbox.resend()
        states = outbox.states()
        outbox.close()
    told = {state.target for state in states}
    states += [TargetState(name, 0, 0, 0, "") for name in settings.webhooks if name not in told]
    if json:
        common.print_json({"resent": resent, "targets": states} if resend else states)
        return
    if resend:
        print(f"{resent:,} are tried again")
    made = common.table("target", "waiting", "sent lately", "given up", "latest error")
    for state in sorted(states):
        made.add_row(state.target, f"{state.waiting:,}", f"{state.sent:,}", f"{state.failed:,}", state.error)
    common.console().print(made if states else "no webhook is set; see docs/webhooks.md")


COMMANDS: dict[str, Any] = {"webhooks": webhooks}
