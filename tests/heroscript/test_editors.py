"""The editor's grammar sees what the parser sees."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

VSCODE = Path(__file__).resolve().parents[2] / "editors" / "vscode"
GRAMMAR = json.loads((VSCODE / "syntaxes" / "heroscript.tmLanguage.json").read_text("utf-8"))


def test_the_extension_is_whole() -> None:
    package = json.loads((VSCODE / "package.json").read_text("utf-8"))
    (language,) = package["contributes"]["languages"]
    assert language["extensions"] == [".hero", ".heroscript"]
    json.loads((VSCODE / language["configuration"]).read_text("utf-8"))
    for grammar in package["contributes"]["grammars"]:
        assert json.loads((VSCODE / grammar["path"]).read_text("utf-8"))["scopeName"] == grammar["scopeName"]


def test_everything_that_is_included_exists_and_every_pattern_compiles() -> None:
    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if "include" in node:
                assert node["include"].removeprefix("#") in GRAMMAR["repository"]
            for name in ("match", "begin"):
                if name in node:
                    re.compile(node[name])
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(GRAMMAR)


@pytest.mark.parametrize(
    ("part", "line", "groups"),
    [
        ("action", "!!parcel.pack name:x", ("!!", "parcel", ".", "pack")),
        ("action", "  !greet", ("!", None, None, "greet")),
        ("action", "!!!!!a.b", None),
        ("action", "!!a.b.c", None),
        ("action", "![image](u)", None),
        ("key", " name:'x'", ("name", ":")),
        ("key", " http://x", None),
        ("comment", "x:1 // note", ()),
        ("comment", "x:http://y", None),
        ("other", "some text", ()),
        ("other", "!!a.b", None),
        ("other", "  x:1", None),
        ("block", "x:'  ", ("'",)),
        ("block", "x:'y'", None),
        ("number", "x:20MB", ()),
        ("number", "x:20MBit", None),
        ("variable", "x:{who}", ()),
    ],
)
def test_parts(part: str, line: str, groups: tuple[str | None, ...] | None) -> None:
    rule = GRAMMAR["repository"][part]
    found = re.search(rule.get("match") or rule["begin"], line)
    assert (None if found is None else found.groups()) == groups
