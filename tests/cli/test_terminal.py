"""What the command shows: data as it is, nothing secret, one line for each slip."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from herojobs.ourdb import OurDB

Command = Callable[..., subprocess.CompletedProcess[str]]


def on_terminal(home: Path, *arguments: str, columns: int = 80) -> str:
    """Run the command on a terminal, and return what it shows."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "herojobs", *arguments],
        env={**os.environ, "HEROJOBS_HOME": str(home), "COLUMNS": str(columns), "TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    shown = b""
    try:
        while data := os.read(ours, 65536):
            shown += data
    except OSError:  # Linux tells the end of a terminal so
        pass
    os.close(ours)
    process.wait(30)
    return shown.decode()


def test_what_a_job_returns_is_shown_as_it_is(herojobs: Command) -> None:
    text = "x" * 2500 + " :smile: [bold]b[/bold]"
    herojobs("run", "-", "-c", "as", stdin=f"!!core.echo content:'{text}'")
    assert herojobs("get", "as/default/1").stdout.splitlines()[-1] == text
    herojobs("run", "--text", "!!core.echo content:':smile: [bold]b'", "-c", "as")
    assert ":smile: [bold]b" in herojobs("list", "-c", "as", "--limit", "1").stdout
    assert ":smile: [bold]b" in herojobs("history", "as/default/2").stdout


def test_a_narrow_terminal_shows_the_whole_reference(herojobs: Command, home: Path) -> None:
    herojobs("run", "--text", "!!core.echo content:a", "-c", "rather_long_circle", "-t", "rather_long_topic")
    shown = on_terminal(home, "list", "-c", "rather_long_circle")
    assert "rather_long_circle/rather_long_topic/1" in shown
    assert "\x1b[32mdone" in shown


def test_a_job_cant_steer_the_terminal(herojobs: Command, home: Path) -> None:
    herojobs("run", "--text", "!!core.echo content:'\x1b]0;title\x07'", "-c", "esc")
    for command in (("list", "-c", "esc"), ("get", "esc/default/1")):
        shown = on_terminal(home, *command)
        assert "\x1b]0;" not in shown
        assert "\\x1b]0;title" in shown


def test_short_jobs_show_their_output_too(herojobs: Command) -> None:
    done = herojobs("run", "--type", "rhaiscript", "--text", 'print("printed"); 1', "-c", "short")
    if "Rhai engine" in done.stderr:
        pytest.skip("the Rhai engine isn't built here: cargo is missing")
    assert (done.stdout, done.stderr) == ("1\n", "printed\n")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["check", "/no/such"], 2, "No such file"),
        (["check", "{bad}"], 2, "not UTF-8 at byte 1"),
        (["list", "--type", "heroscrip"], 2, "did you mean 'heroscript'"),
        (["list", "--reason", "timeou"], 2, "did you mean 'timeout'"),
        (["empty", "a/b/c"], 2, "write circle/topic"),
        (["ourdb", "check", "{folder}"], 2, "no OurDB database"),
        (["watchdog", "--watchdogs", "0"], 2, "--watchdogs"),
    ],
)
def test_more_slips(herojobs: Command, tmp_path: Path, arguments: list[str], code: int, told: str) -> None:
    bad, folder = tmp_path / "bad.hero", tmp_path / "empty"
    bad.write_bytes(b"x\xff")
    folder.mkdir()
    done = herojobs(*(each.format(bad=bad, folder=folder) for each in arguments))
    assert (done.returncode, done.stderr.count("\n"), done.stderr[:7]) == (code, 1, "error: ")
    assert told in done.stderr
    assert not list(folder.iterdir())


def test_the_bare_command_shows_its_help(herojobs: Command) -> None:
    for command in ((), ("ourdb",), ("rhai",)):
        done = herojobs(*command)
        assert (done.returncode, done.stderr) == (2, "")
        assert done.stdout.startswith("Usage:")


def test_letters_that_the_terminal_lacks_are_told_by_their_code(herojobs: Command) -> None:
    done = herojobs("run", "--text", "!!core.echo content:'\u00e9'", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout) == (0, "\\xe9\n")


def test_empty_counts_whatever_the_spelling(herojobs: Command) -> None:
    herojobs("submit", "--text", "!!core.echo", "-c", "My Full", "-t", "My Topic", "--at", "1d")
    assert "Remove 1 jobs from my_full/my_topic" in herojobs("empty", "My Full/My Topic", stdin="n\n").stderr


def test_session_keys_are_hidden_in_any_record(herojobs: Command, tmp_path: Path) -> None:
    with OurDB(tmp_path / "db") as db:
        for record in (b'{"SessionKey": "secret"}', b'{"sessionkey":"sec\\"ret", broken', b'[{"sessionkey":"secret"}]'):
            db.add(record)
    for number in "123":
        shown = herojobs("ourdb", "cat", str(tmp_path / "db"), number)
        assert "***" in shown.stdout
        assert "ret" not in shown.stdout


def test_settings_tell_where_they_come_from_and_no_password(herojobs: Command, home: Path) -> None:
    url = "redis://host:1/0?password=secret"
    told = herojobs("--redis-url", url, "settings", "--json", HEROJOBS_WORKERS="3").stdout
    found = json.loads(told)
    assert "secret" not in told
    assert found["redis_url"]["from"] == "--redis-url"
    assert found["workers"] == {"value": 3, "from": "HEROJOBS_WORKERS"}
    assert found["lease"]["from"] == "default"


def test_a_broken_pipe_isnt_told_as_a_failed_job(home: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m herojobs actors | true; echo ${{PIPESTATUS[0]}}"],
        env={**os.environ, "HEROJOBS_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("4\n", "")


def test_check_prints_json(herojobs: Command) -> None:
    done = herojobs("check", "-", "--json", stdin="!!fake.slep\n!!core.echo contnt:x\n")
    assert done.returncode == 1
    assert [(each["line"], each["column"]) for each in json.loads(done.stdout)] == [(1, 3), (2, 13)]
