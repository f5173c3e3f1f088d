"""Commands about sessions: create, list, show, revoke, rotate, link."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from herojobs.cli import common, times
from herojobs.cli.common import Json, options

if TYPE_CHECKING:
    from herojobs.sessions import Session

app = typer.Typer(help="Who may do what: keys with roles in circles.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="NAME|ID", help="The session.")]


@app.command()
def create(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Who it is for; unique (ROLE-NUMBER).")] = None,
    circle: Annotated[
        list[str] | None, typer.Option("--circle", "-c", help="A circle it sees and touches; repeatable; '*' = all.")
    ] = None,
    role: Annotated[str, typer.Option(help="viewer, submitter, operator or admin.")] = "submitter",
    ttl: Annotated[str | None, typer.Option(help="How long it holds, like 12h or 30d; default until revoked.")] = None,
    json: Json = False,
) -> None:
    """Make a session and print its key, which is shown this once."""
    seconds = None if ttl is None else times.span(ttl, "ttl")
    with options.client() as hero:
        session, key = hero.sessions.create(name or "", circles=circle or (), role=role, ttl=seconds or 0)
    _print_key(session, key, json)


@app.command("list")
def list_(
    ended: Annotated[bool, typer.Option("--all", help="Also those that expired or were revoked.")] = False,
    json: Json = False,
) -> None:
    """List the sessions; never their keys."""
    with options.client() as hero:
        found = hero.sessions.list(ended=ended)
    if json:
        common.print_json([_fields(session) for session in found])
        return
    made = common.table("id", "name", "role", "state", "created", "expires", "circles")
    for session in found:
        fields = _fields(session)
        made.add_row(
            session.id,
            session.name,
            session.role.word,
            fields["state"],
            common.when(session.created_ms),
            common.when(session.expires_ms) or "never",
            ", ".join(session.circles),
        )
    common.console().print(made if found else "no sessions; `herojobs session create` makes one")


@app.command()
def show(name: Name, json: Json = False) -> None:
    """Show a session; never its key."""
    with options.client() as hero:
        session = hero.sessions.get(name)
    _print(session, json)


@app.command()
def revoke(name: Name, json: Json = False) -> None:
    """End a session: its keys are refused from now on, everywhere."""
    with options.client() as hero:
        session = hero.sessions.revoke(name)
    if json:
        common.print_json({"revoked": session.id, "name": session.name})
    else:
        print(f"{session.name} ({session.id}) is revoked")


@app.command()
def rotate(
    name: Name,
    grace: Annotated[str, typer.Option(help="How long the old key is valid still, like 10m or 1d.")] = "0s",
    json: Json = False,
) -> None:
    """Give a session a new key and print it; the old one ends, at once or after --grace."""
    with options.client() as hero:
        session, key = hero.sessions.rotate(name, grace=times.span(grace, "grace"))
    _print_key(session, key, json)


@app.command()
def link(
    server: Annotated[str, typer.Option(help="Address of the server, as the browser reaches it.")] = (
        "http://127.0.0.1:8811"
    ),
    json: Json = False,
) -> None:
    """Print a link that logs one browser in as admin; it works once, within ten minutes."""
    from herojobs.sessions import Sessions, make_login_link

    if options.url:
        common.fail("a link is made where the home is; leave --url out", common.USAGE)
    sessions = Sessions(options.settings())
    try:
        made = make_login_link(sessions, server)
    finally:
        sessions.close()
    if json:
        common.print_json({"link": made})
    else:
        print(made)


def audit(
    since: Annotated[str | None, typer.Option(help="Since when: ISO date and time, or an age like 2h.")] = None,
    circle: common.Circle = None,
    session: Annotated[str | None, typer.Option(help="One session's, by its name or id.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most entries to show.")] = 100,
    json: Json = False,
) -> None:
    """Show what sessions changed over the server, the newest first: who, when, what, and how it went."""
    moment = None if since is None else times.moment(since, -1, "since")
    with options.client() as hero:
        entries = hero.sessions.audit(since=moment, circle_id=circle, session=session, limit=limit)
    if json:
        common.print_json([{f: getattr(entry, f) for f in entry.__struct_fields__} for entry in entries])
        return
    made = common.table("when", "session", "what", "about", "jobs", "outcome")
    for entry in entries:
        made.add_row(
            common.when(entry.at),
            entry.name,
            entry.method,
            entry.ref or entry.circle,
            f"{entry.count:,}",
            entry.outcome,
        )
    common.console().print(made if entries else "no entries")


COMMANDS: dict[str, Any] = {"audit": audit}


def _fields(session: Session) -> dict[str, Any]:
    """Return a session as it is shown: the role as a word, and whether it holds."""
    import msgspec

    from herojobs.job import now_ms

    state = "revoked" if session.revoked_ms else "expired" if 0 < session.expires_ms <= now_ms() else "holds"
    return {**msgspec.to_builtins(session), "role": session.role.word, "state": state}


def _print(session: Session, json: bool) -> None:
    if json:
        common.print_json(_fields(session))
        return
    made = common.table("", "")
    made.show_header = False
    for name, value in {
        "session": f"{session.name} ({session.id})",
        "role": session.role.word,
        "circles": ", ".join(session.circles),
        "created": common.when(session.created_ms),
        "expires": common.when(session.expires_ms) or "never",
    }.items():
        made.add_row(name, value)
    common.console().print(made)


def _print_key(session: Session, key: str, json: bool) -> None:
    if json:
        common.print_json({**_fields(session), "key": key})
        return
    print(key)
    if sys.stdout.isatty():
        print("Keep it now: it is shown this once, and stored as a hash only.", file=sys.stderr)
