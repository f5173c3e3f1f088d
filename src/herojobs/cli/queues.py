"""Commands about queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from herojobs.cli import common
from herojobs.cli.common import Circle, Json, nearest, options
from herojobs.names import Queue

if TYPE_CHECKING:
    from herojobs.limits import Limit


def queues(circle: Circle = None, json: Json = False) -> None:
    """Show the queues, and how many jobs wait, are scheduled, and run."""
    with options.client() as hero:
        common.check_names(hero, circle, None)
        found = hero.queues(circle)
    if json:
        common.print_json(found)
        return
    made = common.table("circle", "topic", "waiting", "held", "scheduled", "running", "state")
    for queue in found:
        numbers = (queue.waiting, queue.held, queue.scheduled, queue.active)
        state = "[yellow]paused[/]" if queue.paused else ""
        made.add_row(queue.circle, queue.topic, *(f"{number:,}" for number in numbers), state)
    common.console().print(made if found else "no queues yet; `herojobs submit` makes one")


OneCircle = Annotated[str, typer.Argument(metavar="CIRCLE", help="The circle (tenant).")]
OneTopic = Annotated[str | None, typer.Argument(metavar="[TOPIC]", help="One of its topics; left out: all of it.")]


def pause(circle: OneCircle, topic: OneTopic = None, json: Json = False) -> None:
    """Have no more jobs of a circle or topic start; running ones go on, new ones wait."""
    with options.client() as hero:
        circle, topic = _split(circle, topic)
        common.check_names(hero, circle, topic)
        hero.pause(circle, topic)
    _tell("paused", circle, topic, json)


def resume(circle: OneCircle, topic: OneTopic = None, json: Json = False) -> None:
    """Have jobs of a paused circle or topic start again."""
    from herojobs.store.rules import rule_name

    with options.client() as hero:
        circle, topic = _split(circle, topic)
        paused = hero.paused()
        name = rule_name(circle, topic)
        if name not in paused:
            whole = topic is not None and rule_name(circle, None) in paused
            hint = f"; its circle is: herojobs resume {rule_name(circle, None)}" if whole else nearest(name, paused)
            common.fail(f"{name} isn't paused{hint}", common.USAGE)
        hero.resume(circle, topic)
    _tell("resumed", circle, topic, json)


def _split(circle: str, topic: str | None) -> tuple[str, str | None]:
    """Take circle/topic in one word too."""
    if topic is None and circle.count("/") == 1:
        circle, topic = circle.split("/")
    return circle, topic


def _tell(what: str, circle: str, topic: str | None, json: bool) -> None:
    from herojobs.store.rules import rule_name

    name = rule_name(circle, topic)
    common.print_json({what: name}) if json else print(f"{name} is {what}")


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


limit_app = typer.Typer(help="Limit how many jobs run at once, or start in a time.", no_args_is_help=True)

LimitName = Annotated[
    str,
    typer.Argument(metavar="NAME", help="circle (all its topics together), circle/topic, circle/* (each), * or */*."),
]


@limit_app.command("set")
def set_limit(
    name: LimitName,
    jobs: Annotated[int | None, typer.Option(help="Jobs that run at once; 0 = any number.")] = None,
    rate: Annotated[str | None, typer.Option(help="Starts in any span of time, like 10/s, 100/m, 5/30s.")] = None,
    key_jobs: Annotated[
        int | None, typer.Option(help="Jobs of one limit key that run at once; 0 = any number.")
    ] = None,
    key_rate: Annotated[str | None, typer.Option(help="Starts of one limit key in any span of time.")] = None,
    weight: Annotated[
        int | None, typer.Option(help="Of a circle: its share while others wait too; normally 1.")
    ] = None,
    json: Json = False,
) -> None:
    """Limit a circle or topic from now on; what isn't given stays as it is."""
    if all(each is None for each in (jobs, rate, key_jobs, key_rate, weight)):
        common.fail("give --jobs, --rate, --key-jobs, --key-rate or --weight", common.USAGE)
    with options.client() as hero:
        limit = hero.set_limit(name, jobs=jobs, rate=rate, key_jobs=key_jobs, key_rate=key_rate, weight=weight)
    common.print_json({name: limit}) if json else print(f"{name}: {_limit_text(limit)}")


@limit_app.command("list")
def list_limits(json: Json = False) -> None:
    """Show the limits in force."""
    with options.client() as hero:
        limits = hero.limits()
    if json:
        common.print_json(limits)
        return
    made = common.table("name", "limit")
    for name, limit in limits.items():
        made.add_row(name, _limit_text(limit))
    common.console().print(made if limits else "no limits; `herojobs limit set` makes one")


@limit_app.command("remove")
def remove_limit(name: LimitName, json: Json = False) -> None:
    """Remove a limit that `set` has made."""
    with options.client() as hero:
        hero.remove_limit(name)
    common.print_json({"removed": name}) if json else print(f"{name}: removed")


def _limit_text(limit: Limit) -> str:
    parts = [f"{limit.jobs:,} at once"] if limit.jobs else []
    parts += [limit.rate] if limit.rate else []
    parts += [f"{limit.key_jobs:,} at once a key"] if limit.key_jobs else []
    parts += [f"{limit.key_rate} a key"] if limit.key_rate else []
    parts += [f"weight {limit.weight}"] if limit.weight != 1 else []
    return ", ".join(parts) or "no limit"


COMMANDS: dict[str, Any] = {"queues": queues, "pause": pause, "resume": resume, "empty": empty}
