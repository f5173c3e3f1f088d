"""What all commands share: the global options, output, and how errors end the command.

Exit codes: 0 well, or the job is done; 1 the job ended in error; 2 wrong usage or input; 3 not found; 4 Redis or the
disk is in trouble; 5 the wait timed out; 130 interrupted.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from herojobs.errors import (
    EmbeddedRedisError,
    HeroJobsError,
    InvalidJob,
    JobNotFound,
    RedisUnavailable,
    RemoteError,
    ScheduleNotFound,
    ServiceNotFound,
    SessionNotFound,
    WaitTimeout,
    did_you_mean,
)
from herojobs.job import Job
from herojobs.names import Queue, Ref, queue_name_fix
from herojobs.settings import Settings, load

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status
    from rich.table import Table

    from herojobs.client import HeroJobs

OK, JOB_FAILED, USAGE, NOT_FOUND, TROUBLE, TIMED_OUT, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Reference = Annotated[str, typer.Argument(metavar="REF", help="The job, as circle/topic/id.")]
Circle = Annotated[str | None, typer.Option("--circle", "-c", help="The circle (tenant).")]
Topic = Annotated[str | None, typer.Option("--topic", "-t", help="The topic (queue) within the circle.")]


@dataclass
class Options:
    """The options that stand before the command."""

    home: Path | None = None
    redis_url: str | None = None
    url: str | None = None
    session_key: str = ""

    def settings(self, **overrides: Any) -> Settings:
        """Return the settings in force."""
        return load(home=self.home, redis_url=self.redis_url, **overrides)

    def client(self) -> HeroJobs:
        """Return a client."""
        from herojobs.client import HeroJobs

        return HeroJobs(self.url, session_key=self.session_key, settings=self.settings())


options = Options()
"""Set by the callback in `main` before any command runs."""


def code_for(error: Exception) -> int | None:
    """Return the exit code that an error ends the command with, None for one that is no user's to mend."""
    from herojobs.heroscript import HeroScriptError  # here, as most commands end without an error
    from herojobs.ourdb import OurDBError

    if isinstance(error, JobNotFound | ScheduleNotFound | SessionNotFound | ServiceNotFound):
        return NOT_FOUND
    if isinstance(error, WaitTimeout):
        return TIMED_OUT
    if isinstance(error, RedisUnavailable | EmbeddedRedisError | RemoteError | OurDBError | OSError):
        return TROUBLE
    return USAGE if isinstance(error, HeroJobsError | HeroScriptError) else None


def told(error: Exception) -> str:
    """Return an error in one line; the system's own as file and reason, without a number."""
    if type(error).__module__ == "builtins" and isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def fail(message: str, code: int) -> NoReturn:
    """Print an error on stderr and end with a code."""
    print(f"error: {message}", file=sys.stderr)
    raise typer.Exit(code)


def console() -> Console:
    """Return where people read: colours and width of the terminal, plain when there is none."""
    from rich.console import Console

    # Elsewhere nothing is wrapped. Never emoji codes: what jobs return is shown as it is.
    return Console(width=None if sys.stdout.isatty() else 1_000_000, highlight=False, emoji=False)


def shown_redis(settings: Settings) -> str:
    """Return the address of the Redis in use, without its password."""
    from herojobs.live import embedded
    from herojobs.live.trouble import shown_address

    return shown_address(settings.redis_url or embedded.url(settings.home))


def shown(text: str) -> str:
    """Return a job's text for a terminal: control characters, which could steer it, as their codes."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text) if sys.stdout.isatty() else text


def working(what: str) -> Status:
    """Show on the terminal, while the block runs, that something takes its time."""
    from rich.console import Console

    return Console(stderr=True).status(what)


def table(*columns: str) -> Table:
    """Return an empty table with columns; the last one gets what room is left."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD if sys.stdout.isatty() else None, pad_edge=False)
    for column in columns:
        made.add_column(column, no_wrap=column != columns[-1], overflow="ellipsis")
    return made


