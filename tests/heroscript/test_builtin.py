"""The actors that every registry has, variables and includes (HeroScript 8 and 12.3)."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from herojobs.heroscript import HeroScriptError, PlayBook, Registry, ScriptCache, bind
from herojobs.heroscript.binding import check


def run(script: str, root: Path | None = None) -> str:
    return bind(PlayBook.parse(script, strict=True), Registry(), include_root=root).run()


def problem(script: str, root: Path | None = None) -> str:
    with pytest.raises(HeroScriptError) as raised:
        run(script, root)
    return str(raised.value)


def test_fake() -> None:
    assert run("!!fake.return_success") == "Success message"
    assert run("!!fake.return_success message:hi") == "hi"
    assert problem("!!fake.return_error") == "line 1, column 1: fake.return_error: This is a test error"
    assert run("!!fake.return_json code:201") == '{"message":"JSON response","status":"ok","code":201}'
    assert run("!!fake.return_empty") == ""
    assert run("!!fake.return_malformed_error") == "error: this is not in the standard format"
    with pytest.raises(ValueError, match="delimiter"):
        json.loads(run("!!fake.return_invalid_json"))


@pytest.mark.parametrize(("size", "lines"), [("", 1000), ("size:50", 50), ("size:20000", 10_000), ("size:1", 1)])
def test_fake_return_large(size: str, lines: int) -> None:
    text = run(f"!!fake.return_large {size}")
    assert len(text.split("\n")) == lines
    assert not text.endswith("\n")


def test_fake_sleep_is_async_and_fake_spin_is_not() -> None:
    registry = Registry()
    assert bind(PlayBook.parse("!!fake.sleep"), registry).is_async
    assert not bind(PlayBook.parse("!!fake.spin"), registry).is_async
    start, cpu = time.monotonic(), time.process_time()
    assert run("!!fake.sleep seconds:0.05\n!!fake.spin seconds:0.05") == ""
    assert time.monotonic() - start >= 0.1
    assert 0.001 < time.process_time() - cpu < time.monotonic() - start + 0.01


def test_help_and_echo() -> None:
    assert run("!!core.echo content:x\n!!echo content:y\n!!play.echo content:z") == "x\ny\nz"
    for script in ("!!fake.help", "!!core.help actor:fake", "!!help actor:fake"):
        assert run(script) == Registry().help("fake")
    assert run("!!core.help") == Registry().help()
    assert (
        problem("!!core.help actor:fak") == 'line 1, column 1: core.help: there is no actor "fak"; did you mean "fake"?'
    )
    assert "unknown action" in problem("!!fak.help") or "unknown actor" in problem("!!fak.help")


# Variables


def test_variables_reach_later_actions_only() -> None:
    script = """
    !!core.echo content:{who}
    !!session.env_set key:Who val:'you x:1'
    !!core.echo content:'to {who} and {WHO} {other} { who }'
    !!session.env_set_once key:who value:them
    !!session.env_set_once key:it value:'{who}!'
    !!core.echo content:{it}
    !!session.env_set key:who value:them
    !!core.echo content:{who}
    """
    assert run(script) == "{who}\nto you x:1 and you x:1 {other} { who }\nyou x:1!\nthem"


def test_a_variable_is_checked_as_what_it_stands_for() -> None:
    assert run("!!session.env_set key:n val:2\n!!fake.return_large size:{n}").count("\n") == 1
    assert problem("!!session.env_set key:n val:x\n!!fake.return_large size:{n}") == (
        'line 2, column 26: "size" of fake.return_large must be a whole number, not "x"'
    )
    assert problem("!!session.env_set key:n") == 'line 1, column 1: session.env_set: it needs "val" (text)'
    assert "nothing is left of the name" in problem("!!session.env_set key:é val:1")


# Includes


def test_included_actions_stand_where_the_include_stood(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "one.hero").write_text(
        "!!core.echo content:@A\n!!play.include path:sub/two.hero\n!!core.echo content:{v}"
    )
    (tmp_path / "sub" / "two.hero").write_text("!!session.env_set key:v val:set\n!!core.echo content:two")
    script = "!!core.echo content:0\n!!play.include path:one.hero replace:'A:one,B:b'\n!!core.echo content:9"
    assert run(script, tmp_path) == "0\none\ntwo\nset\n9"
    bound = bind(PlayBook.parse(script), Registry(), include_root=str(tmp_path))
    assert not bound.shareable
    bound.run()
    assert all(action.done for action in bound.actions)
    assert [action.full_name for action in bound.actions].count("play.include") == 2
    cache = ScriptCache(Registry(), include_root=tmp_path)
    assert cache.get(script).run() == "0\none\ntwo\nset\n9"
    (tmp_path / "sub" / "two.hero").write_text("!!core.echo content:other")
    assert cache.get(script).run() == "0\none\nother\n{v}\n9"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("../out.hero", '"../out.hero" is outside of the folder that may be included from'),
        ("/etc/passwd", '"/etc/passwd" is outside of the folder that may be included from'),
        ("link.hero", '"link.hero" is outside of the folder that may be included from'),
        ("linked/out.hero", '"linked/out.hero" is outside of the folder that may be included from'),
        ("none.hero", 'there is no file "none.hero" to include'),
        ("''", 'there is no file "" to include'),
        ("latin.hero", "\"latin.hero\" can't be read: it isn't UTF-8"),
        ("'a\0b'", "can't be the name of a file"),
        ("self.hero", '"self.hero" includes itself'),
        ("large.hero", "included scripts have more than 16,777,216 bytes together"),
    ],
)
def test_a_wrong_include_is_an_error(tmp_path: Path, path: str, message: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "out.hero").write_text("!!core.echo")
    (root / "link.hero").symlink_to(tmp_path / "out.hero")
    (root / "linked").symlink_to(tmp_path)
    (root / "latin.hero").write_bytes(b"!!core.echo content:\xe9")
    (root / "self.hero").write_text("!!play.include path:self.hero")
    with (root / "large.hero").open("wb") as file:
        file.truncate(17 * 1024 * 1024)
    told = problem(f"\n!!play.include path:{path}", root)
    assert message in told
    assert told.startswith("self.hero, line 1" if path == "self.hero" else "line 2, column 1: play.include: ")


def test_includes_are_off_unless_a_folder_is_named() -> None:
    assert problem("!!play.include path:x.hero") == (
        "line 1, column 1: play.include: including scripts is off; "
        "the setting heroscript_include_root names their folder"
    )


def test_includes_are_eight_deep_at_most_and_circles_are_told(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number}.hero").write_text(f"!!play.include path:{number + 1}.hero")
    assert "8.hero" not in problem("!!play.include path:0.hero", tmp_path).partition(",")[0]
    assert "7.hero, line 1, column 1: play.include: included scripts may be 8 deep, not more" in problem(
        "!!play.include path:0.hero", tmp_path
    )
    (tmp_path / "a.hero").write_text("!!play.include path:b.hero")
    (tmp_path / "b.hero").write_text("!!play.include path:a.hero")
    assert 'b.hero, line 1, column 1: play.include: "a.hero" includes itself' in problem(
        "!!play.include path:a.hero", tmp_path
    )


def test_a_problem_in_an_included_script_is_told_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "bad.hero").write_text("\n!!fake.return_large size:x")
    (tmp_path / "worse.hero").write_text("\n!!a.b x:'open")
    script = "!!play.include path:bad.hero\n!!play.include path:worse.hero\n!!play.include path:bad.hero replace:x"
    assert [str(error) for error in check(script, Registry(), include_root=tmp_path, path="main.hero")] == [
        'main.hero, line 3, column 1: play.include: "x" in replace must be name:text',
        'bad.hero, line 2, column 26: "size" of fake.return_large must be a whole number, not "x"',
        "worse.hero, line 2, column 9: the quote ' that opens here isn't closed before the end of the text",
    ]
