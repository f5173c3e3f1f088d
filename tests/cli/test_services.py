"""The commands about services."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "openrpc" / "pets.py"
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The service of the example, in a process of its own."""
    with subprocess.Popen([sys.executable, EXAMPLE, "0"], stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        yield service.stdout.readline().split()[-1]
        service.kill()


@pytest.fixture
def command(tmp_path: Path) -> Command:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "HEROJOBS_HOME": str(tmp_path)}
        given = [sys.executable, "-m", "herojobs", "service", *arguments]
        return subprocess.run(given, env=env, capture_output=True, text=True, timeout=60, check=False)

    return run


def test_a_service_is_added_shown_called_and_removed(command: Command, url: str) -> None:
    assert command("list").stdout.startswith("no services yet")
    assert command("add", "pets", url, "--header", "X-Key=canary").stdout == "added pets; its document has 2 methods\n"
    shown = command("show", "pets")
    assert "pets.add  name, kind?  Add a pet" in shown.stdout.replace("   ", "  ")
    assert "canary" not in shown.stdout + command("list", "--json").stdout
    assert json.loads(command("call", "pets", "pets.list").stdout)[0]["name"] == "Tom"
    assert command("refresh", "pets").stdout == "the document of pets has 2 methods\n"
    assert json.loads(command("list", "--json").stdout)["pets"]["origin"] == "added"
    assert command("remove", "pets").stdout == "removed pets\n"
    assert command("remove", "pets").returncode == 3


def test_slips_are_told_in_one_line_with_their_exit_code(command: Command, url: str) -> None:
    command("add", "pets", url)
    for arguments, code, told in [
        (("show", "pest"), 3, "did you mean 'pets'"),
        (("add", "x", "htp://x"), 2, "did you mean 'http'"),
        (("add", "x", url, "--header", "X"), 2, "write Name=value"),
        (("call", "pets", "pets.lst"), 1, "-32601 Method not found: 'pets.lst'; did you mean 'pets.list'"),
        (("call", "pets", "pets.add", '{"kind": "cow"}'), 1, 'kind: expected one of "cat", "dog", got "cow"'),
        (("call", "pets", "pets.add", '{"kind'), 2, "no JSON"),
        (("call", "pets", "pets.add", "5"), 2, "write an array or an object"),
    ]:
        done = command(*arguments)
        assert (done.returncode, done.stderr.count("\n")) == (code, 1), (arguments, done.stderr)
        assert told in done.stderr
    command("add", "gone", "unix:/nowhere", "--retries", "0", "--document", "none")
    done = command("call", "gone", "x")
    assert (done.returncode, "/nowhere: No such file or directory" in done.stderr) == (4, True)


def test_the_settings_show_no_header(tmp_path: Path) -> None:
    table = {"a": {"url": "http://x/", "headers": {"Authorization": "Bearer canary", "X": "env:X_KEY"}}}
    env = {**os.environ, "HEROJOBS_HOME": str(tmp_path), "HEROJOBS_SERVICES": json.dumps(table)}
    for more in ((), ("--json",)):
        command = [sys.executable, "-m", "herojobs", "settings", *more]
        shown = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
        assert "canary" not in shown
        assert "env:X_KEY" in shown
