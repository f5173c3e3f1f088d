"""The command, as a user types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_run_prints_the_result_and_ends_with_the_outcome(herojobs: Command, tmp_path: Path) -> None:
    done = herojobs("run", "-", stdin="!!core.echo content:hello")
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")
    failed = herojobs("run", "--text", "!!fake.return_error")
    assert failed.returncode == 1
    assert "failed: line 1, column 1: fake.return_error: This is a test error" in failed.stderr
    first = herojobs("submit", "--text", "!!core.echo content:hello").stdout.strip()
    after = herojobs("run", "--text", "!!core.echo content:'{{ parent }} again'", "--after", first)
    assert after.stdout == "hello again\n"
    script = tmp_path / "script.hero"
    script.write_text("!!core.echo content:'from a file'")
    job = json.loads(herojobs("run", "--circle", "C1", "--topic", "T", "--timeout", "7", "--json", str(script)).stdout)
    assert (job["status"], job["result"], job["circleid"], job["timeout"]) == ("done", "from a file", "C1", 7)
    assert list(job)[:3] == ["jobid", "sessionkey", "circleid"]
    error = herojobs("run", "--json", "--type", "openrpc", "-", stdin="{}")
    assert error.returncode == 1
    assert json.loads(error.stdout)["error"].startswith("-32600 Invalid Request: line 1, column 1")


def test_a_job_is_looked_after(herojobs: Command) -> None:
    ref = herojobs("submit", "--text", "!!core.echo content:x", "-c", "care", "--at", "1h", "--tag", "t").stdout.strip()
    assert ref == "care/default/1"
    assert json.loads(herojobs("get", ref, "--json").stdout)["tags"] == ["t"]
    assert "new" in herojobs("get", ref).stdout
    assert ref in herojobs("list", "-c", "care", "--tag", "t").stdout
    assert json.loads(herojobs("queues", "-c", "care", "--json").stdout)[0]["scheduled"] == 1
    assert herojobs("cancel", ref).stdout == "cancelled before it started\n"
    again = herojobs("cancel", ref)
    assert (again.returncode, again.stderr) == (2, "error: care/default/1 is over already: cancelled\n")
    assert herojobs("retry", ref).stdout == "care/default/1 is queued again\n"
    assert herojobs("wait", ref, "--timeout", "20").stdout == "x\n"
    assert "cancelled" in herojobs("history", ref).stdout
    assert len(json.loads(herojobs("history", ref, "--json").stdout)) == 5
    assert herojobs("delete", ref).returncode == 0
    assert herojobs("get", ref).returncode == 3


def test_logs(herojobs: Command) -> None:
    rhai = herojobs("run", "--type", "rhaiscript", "--log", "--text", 'print("printed"); 1', "-c", "logs")
    if "Rhai engine" in rhai.stderr:
        pytest.skip("the Rhai engine isn't built here: cargo is missing")
    assert (rhai.stdout, rhai.stderr) == ("1\n", "printed\n")
    assert herojobs("logs", "logs/default/1").stdout == "printed\n"
    assert herojobs("logs", "-f", "logs/default/1").stdout == "printed\n"


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["lst"], 2, "Did you mean 'list'"),
        (["list", "--statsu", "x"], 2, "--status"),
        (["run"], 2, "--text"),
        (["run", "/no/such/file"], 2, "No such file"),
        (["run", "--text", "x", "--type", "heroscrip"], 2, "did you mean 'heroscript'"),
        (["run", "--text", "x", "--timeout", "-1"], 2, "timeout -1"),
        (["submit", "--text", "x", "--at", "soon"], 2, "90s, 10m, 2h, 1d"),
        (["get", "x"], 2, "circle/topic/id"),
        (["get", "hints/default/99"], 3, "there is no job hints/default/99"),
        (["get", "hinst/default/1"], 3, "did you mean 'hints/default'"),
        (["list", "-c", "hinst"], 3, "did you mean 'hints'"),
        (["list", "-c", "hints", "-t", "defualt"], 3, "did you mean 'default'"),
        (["list", "--status", "don"], 2, "did you mean 'done'"),
        (["wait", "hints/default/1", "--timeout", "0.1"], 5, "is new after 0.1 s"),
        (["ourdb", "check", "no/such"], 2, "circle/topic, or a path"),
        (["actors", "fak"], 2, "did you mean 'fake'"),
        (["settings", "--jsno"], 2, "--json"),
    ],
)
def test_a_slip_is_told_with_what_would_be_right(herojobs: Command, arguments: list[str], code: int, told: str) -> None:
    herojobs("submit", "--text", "!!core.echo", "-c", "hints", "--at", "1d")
    done = herojobs(*arguments)
    assert done.returncode == code
    assert told in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not done.stdout


def test_trouble_has_a_code_of_its_own(herojobs: Command) -> None:
    done = herojobs("--redis-url", "unix:///no/such.sock", "queues")
    assert (done.returncode, done.stderr.count("\n")) == (4, 1)
    done = herojobs("queues", HEROJOBS_WORKERS="x")
    assert (done.returncode, done.stderr) == (2, "error: HEROJOBS_WORKERS 'x': Expected `int`, got `str`\n")


def test_scripts_are_checked_without_running(herojobs: Command) -> None:
    assert herojobs("check", "-", stdin="!!core.echo content:x").stdout == "ok\n"
    wrong = herojobs("check", "-", stdin="!!fake.slep\n!!core.echo contnt:x\n")
    assert wrong.returncode == 1
    assert 'did you mean "sleep"' in wrong.stdout
    assert 'did you mean "content"' in wrong.stdout
    assert "^^^" in wrong.stdout
    assert "2 problems" in wrong.stderr
    assert "!!fake.sleep" in herojobs("actors", "fake").stdout


def test_actors_are_found_in_the_folder_where_the_user_stands(home: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("herojobs"), "check", "parcels.hero", "--actors", "parcels"],
        cwd=Path(__file__).parents[2] / "examples" / "actors",
        env={**os.environ, "HEROJOBS_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


def test_doctor_and_databases(herojobs: Command, home: Path) -> None:
    herojobs("run", "--text", "!!core.echo content:x", "-c", "dbs")
    doctor = herojobs("doctor")
    assert doctor.returncode == 0, doctor.stdout
    assert "append-only file" in doctor.stdout
    assert {finding["state"] for finding in json.loads(herojobs("doctor", "--json").stdout)} <= {"ok", "warning"}
    for command in ("check", "repair"):
        done = herojobs("ourdb", command, "dbs/default")
        assert (done.returncode, "no fault" in done.stdout) == (0, True)
    assert json.loads(herojobs("ourdb", "check", "dbs/default", "--json").stdout)["fault_count"] == 0
    assert "bytes before" in herojobs("ourdb", "compact", "dbs/default").stdout
    assert "lookup_dump.db" in herojobs("ourdb", "dump", "dbs/default").stdout
    assert json.loads(herojobs("ourdb", "cat", "dbs/default", "1").stdout)["result"] == "x"
    assert herojobs("ourdb", "cat", "dbs/default", "9").returncode == 3
    assert herojobs("ourdb", "import", str(home), "dbs/other").returncode == 2
    imported = herojobs("ourdb", "import", str(home / "var/circles/dbs/default/jobsdb"), "Copies/Of dbs")
    assert "imported into copies/of_dbs" in imported.stdout, imported.stderr
    assert json.loads(herojobs("list", "-c", "copies", "--json").stdout)["jobs"]
    again = herojobs("ourdb", "import", str(home / "var/circles/dbs/default/jobsdb"), "Copies/Of dbs")
    assert (again.returncode, "has jobs already" in again.stderr) == (2, True)


def test_prune_tells_what_it_deletes(herojobs: Command) -> None:
    herojobs("run", "--text", "!!core.echo content:x", "-c", "old")
    assert "HEROJOBS_RETENTION" in (refused := herojobs("prune")).stderr
    assert refused.returncode == 2
    assert "no span of time" in herojobs("prune", "--older-than", "soon").stderr
    assert herojobs("prune", "--older-than", "1d").stdout == "0 jobs were deleted\n"
    assert herojobs("prune", "-c", "old", "--older-than", "0s", "--dry-run").stdout == "1 jobs would be deleted\n"
    assert (
        json.loads(herojobs("prune", "-c", "old", "--older-than", "0s", "--status", "done", "--json").stdout)["jobs"]
        == 1
    )
    assert herojobs("get", "old/default/1").returncode == 3


def test_empty_asks_first(herojobs: Command) -> None:
    for _ in range(3):
        herojobs("submit", "--text", "!!core.echo", "-c", "full", "--at", "1d")
    assert herojobs("empty", "full/default", stdin="n\n").returncode == 130
    assert herojobs("empty", "full/default", "--yes").stdout == "3 jobs removed\n"


def test_ctrl_c_leaves_a_job_alone_and_says_so(herojobs: Command, home: Path) -> None:
    herojobs("submit", "--text", "!!core.echo", "-c", "slow", "--at", "1d")
    herojobs("pause", "slow")
    process = subprocess.Popen(
        [sys.executable, "-m", "herojobs", "run", "--text", "!!fake.sleep seconds:30", "-c", "slow"],
        env={**os.environ, "HEROJOBS_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "slow is paused (herojobs resume slow)" in process.stderr.readline()  # it follows the job
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "herojobs cancel slow/default/2" in told


def test_nobody_reads(herojobs: Command, home: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m herojobs settings --json | head -1",
        shell=True,
        env={**os.environ, "HEROJOBS_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""


def test_help_is_quick_to_load() -> None:
    heavy = ("redis", "pydantic", "uvloop", "sqlite3")
    code = f"import sys, herojobs.cli.main; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_pause_and_resume(herojobs: Command) -> None:
    herojobs("run", "--text", "!!core.echo", "-c", "hold", "-t", "mail")
    assert herojobs("pause", "hold/mail").stdout == "hold/mail is paused\n"
    ref = herojobs("submit", "--text", "!!core.echo content:x", "-c", "hold", "-t", "mail").stdout.strip()
    assert "paused" in herojobs("queues", "-c", "hold").stdout
    assert json.loads(herojobs("queues", "-c", "hold", "--json").stdout)[0]["paused"] is True
    assert herojobs("wait", ref, "--timeout", "0.5").returncode == 5
    wrong = herojobs("resume", "hold", "mial")
    assert (wrong.returncode, wrong.stderr) == (2, "error: hold/mial isn't paused; did you mean 'hold/mail'?\n")
    assert herojobs("resume", "hold", "mail").stdout == "hold/mail is resumed\n"
    assert herojobs("wait", ref, "--timeout", "20").stdout == "x\n"
    assert herojobs("pause", "hodl").returncode == 3


def test_retry_in_bulk_and_duplicate(herojobs: Command) -> None:
    for _ in range(2):
        assert herojobs("run", "--text", "!!fake.return_error", "-c", "again").returncode == 1
    assert herojobs("retry").returncode == 2
    assert herojobs("retry", "again/default/1", "--topic", "x").returncode == 2
    assert herojobs("retry", "--all", "-c", "again", "--reason", "timeout").stdout == "0 jobs are queued again\n"
    queued = json.loads(herojobs("retry", "--all", "-c", "again", "--since", "1h", "--json").stdout)["queued"]
    assert queued == ["again/default/1", "again/default/2"]
    copy = herojobs(
        "duplicate", queued[0], "--set", "params=!!core.echo content:y", "--set", "timeout=9"
    ).stdout.strip()
    assert copy == "again/default/3"
    assert herojobs("wait", copy, "--timeout", "20").stdout == "y\n"
    assert json.loads(herojobs("get", copy, "--json").stdout)["timeout"] == 9
    assert "did you mean 'timeout'" in herojobs("duplicate", copy, "--set", "timout=9").stderr
    assert "field=value" in herojobs("duplicate", copy, "--set", "timeout").stderr
    run = ("run", "--text", "!!fake.return_error", "-c", "again", "--retries", "1", "--retry-delay", "0", "--json")
    assert json.loads(herojobs(*run).stdout)["attempts"] == 2


def test_limits(herojobs: Command) -> None:
    assert herojobs("limit", "list").stdout.startswith("no limits")
    assert (
        herojobs("limit", "set", "Acme/mail", "--jobs", "3", "--rate", "100/m").stdout
        == "Acme/mail: 3 at once, 100/m\n"
    )
    assert herojobs("limit", "set", "acme/mail", "--jobs", "5").stdout == "acme/mail: 5 at once, 100/m\n"
    assert herojobs("limit", "set", "acme", "--weight", "2").returncode == 0
    assert json.loads(herojobs("limit", "list", "--json").stdout) == {
        "acme": {"weight": 2},
        "acme/mail": {"jobs": 5, "rate": "100/m"},
    }
    assert "acme/mail" in herojobs("limit", "list").stdout
    for wrong, told in ((("--rate", "often"), "no rate"), (("--jobs", "-1"), "out of range"), ((), "give --jobs")):
        done = herojobs("limit", "set", "acme", *wrong)
        assert (done.returncode, told in done.stderr) == (2, True)
    assert herojobs("limit", "remove", "acme").returncode == 0
    assert "did you mean 'acme/mail'" in herojobs("limit", "remove", "acme/mial").stderr
    herojobs("limit", "remove", "acme/mail")


def test_keys_and_expiry(herojobs: Command) -> None:
    given = ("submit", "--text", "!!core.echo content:x", "-c", "keys")
    first = herojobs(*given, "--idempotency-key", "a")
    again = herojobs(*given, "--idempotency-key", "a")
    assert (again.stdout, again.stderr) == (first.stdout, "keys/default/1 has this key already\n")
    later = herojobs(*given, "--unique", "b", "--unique-until", "10m", "--at", "1h", "--expires", "2h")
    assert herojobs(*given, "--unique", "b").stdout == later.stdout == "keys/default/2\n"
    wrong = herojobs(*given, "--unique", "c", "--unique-until", "finnished")
    assert (wrong.returncode, "unique_until 'finnished'" in wrong.stderr) == (2, True)
    assert herojobs(*given, "--expires", "2020-01-01").returncode == 2
