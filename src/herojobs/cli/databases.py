"""`herojobs ourdb ...`: looking after the databases."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from herojobs.cli import common
from herojobs.cli.common import Json, options
from herojobs.errors import InvalidJob
from herojobs.job import masked_json

if TYPE_CHECKING:
    from herojobs.ourdb import OurDB

app = typer.Typer(help="Check, repair, compact, read and import OurDB databases.", no_args_is_help=True)

Database = Annotated[str, typer.Argument(metavar="CIRCLE/TOPIC|PATH", help="A queue, or a database's folder.")]


def _open(name: str) -> OurDB:
    from herojobs.ourdb import OurDB
    from herojobs.store.jobs import id_of

    settings = options.settings()
    return OurDB(common.queue_or_path(name, settings), sync=settings.sync, id_of=id_of, on_event=_tell)


def _tell(event: str) -> None:
    print(event, file=sys.stderr)


@app.command()
def check(name: Database, json: Json = False) -> None:
    """Read every record and report what is damaged; but for a torn end, which opening cuts off, nothing is changed."""
    _report(name, repair=False, json=json)


@app.command()
def repair(name: Database, json: Json = False) -> None:
    """Rebuild what can be rebuilt from the data files, and report.

    Ends with code 4 if a version of a job is lost; bytes that are no record, and that no job needs, are only told.
    """
    _report(name, repair=True, json=json)


@app.command()
def compact(name: Database) -> None:
    """Rewrite the data files without what was deleted."""
    with _open(name) as db, common.working(f"compacting {name} ..."):
        before = sum(path.stat().st_size for path in db.path.glob("[0-9]*.db"))
        db.compact()
        after = sum(path.stat().st_size for path in db.path.glob("[0-9]*.db"))
    print(f"{before:,} bytes before, {after:,} after")


@app.command()
def dump(name: Database) -> None:
    """Write the dump that other OurDB programs read."""
    with _open(name) as db:
        db.export_dump()
        print(db.path / "lookup_dump.db")


@app.command()
def cat(
    name: Database,
    id: Annotated[int, typer.Argument(help="The record.")],
    history: Annotated[bool, typer.Option(help="All versions, the newest first.")] = False,
) -> None:
    """Print a record as it is stored."""
    from herojobs.ourdb import NotFound

    with _open(name) as db:
        try:
            versions = db.history(id, 255 if history else 1)
        except NotFound:
            common.fail(f"{name} has no record {id}", common.NOT_FOUND)
    for version in versions:
        data = masked_json(version.data).decode("utf-8", "backslashreplace")
        print(data if version.ok else f"(damaged, at {version.location >> 32}.db:{version.location & 0xFFFFFFFF})")


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The database's folder; nothing in it is changed.")],
    queue: Annotated[
        str | None,
        typer.Argument(metavar="[CIRCLE/TOPIC]", help="Where to; default what the folders above it are called."),
    ] = None,
    run_open: Annotated[
        bool, typer.Option("--run-open", help="Run the jobs that aren't over; else they end as lost.")
    ] = False,
    json: Json = False,
) -> None:
    """Copy another program's jobs, or those under a name that isn't fixed, into a topic that has none yet."""
    from herojobs.names import Queue
    from herojobs.store import JobStore
    from herojobs.store.imports import import_database

    path = path.expanduser().absolute()
    if queue is not None and queue.count("/") != 1:
        common.fail(f"{queue!r} is no queue; write circle/topic", common.USAGE)
    circle, topic = queue.split("/") if queue is not None else (path.parent.parent.name, path.parent.name)
    target = Queue.of(circle, topic)
    store = JobStore(options.settings())
    try:
        with common.working(f"importing {path} ..."):
            done = import_database(store, path, target, run_open=run_open)
        store.remember_spelling(target, circle, topic)
    except FileNotFoundError as e:
        common.fail(str(e), common.USAGE)
    finally:
        store.close()
    if json:
        common.print_json({"queue": str(target), **asdict(done)})
        return
    print(f"{done.jobs:,} jobs imported into {target}")
    if done.renumbered:
        print(f"{len(done.renumbered):,} of them have new ids, as theirs were taken or unknown")
    if done.ended:
        print(f"{done.ended:,} of them weren't over and are marked as lost; --run-open would have let them run")
    if done.unreadable:
        print(f"{done.unreadable:,} records are no jobs and stay in {path} only")


def _report(name: str, *, repair: bool, json: bool) -> None:
    if not name:
        raise InvalidJob("database", name, "empty", "circle/topic, or a path")
    with _open(name) as db, common.working(f"reading {name} ..."):
        report = db.check(repair=repair)
    if json:
        common.print_json(report)
    else:
        print(report)
        if repair and report.fault_count:
            lost = report.fault_count - report.gap_count
            if lost:
                print(f"{lost:,} of these are versions that can't be mended: look for a backup")
            else:
                print(
                    "Every job can be read, as it was last stored whole. The damaged bytes harm nothing, and stay till:"
                )
                print(f"    herojobs ourdb compact {name}")
    if report.fault_count > (report.gap_count if repair else 0):
        raise typer.Exit(common.TROUBLE)
