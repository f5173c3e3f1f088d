"""`herojobs --url`: the commands of a client, over a server."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.inprocess import InProcess, Ran
from herojobs import WatchDog
from herojobs.cli.main import app
from herojobs.cli.remote import HOME_ONLY, REMOTE
from herojobs.sessions import Sessions
from herojobs.settings import load
from server.here import serving_here

Run = Callable[..., Ran]


@pytest.fixture
def away(tmp_path: Path, redis_url: str, herojobs_here: InProcess) -> Iterator[Run]:
    """The command with a server that wants a key, and without a home of its own."""
    settings = load({}, home=tmp_path / "home", redis_url=redis_url)
    sessions = Sessions(settings)
    _, key = sessions.create("operator", ["c"], "operator")
    elsewhere = {"HEROJOBS_HOME": str(tmp_path / "none"), "HEROJOBS_REDIS_URL": f"unix://{tmp_path}/none"}
    with serving_here(settings) as url, WatchDog(settings=settings, workers=1, stop_timeout=0.5):

        def run(*arguments: str, **env: str) -> Ran:
            given = {"HEROJOBS_URL": url, "HEROJOBS_SESSION_KEY": key} | elsewhere | env
            return herojobs_here(*arguments, **given)

        run.url, run.key, run.sessions = url, key, sessions  # type: ignore[attr-defined]
        yield run
    sessions.close()
    assert not (tmp_path / "none").exists()


def test_the_life_of_jobs_over_a_server(away: Run, tmp_path: Path) -> None:
    ran = away("run", "--text", "!!core.echo content:hi", "--circle", "c")
    assert (ran.returncode, ran.stdout) == (0, "hi\n")
    failed = away("run", "--text", "!!fake.return_error message:oh", "--circle", "c", "--json", "--timeout", "5")
    assert (failed.returncode, json.loads(failed.stdout)["reason"]) == (1, "failed")
    script = tmp_path / "talk.hero"
    script.write_text("!!core.echo content:1")
    submitted = away("submit", str(script), "-c", "c", "--log", "--json")
    ref = "c/default/{jobid}".format(**json.loads(submitted.stdout))
    assert json.loads(submitted.stdout)["sessionkey"] == "***"
    assert json.loads(away("wait", ref, "--json").stdout)["result"] == "1"
    assert [job["status"] for job in json.loads(away("history", ref, "--json").stdout)] == ["new", "active", "done"]
    assert away("logs", ref, "-f").returncode == 0
    assert len(json.loads(away("list", "-c", "c", "--json").stdout)["jobs"]) == 3
    later = away("submit", "--text", "!!x.y", "-c", "c", "--at", "1h").stdout.strip()
    assert "cancelled before it started" in away("cancel", later).stdout
    assert "queued again" in away("retry", later).stdout
    added = away("schedule", "add", "nightly", "@daily", "--text", "!!x.y", "--circle", "c")
    assert added.returncode == 0, added.stderr
    assert "nightly" in away("schedule", "list").stdout
    assert away("wait", later, "--timeout", "20").returncode == 1
    assert "deleted" in away("delete", later).stdout
    assert away("get", later).returncode == 3
    assert away("submit", "--text", "!!x.y", "-c", "c", "-t", "t", "--at", "1h").returncode == 0
    assert away("empty", "c/t", "--yes").stdout == "1 jobs removed\n"
    assert away("pause", "c").returncode == 0
    assert json.loads(away("queues", "--json").stdout)[0]["paused"] is True
    assert away("resume", "c").returncode == 0
    assert away("get", "other/default/1").returncode == 3
    assert "the server at" in away("submit", "--text", "!!x.y", "-c", "other").stderr


def test_an_admin_manages_sessions_and_services_over_a_server(away: Run, tmp_path: Path) -> None:
    assert "needs the role admin" in away("session", "list").stderr
    admin = {"HEROJOBS_SESSION_KEY": away.sessions.create("boss", role="admin")[1]}  # type: ignore[attr-defined]
    made = json.loads(away("session", "create", "-c", "C", "--role", "viewer", "--ttl", "1h", "--json", **admin).stdout)
    assert (made["circles"], made["expires_ms"] - made["created_ms"]) == (["c"], 3_600_000)
    viewer = {"HEROJOBS_SESSION_KEY": made["key"]}
    assert away("queues", **viewer).returncode == 0
    rotated = away("session", "rotate", made["name"], **admin).stdout.strip()
    assert away("queues", **viewer).returncode == 2
    assert away("queues", HEROJOBS_SESSION_KEY=rotated).returncode == 0
    assert made["id"] in away("session", "show", made["name"], **admin).stdout
    assert "is revoked" in away("session", "revoke", made["id"], **admin).stdout
    assert away("queues", HEROJOBS_SESSION_KEY=rotated).returncode == 2
    ended = json.loads(away("session", "list", "--all", "--json", **admin).stdout)
    assert {each["name"]: each["state"] for each in ended}[made["name"]] == "revoked"
    told = json.loads(away("audit", "--session", "boss", "--json", **admin).stdout)
    assert [(each["method"], each["ref"]) for each in told] == [
        ("session.revoke", made["id"]), ("session.rotate", made["id"]), ("session.create", made["id"]),
    ]  # fmt: skip
    assert made["key"] not in str(told)
    for arguments, code, said in (
        (("create", "boss", "-c", "c"), 2, "rotate that one"),
        (("create", "x", "-c", "c", "--role", "boss"), 2, "one of viewer, submitter"),
        (("revoke", "bos"), 3, "did you mean 'boss'?"),
        (("show", "bos"), 3, "did you mean 'boss'?"),
        (("link",), 2, "where the home is"),
    ):
        ran = away("session", *arguments, **admin)
        assert (ran.returncode, said in ran.stderr, ran.stderr.count("\n")) == (code, True, 1), ran.stderr

    socket = f"unix:{tmp_path}/none.sock"
    ran = away("service", "add", "pets", socket, "--header", "X-Key=canary", "-c", "c", "-c", "d", **admin)
    assert (ran.stdout, "none.sock" in ran.stderr) == ("added pets\n", True)
    for as_whom, circles in (({}, ["c"]), (admin, ["c", "d"])):
        listed = json.loads(away("service", "list", "--json", **as_whom).stdout)
        assert listed["pets"]["circles"] == circles
        assert ("headers" in listed["pets"]) == bool(as_whom)
        shown = away("service", "show", "pets", **as_whom)
        assert shown.returncode == 0
        assert "canary" not in shown.stdout + str(listed)
    assert "job.submit" in away("service", "show", "herojobs").stdout
    assert away("service", "refresh", "pets", **admin).stderr.startswith("error: 2001 pets: ")
    assert away("service", "refresh", "pets", **admin).returncode == 4
    assert away("service", "remove", "pets").returncode == 2
    assert away("service", "remove", "pets", **admin).stdout == "removed pets\n"
    assert away("service", "remove", "pets", **admin).returncode == 3
    assert away("service", "call", "pets", "x").returncode == 2


def test_a_wrong_key_and_a_wrong_address_are_told_in_one_line(away: Run, tmp_path: Path) -> None:
    for env, code, told in (
        ({"HEROJOBS_SESSION_KEY": "hjs_00000000_" + "0" * 64}, 2, "session key is needed"),
        ({"HEROJOBS_SESSION_KEY": ""}, 2, "session key is needed"),
        ({"HEROJOBS_URL": "http://127.0.0.1:1"}, 4, "can't be reached"),
        ({"HEROJOBS_URL": f"http+unix://{tmp_path}/no.sock"}, 4, "no.sock can't be reached"),
        ({"HEROJOBS_URL": "jobs.example"}, 2, "https://host:port"),
        ({"HEROJOBS_URL": "https://me:secret@jobs.example"}, 2, "session_key"),
    ):
        ran = away("queues", **env)
        assert (ran.returncode, ran.stderr.count("\n")) == (code, 1), ran.stderr
        assert ran.stderr.startswith("error: ")
        assert told in ran.stderr
        assert "secret" not in ran.stderr


def test_the_key_may_be_an_option_and_isnt_handed_on(away: Run) -> None:
    url, key = away.url, away.key  # type: ignore[attr-defined]
    ran = away("--url", url, "--session-key", key, "queues", HEROJOBS_URL="", HEROJOBS_SESSION_KEY="wrong")
    assert ran.returncode == 0
    assert "HEROJOBS_SESSION_KEY" not in os.environ


@pytest.mark.parametrize("command", sorted(HOME_ONLY))
def test_what_the_home_is_needed_for_says_why(command: str, herojobs_here: InProcess, tmp_path: Path) -> None:
    for arguments, env in ((["--url", "https://x", command], {}), ([command], {"HEROJOBS_URL": "https://x"})):
        rest = [] if command == "webhooks" else ["list"]
        ran = herojobs_here(*arguments, *rest, HEROJOBS_HOME=str(tmp_path), **env)
        assert ran.returncode == 2
        assert HOME_ONLY[command] in ran.stderr


def test_every_command_is_thought_of(herojobs_here: InProcess, tmp_path: Path) -> None:
    commands = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    here = {
        "dev",
        "watchdog",
        "down",
        "serve",
        "doctor",
        "chaos",
        "bench",
        "actors",
        "check",
        "settings",
        "version",
        "ai",
        "rhai",
    }
    assert commands == REMOTE | set(HOME_ONLY) | here, "put a new command into herojobs.cli.remote, or here"
    ran = herojobs_here("--url", "https://x", "version")
    assert (ran.returncode, "leave --url out" in ran.stderr) == (2, True)
    assert herojobs_here("version", HEROJOBS_URL="https://x", HEROJOBS_HOME=str(tmp_path)).returncode == 0
