"""`import` within one folder."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import pytest

rhai = pytest.importorskip("herojobs_rhai", reason="herojobs-rhai isn't installed; rhai/build.sh builds it")


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    root = tmp_path / "modules"
    (root / "sub").mkdir(parents=True)
    (root / "maths.rhai").write_text("fn half(x) { x / 2 }\nfn fails(x) {\n  x + missing\n}\nexport const ANSWER = 42;")
    (root / "sub" / "deep.rhai").write_text('import "maths" as m;\nfn quarter(x) { m::half(m::half(x)) }')
    (tmp_path / "secret.rhai").write_text("export const SECRET = 1;")
    return root


def test_functions_and_constants_of_modules(folder: pathlib.Path) -> None:
    engine = rhai.RhaiEngine(modules=folder)
    assert engine.eval('import "maths" as m; m::half(10) + m::ANSWER') == 47
    assert engine.eval('import "sub/deep" as d; d::quarter(100)') == 25


OUTSIDE = [
    "../secret", "sub/../../secret", "/etc/passwd", "{root}/maths", "./maths", "sub/", "", "none", "link",
    "folder_link/secret", "maths\\0",
]  # fmt: skip


@pytest.mark.parametrize("path", OUTSIDE)
def test_outside_of_the_folder_nothing_is_found_and_all_read_alike(folder: pathlib.Path, path: str) -> None:
    (folder / "link.rhai").symlink_to(folder.parent / "secret.rhai")
    (folder / "folder_link").symlink_to(folder.parent)
    path = path.replace("{root}", str(folder))
    with pytest.raises(rhai.RhaiError) as caught:
        rhai.RhaiEngine(modules=folder).eval(f'import "{path}" as m;')
    assert caught.value.kind in {"module_not_found", "parsing"}
    if caught.value.kind == "module_not_found":
        assert caught.value.message == f"Module not found: {path}"
    else:
        assert path.endswith("\\0")  # no escape of Rhai's strings


def test_a_link_within_the_folder_is_followed(folder: pathlib.Path) -> None:
    (folder / "alias.rhai").symlink_to(folder / "maths.rhai")
    assert rhai.RhaiEngine(modules=folder).eval('import "alias" as a; a::half(4)') == 2


def test_without_a_folder_there_are_no_modules() -> None:
    with pytest.raises(rhai.RhaiError, match="Module not found: maths") as caught:
        rhai.RhaiEngine().eval('import "maths" as m;')
    assert caught.value.kind == "module_not_found"
    with pytest.raises(ValueError, match="modules: /nowhere is not a folder"):
        rhai.RhaiEngine(modules="/nowhere")


def test_an_error_tells_the_module_its_line_and_the_way_there(folder: pathlib.Path) -> None:
    with pytest.raises(rhai.RhaiError) as caught:
        rhai.RhaiEngine(modules=folder).eval('import "maths" as m;\n\nm::fails(1)')
    error = caught.value
    assert (error.kind, error.source, error.line, error.column) == ("variable_not_found", "maths", 3, 7)
    assert error.frames == (("fails", "", 3, 4),)
    assert str(error).splitlines()[:2] == ["maths:3:7: Variable not found: missing", "3 |   x + missing"]


def test_a_module_that_does_not_parse(folder: pathlib.Path) -> None:
    (folder / "bad.rhai").write_text("fn f( {")
    with pytest.raises(rhai.RhaiError) as caught:
        rhai.RhaiEngine(modules=folder).eval('\nimport "bad" as b;')
    error = caught.value
    assert (error.kind, error.source, error.line) == ("parsing", "bad", 1)
    assert error.frames == (("module bad", "", 2, 8),)


def test_a_cycle_shows_its_chain(folder: pathlib.Path) -> None:
    (folder / "a.rhai").write_text('import "b" as b;')
    (folder / "b.rhai").write_text('import "a" as a;')
    with pytest.raises(rhai.RhaiError, match="modules import each other: a -> b -> a"):
        rhai.RhaiEngine(modules=folder).eval('import "a" as a;')


def test_a_module_is_evaluated_once_a_run_and_anew_in_the_next(folder: pathlib.Path) -> None:
    (folder / "loud.rhai").write_text("print(`loaded`); export const X = 1;")
    (folder / "other.rhai").write_text('import "loud" as l; export const Y = l::X;')
    engine = rhai.RhaiEngine(modules=folder)
    for _ in range(2):
        run = engine.run('import "loud" as l; import "other" as o; l::X + o::Y')
        assert run.result() == 2
        assert run.output == "loaded\n"


def test_a_changed_file_is_read_again(folder: pathlib.Path) -> None:
    engine = rhai.RhaiEngine(modules=folder)
    script: Any = engine.compile('import "maths" as m; m::ANSWER')
    assert engine.eval(script) == 42
    (folder / "maths.rhai").write_text("export const ANSWER = 43;")
    os.utime(folder / "maths.rhai", (1, 1))
    assert engine.eval(script) == 43


def test_the_number_of_modules_is_limited(folder: pathlib.Path) -> None:
    for n in range(5):
        (folder / f"n{n}.rhai").write_text("")
    engine = rhai.RhaiEngine(modules=folder, limits=rhai.Limits(max_modules=4))
    with pytest.raises(rhai.RhaiError) as caught:
        engine.eval("".join(f'import "n{n}" as m{n};' for n in range(5)))
    assert caught.value.kind == "too_many_modules"


def test_a_module_cannot_catch_or_outlive_a_stop(folder: pathlib.Path) -> None:
    (folder / "endless.rhai").write_text("try { loop { } } catch { }")
    with pytest.raises(rhai.RhaiError) as caught:
        rhai.RhaiEngine(modules=folder).eval('try { import "endless" as e; } catch { } loop { }', deadline=0.05)
    assert (caught.value.kind, caught.value.reason) == ("terminated", "timeout")
