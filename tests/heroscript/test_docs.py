"""The examples of the documentation are true."""

import doctest
import re
from pathlib import Path

import pytest

from herojobs.heroscript import PlayBook

DOCS = Path(__file__).resolve().parents[2] / "docs"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["heroscript.md", "actors.md"])
def test_examples(page: str) -> None:
    fences = FENCE.findall((DOCS / page).read_text("utf-8"))
    scripts = [text for kind, text in fences if kind == "heroscript"]
    assert scripts
    for script in scripts:
        playbook = PlayBook.parse(script, strict=True)
        assert playbook.actions
        assert not playbook.warnings
        assert not playbook.other_text
    python = "\n".join(text for kind, text in fences if kind == "python")
    examples = doctest.DocTestParser().get_doctest(python, {"__name__": "__main__"}, page, page, 0)
    assert len(examples.examples) > 20
    told: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples, out=told.append)
    assert not result.failed, "".join(told)
