"""Jobs of kind rhaiscript, through the processor."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from herojobs.job import Job
from herojobs.processors.base import JobContext, JobFailed, JobInterrupted
from herojobs.processors.kinds import Processors
from herojobs.settings import Settings, load

pytest.importorskip("herojobs_rhai", reason="the Rhai engine isn't built here: cargo is missing")


def settings(tmp_path: Path, **given: object) -> Settings:
    return load({}, home=tmp_path, **given)


def run(script: str, settings: Settings) -> tuple[str, str]:
    """Return a script's result and log."""
    output: list[str] = []
    job = Job(job_id=7, circle_id="My Circle", topic="t", params=script, params_type="rhaiscript", attempts=2)
    processor = Processors(settings).get("rhaiscript")
    result = processor.run(job, JobContext(job, "my_circle/t/7", output.append))
    return result, "".join(output)


@pytest.mark.parametrize(
    ("script", "result"),
    [
        ("40 + 2", "42"),
        ('"text"', "text"),
        ("()", ""),
        ("let x = 1;", ""),
        ("true", "true"),
        ("[1, 2.5, (), 'c']", '[1,2.5,null,"c"]'),
        ("#{b: 1, a: #{x: []}}", '{"a":{"x":[]},"b":1}'),
        ("blob(3, 65)", '"QUFB"'),
        ("return 7; 8", "7"),
        ("exit(9); 8", "9"),
        ('job().ref + " " + job().attempt', "my_circle/t/7 2"),
        ('heroscript("!!core.echo content:hi")', "hi"),
    ],
)
def test_the_last_value_is_the_result_as_text(tmp_path: Path, script: str, result: str) -> None:
    assert run(script, settings(tmp_path))[0] == result


def test_print_debug_and_log_make_the_log_in_order(tmp_path: Path) -> None:
    _, log = run('print("a"); log("b"); debug("c"); print("d")', settings(tmp_path))
    assert log == 'a\nb\n1:23 | "c"\nd\n'


def test_nan_becomes_null_and_is_told(tmp_path: Path) -> None:
    result, log = run("[1.0, 0.0 / 0.0]", settings(tmp_path))
    assert result == "[1.0,null]"
    assert "NaN" in log


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("let x = ;", r"script:1:9: .*unexpected"),
        ("\n  fooo(1)", r"script:2:3: .*fooo"),
        ('throw "no"', r"script:1:1: .*no"),
        ("ai(` `)", "the prompt is empty"),
        ("env(`HOME`)", "rhai_env"),
        ("submit(`heroscript`, `x`, #{tpic: 1})", "no option 'tpic'"),
        ("|x| x", "has no form as text"),
        ("import `/etc/passwd` as p;", "module"),
    ],
)
def test_a_failing_script_tells_where_and_why(tmp_path: Path, script: str, told: str) -> None:
    with pytest.raises(JobFailed, match=f"(?is){told}"):
        run(script, settings(tmp_path))


def test_too_much_memory_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(MemoryError, match="memory"):
        run("let a = `x`; loop { a += a; }", settings(tmp_path, rhai_memory=8))


def test_an_interrupted_script_ends_as_interrupted(tmp_path: Path) -> None:
    job = Job(params="loop {}", params_type="rhaiscript", circle_id="c")
    context = JobContext(job, "c/t/1", lambda text: None)
    processor = Processors(settings(tmp_path)).get("rhaiscript")
    context.interrupt("cancel")
    with pytest.raises(JobInterrupted, match="cancel"):
        processor.run(job, context)


@pytest.fixture
def module() -> Iterator[types.ModuleType]:
    made = types.ModuleType("rhai_functions_of_a_user")
    exec("def twice(x):\n    return 2 * x\n\ndef _hidden():\n    pass\n", made.__dict__)
    sys.modules[made.__name__] = made
    yield made
    del sys.modules[made.__name__]


def test_users_add_functions_by_module(tmp_path: Path, module: types.ModuleType) -> None:
    assert run("twice(21)", settings(tmp_path, rhai_functions=[module.__name__]))[0] == "42"
    module.rhai_functions = {"my::twice": module.twice}  # type: ignore[attr-defined]
    assert run("my::twice(4)", settings(tmp_path, rhai_functions=[module.__name__]))[0] == "8"


def test_import_reads_from_the_circles_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "mods").mkdir()
    (tmp_path / "mods" / "m.rhai").write_text("fn f() { 5 }")
    allowed = settings(tmp_path, rhai_modules={"my_circle": str(tmp_path / "mods")})
    assert run("import `m` as m; m::f()", allowed)[0] == "5"
    with pytest.raises(JobFailed, match=r"(?i)module"):
        run("import `m` as m; m::f()", settings(tmp_path, rhai_modules={"other": str(tmp_path / "mods")}))