def print_json(value: Any) -> None:
    """Print a value as indented JSON; a job's session key is masked."""
    import msgspec

    data = msgspec.json.encode(masked(value), enc_hook=str)
    sys.stdout.write(msgspec.json.format(data, indent=2).decode() + "\n")


def masked(value: Any) -> Any:
    """Return a value that can be shown: session keys are hidden, named tuples are objects."""
    import msgspec

    if isinstance(value, Job):
        fields: dict[str, Any] = msgspec.to_builtins(value.masked())
        return fields
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: masked(each) for name, each in value._asdict().items()}
    if isinstance(value, list | tuple):
        return [masked(each) for each in value]
    return value


def status_text(job: Job) -> str:
    """Return a job's status in words and colour."""
    if not job.is_over:
        return f"[{'yellow' if job.status == 'active' else 'cyan'}]{job.reason or job.status}[/]"
    return "[green]done[/]" if job.status == "done" else f"[red]{job.explain_end() or 'error'}[/]"


def when(milliseconds: int) -> str:
    """Return a time as local date and time, empty for 0; on a terminal today's without the date."""
    from datetime import date, datetime

    if not milliseconds:
        return ""
    moment = datetime.fromtimestamp(milliseconds / 1000)
    today = sys.stdout.isatty() and moment.date() == date.today()
    return moment.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint at the nearest name, or at all that there are if these are few; empty or it starts with `; `."""
    right = did_you_mean(name, known)
    return f"; {right}" if right else ""


def checked_ref(hero: HeroJobs, text: str) -> Ref:
    """Return a reference; if its queue doesn't exist, end with the nearest one that does."""
    ref = Ref.parse(text)
    if hero.is_remote:
        return ref  # the server says so if it isn't there
    if (hero.settings.circles_dir / ref.queue.circle / ref.queue.topic).is_dir():
        return ref  # asking for all queues takes a while where there are many
    known = {f"{each.circle}/{each.topic}" for each in hero.queues()}
    if known and str(ref.queue) not in known:
        hint = nearest(str(ref.queue), known)
        fail(f"there is no job {ref}: there is no queue {ref.queue}{hint}", NOT_FOUND)
    return ref


def check_names(hero: HeroJobs, circle: str | None, topic: str | None) -> None:
    """End with the nearest name if a circle or topic that a listing asks for doesn't exist."""
    if circle is None and topic is None:
        return
    known = hero.queues()
    circles = {each.circle for each in known}
    fixed = circle and queue_name_fix(circle)
    if fixed and circles and fixed not in circles:
        fail(f"there is no circle {fixed!r}{nearest(fixed, circles)}", NOT_FOUND)
    topics = {each.topic for each in known if not fixed or each.circle == fixed}
    wanted = topic and queue_name_fix(topic)
    if wanted and topics and wanted not in topics:
        fail(f"there is no topic {wanted!r}{nearest(wanted, topics)}", NOT_FOUND)


def queue_or_path(text: str, settings: Settings) -> Path:
    """Return the folder of a database named as circle/topic, or by its path."""
    from herojobs.store import JobStore

    if "/" in text and not text.startswith((".", "/", "~")) and text.count("/") == 1:
        circle, topic = text.split("/")
        path = JobStore(settings).path(Queue.of(circle, topic))
        if path.is_dir():
            return path
    path = Path(text).expanduser()
    if (path / "lookup").is_dir() or (path / "0.db").is_file() or (path / "lookup_dump.db").is_dir():
        return path
    if path.is_dir():  # opening it would make a database of it
        raise InvalidJob("database", text, "this folder is no OurDB database")
    right = did_you_mean(text, [str(queue) for queue in JobStore(settings).queues()])
    hint = right if right.startswith("did") else "use circle/topic, or a path"
    fail(f"database {text!r}: there is no such queue or folder; {hint}", USAGE)
