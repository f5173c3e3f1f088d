"""Commands about queues."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from herojobs.cli import common
from herojobs.cli.common import Circle, Json, options
from herojobs.names import Queue


def queues(circle: Circle = None, json: Json = False) -> None:
    """Show the queues, and how many jobs wait, are scheduled, and run."""
    with options.client() as hero:
        common.check_names(hero, circle, None)
        found = hero.queues(circle)
    if json:
        common.print_json(found)
        return
    made = common.table("circle", "topic", "waiting", "scheduled", "running")
    for queue in found:
        made.add_row(queue.circle, queue.topic, *(f"{number:,}" for number in queue[2:]))
    common.console().print(made if found else "no queues yet; `herojobs submit` makes one")


def empty(
    queue: Annotated[str, typer.Argument(metavar="CIRCLE/TOPIC", help="The queue.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    json: Json = False,
) -> None:
    """Remove all waiting and scheduled jobs of a queue; they end with reason `removed`."""
    if queue.count("/") != 1:
        common.fail(f"{queue!r} is no queue; write circle/topic", common.USAGE)
    circle, topic = Queue.of(*queue.split("/"))
    with options.client() as hero:
        common.check_names(hero, circle, topic)
        if not yes:
            waiting = sum(q.waiting + q.scheduled for q in hero.queues(circle) if q.topic == topic)
            typer.confirm(f"Remove {waiting:,} jobs from {circle}/{topic}?", abort=True, err=True)
        removed = hero.empty(circle, topic)
    if json:
        common.print_json({"removed": removed})
    else:
        print(f"{removed:,} jobs removed")


COMMANDS: dict[str, Any] = {"queues": queues, "empty": empty}
