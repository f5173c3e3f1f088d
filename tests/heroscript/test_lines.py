"""Which lines are actions, comments, other text; the action line itself (HeroScript 2 and 3)."""

import pytest

from herojobs.heroscript import HeroScriptError, Params, PlayBook


def only(text: str) -> Params:
    (action,) = PlayBook.parse(text).actions
    return action.params


@pytest.mark.parametrize(("marks", "kind"), [("!", "dal"), ("!!", "sal"), ("!!!", "macro"), ("!!!!", "wal")])
def test_the_number_of_marks_is_the_type(marks: str, kind: str) -> None:
    (action,) = PlayBook.parse(f"{marks}Parcel.Pack-It x:1").actions
    assert (action.type, action.actor, action.name) == (kind, "parcel", "pack_it")
    assert action.params.items() == [("x", "1")]


def test_a_name_of_one_part_belongs_to_core() -> None:
    (action,) = PlayBook.parse("!!select people").actions
    assert (action.actor, action.name, action.params.args) == ("core", "select", ["people"])


def test_a_new_action_has_its_number_and_nothing_done() -> None:
    first, second = PlayBook.parse("text\n!!a.b\n\n  !!c.d").actions
    assert [(one.id, one.line, one.priority, one.done, one.given_id) for one in (first, second)] == [
        (1, 2, 50, False, None),
        (2, 4, 50, False, None),
    ]
    assert first.result.items() == []


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("!!!!!a.b", 1, "an action has one to four exclamation marks, not 5"),
        ("!! a.b", 1, "an action's name must follow right after the exclamation marks"),
        ("!", 1, "an action's name must follow right after the exclamation marks"),
        ("!!a.b.c", 3, '"a.b.c" has 3 parts; an action is actor.action or action'),
        ("!!a.", 3, 'nothing is left of a part of the name "a."; use letters and digits'),
        ("!!.b", 3, 'nothing is left of a part of the name ".b"; use letters and digits'),
        ("!!é.b", 3, 'nothing is left of a part of the name "é.b"; use letters and digits'),
        ("  !!!!!a", 3, "an action has one to four exclamation marks, not 5"),
    ],
)
def test_a_wrong_action_line_is_an_error(text: str, column: int, message: str) -> None:
    with pytest.raises(HeroScriptError) as raised:
        PlayBook.parse("\n" + text)
    assert str(raised.value) == f"line 2, column {column}: {message}"
    assert raised.value.code == "syntax"


def test_line_ends_and_a_byte_order_mark_make_no_difference() -> None:
    text = "// c\n!!a.b x:1\n    y:'\n    two\n\n    lines\n    '\nother"
    for ending in ("\r\n", "\r"):
        playbook = PlayBook.parse("\ufeff" + text.replace("\n", ending))
        assert playbook.actions[0].params.items() == [("x", "1"), ("y", "two\n\nlines")]
        assert playbook.other_text == "other"


def test_the_common_indentation_goes_and_positions_stay() -> None:
    text = "\n    !!a.b x:1\n    \ty:2\n\n    //above\n    !!c.d\n     z:oops"
    playbook = PlayBook.parse(text)
    assert [one.params.items() for one in playbook.actions] == [[("x", "1"), ("y", "2")], []]
    assert playbook.actions[1].comments == "above"
    assert playbook.other_text == " z:oops"
    assert [str(note) for note in playbook.warnings] == [
        'line 7, column 6: "z:" is not indented, so it is no param of the action above; indent it by two spaces'
    ]
    with pytest.raises(HeroScriptError, match="line 3, column 9: "):
        PlayBook.parse("\t!!a.b\n\n\t\tx:y z:'open")


@pytest.mark.parametrize("indent", ["  ", "\t", "      ", " \t"])
def test_indented_lines_belong_to_the_action_also_after_blank_lines(indent: str) -> None:
    assert only(f"!!a.b\n\n \n{indent}x:1\n\n{indent}y:2\n").items() == [("x", "1"), ("y", "2")]


def test_other_text_ends_the_action_and_is_kept() -> None:
    playbook = PlayBook.parse("# Title\n\n!!a.b x:1\nsome text\n  y:2\n\n```\n!!c.d\n  z:3\n```\n![i](u)\n// last")
    assert [one.params.items() for one in playbook.actions] == [[("x", "1")], [("z", "3")]]
    assert playbook.other_text == "# Title\n\nsome text\n  y:2\n\n```\n```\n![i](u)\n// last"


def test_actions_in_html_comments_do_not_count() -> None:
    playbook = PlayBook.parse("<!-- old:\n!!a.b x:1\n-->\n!!c.d\n<!-- !!e.f -->\n!!g.h")
    assert [one.full_name for one in playbook.actions] == ["c.d", "g.h"]
    with pytest.raises(HeroScriptError, match="line 2, column 1: the comment <!-- that opens here isn't closed"):
        PlayBook.parse("!!a.b\n<!-- open\n!!c.d")


def test_comments_of_actions() -> None:
    playbook = PlayBook.parse(
        "//\n// one\n\n//two  \n//\n//  three\n//\n!!a.b\n!!c.d\n// gone\ntext\n!!e.f\n\n// g\n!!g.h"
    )
    assert [one.comments for one in playbook.actions] == ["one\ntwo\n\nthree", "", "", "g"]
    assert playbook.other_text == "// gone\ntext"


def test_an_unindented_comment_stays_in_the_action_if_its_params_go_on() -> None:
    playbook = PlayBook.parse("!!a.b\n// of x\n//\n\n// too\n  x:1\n// of y\n  y:2\n// of c.d\n!!c.d\n// end")
    first, second = playbook.actions
    assert (first.params.items(), first.params.comment("x"), first.params.comment("y")) == (
        [("x", "1"), ("y", "2")],
        "of x\n\ntoo",
        "of y",
    )
    assert second.comments == "of c.d"
    assert playbook.other_text == "// end"


@pytest.mark.parametrize("text", ["!!a.b\nsize:3", "!!a.b x:1\n  y:2\n z: 3", "!!a.b\n// the size\nsize: 3"])
def test_a_param_that_is_not_indented_is_told(text: str) -> None:
    assert len(PlayBook.parse(text).warnings) == 1
    with pytest.raises(HeroScriptError, match=r"is not indented, so it is no param of the action above"):
        PlayBook.parse(text, strict=True)


@pytest.mark.parametrize("text", ["!!a.b\n\nsize:3", "size:3\n!!a.b", "!!a.b\ntext\nsize:3", "!!a.b\nhttp://x"])
def test_other_text_with_colons_is_no_param(text: str) -> None:
    assert PlayBook.parse(text, strict=True).warnings == []


def test_a_text_over_the_limit_is_an_error_that_says_so() -> None:
    PlayBook.parse("x" * 1000, max_size=1000)
    with pytest.raises(HeroScriptError, match="the script has 1,001 bytes; the limit is 1,000"):
        PlayBook.parse("x" * 1001, max_size=1000)
    with pytest.raises(HeroScriptError, match="the script has 1,200 bytes; the limit is 1,000"):
        PlayBook.parse("é" * 600, max_size=1000)
    with pytest.raises(HeroScriptError, match="the limit is 1,000"):
        Params.parse("x" * 1001, max_size=1000)
    with pytest.raises(HeroScriptError, match="the limit is 16,777,216"):
        PlayBook.parse("x" * (16 * 1024 * 1024 + 1))
