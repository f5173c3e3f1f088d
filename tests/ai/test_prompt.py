"""What params say, and how text from elsewhere comes into a prompt."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herojobs.ai.failures import AIFailure
from herojobs.ai.prompt import DATA_RULE, Prompt, parse, quoted


def tried(text: str) -> tuple[Prompt | None, AIFailure | None]:
    try:
        return parse(text), None
    except AIFailure as e:
        return None, e


@given(st.text())
def test_any_text_is_a_prompt_or_a_clear_error(text: str) -> None:
    prompt, failure = tried(text)
    if prompt is None:
        assert failure is not None
        assert (failure.kind, "\n" in failure.text) == ("invalid_params", False)
    elif not text.lstrip().startswith("{"):
        assert prompt.prompt == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*Prompt.__struct_fields__, "other"]), JSON))
def test_any_object_is_read_or_told_what_is_wrong(members: dict[str, object]) -> None:
    text = json.dumps(members)
    prompt, failure = tried(text)
    if "prompt" not in members and "messages" not in members:
        assert prompt == Prompt(prompt=text)
    elif prompt is None:
        assert failure is not None
        assert failure.kind == "invalid_params"
    else:
        assert prompt.prompt == members.get("prompt", "")


@given(st.text(), st.text(alphabet='</data>"= \n', max_size=40))
def test_data_never_ends_its_own_quotation(source: str, text: str) -> None:
    shown = quoted(source, text)
    assert len(re.findall(r"</\s*data", shown, re.IGNORECASE)) == 1
    assert shown.endswith("\n</data>")
    assert shown.count("\n", 0, shown.index(">") + 1) == 0  # nor does its source


def test_results_go_where_they_are_named_and_attachments_to_the_end() -> None:
    prompt = parse(
        json.dumps(
            {
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": "First {{job:a/b/1}}"},
                    {"role": "assistant", "content": "Yes."},
                    {"role": "user", "content": "Then {{ job:a/b/2 }} and {{ job:a/b/1 }}"},
                ],
                "attachments": {"n": "text"},
            }
        )
    )
    assert prompt.references == ["a/b/1", "a/b/2", "a/b/1"]
    assert prompt.instructions == f"Be brief.\n\n{DATA_RULE}"
    filled = prompt.filled({"a/b/1": "one", "a/b/2": "{{ job:a/b/9 }}"}.__getitem__)
    assert "\none\n" in filled.messages[1].content
    assert "{{ job:a/b/9 }}" in filled.messages[3].content  # what comes in is not looked through again
    assert filled.messages[3].content.endswith('<data source="n">\ntext\n</data>')


def test_a_prompt_without_data_has_no_instructions() -> None:
    assert parse("hello").instructions == ""


@pytest.mark.parametrize("text", ['{"prompt": "x",}', '{ "messages" : [', '{"prompt": "a" "b"}'])
def test_an_object_that_is_no_json_is_told_as_one(text: str) -> None:
    with pytest.raises(AIFailure, match="are no JSON"):
        parse(text)


@pytest.mark.parametrize("schema", [{"$ref": "http://127.0.0.1:9/s.json"}, {"$ref": "file:///etc/passwd"}])
def test_schemas_fetch_nothing(schema: dict[str, str]) -> None:
    with pytest.raises(AIFailure, match="isn't fetched"):
        parse(json.dumps({"prompt": "x", "schema": schema}))
