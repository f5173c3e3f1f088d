"""`herojobs session`: as an administrator uses it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.inprocess import InProcess, Ran
from herojobs.sessions import Role, Sessions
from herojobs.settings import Settings

Run = Callable[..., Ran]


@pytest.fixture
def session(tmp_path: Path, herojobs_here: InProcess) -> Run:
    return lambda *arguments: herojobs_here("session", *arguments, HEROJOBS_HOME=str(tmp_path))


def test_a_session_needs_no_name(session: Run) -> None:
    unnamed = session("create", "--circle", "acme", "--role", "viewer", "--ttl", "1h", "--json")
    assert json.loads(unnamed.stdout)["name"].startswith("viewer-")


def test_a_session_from_its_making_to_its_end(session: Run, tmp_path: Path) -> None:
    made = session("create", "billing", "--circle", "Acme", "-c", "b", "--role", "operator", "--ttl", "30d")
    assert (made.returncode, made.stderr) == (0, "")
    key = made.stdout.strip()
    sessions = Sessions(Settings(home=tmp_path))
    found = sessions.check(key)
    assert found is not None
    assert (found.circles, found.role) == (("acme", "b"), Role.OPERATOR)
    assert found.expires_ms - found.created_ms == 30 * 86_400_000

    shown = session("list").stdout + session("show", "billing").stdout
    listed = json.loads(session("list", "--json").stdout)
    assert (listed[0]["name"], listed[0]["role"], listed[0]["state"]) == ("billing", "operator", "holds")
    assert "billing" in shown
    assert key not in shown + str(listed)

    rotated = json.loads(session("rotate", "billing", "--grace", "1h", "--json").stdout)
    assert sessions.check(key) == sessions.check(rotated["key"]) == found
    assert "revoked" in session("revoke", found.id).stdout
    assert sessions.check(key) is None
    assert sessions.check(rotated["key"]) is None
    assert "no sessions" in session("list").stdout
    assert json.loads(session("list", "--all", "--json").stdout)[0]["state"] == "revoked"
    token = session("link", "--server", "https://hero.example/").stdout.strip().removeprefix(
        "https://hero.example/login?token="
    )  # fmt: skip
    assert sessions.login(token) is not None
    sessions.close()


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["create", "a"], 2, "name the circles"),
        (["create", "a", "-c", "c", "--role", "boss"], 2, "one of viewer, submitter, operator, admin"),
        (["create", "a", "-c", "c", "--ttl", "soon"], 2, "like 90s, 12h or 30d"),
        (["revoke", "nobody"], 3, "there is no session 'nobody'"),
        (["rotate", "nobody"], 3, "there is no session 'nobody'"),
        (["show", "nobody"], 3, "there is no session 'nobody'"),
    ],
)
def test_slips_are_told_in_one_line(session: Run, arguments: list[str], code: int, told: str) -> None:
    done = session(*arguments)
    assert done.returncode == code
    assert done.stderr.startswith("error: ")
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
