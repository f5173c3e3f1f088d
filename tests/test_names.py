import pytest
from hypothesis import given
from hypothesis import strategies as st

from herojobs.errors import InvalidName, InvalidReference
from herojobs.names import Queue, Ref, queue_name_fix


@pytest.mark.parametrize(
    ("name", "fixed"),
    [
        ("myCircle", "mycircle"),
        ("  My 'Topic' ", "my_topic"),
        ("openai-proxy", "openai_proxy"),
        ("Hello,World.MD", "hello,world.md"),
        ("a__b--c", "a_b_c"),
        ("-x-", "x_"),
        ("a:b", "a_b"),
        ("Symbols: !@#", "symbols_"),
        ("éñçödéd", "dd"),
        ("../../etc", ".._.._etc"),
        ("''", ""),
        ("é", ""),
        ("-", ""),
        ("..", ".."),
    ],
)
def test_names_are_fixed_as_the_original_does(name: str, fixed: str) -> None:
    assert queue_name_fix(name) == fixed


@given(st.text())
def test_a_fixed_name_has_no_separator_and_stays_as_it_is(name: str) -> None:
    fixed = queue_name_fix(name)
    assert ":" not in fixed
    assert "/" not in fixed
    # a name that began with two runs keeps one leading underscore, which a second fixing would take
    assert queue_name_fix(fixed) in (fixed, fixed.removeprefix("_"))


@pytest.mark.parametrize("name", ["", "é", "..", ".", "x" * 201])
def test_a_name_that_cannot_be_a_folder_is_refused_and_named(name: str) -> None:
    with pytest.raises(InvalidName) as caught:
        Queue.of(name, "topic")
    assert caught.value.field == "circle_id"
    assert "use" in str(caught.value)
    with pytest.raises(InvalidName, match="topic"):
        Queue.of("circle", name)


def test_a_queue_key_parses_back_only_if_it_is_one() -> None:
    assert Queue.parse("a:b") == Queue("a", "b")
    for wrong in ("a", "a:b:c", "A:b", ":b", "a:", "..:b", "a:."):
        assert Queue.parse(wrong) is None


def test_a_reference_is_written_as_it_is_read() -> None:
    ref = Ref.parse("My Circle/My Topic/12")
    assert str(ref) == "my_circle/my_topic/12"
    assert Ref.parse(str(ref)) == ref


@pytest.mark.parametrize("text", ["", "12", "a/b", "a/b/c", "a/b/0", "a/b/-1", "a/b/4294967296", "a/b/1/2", "a/b/١"])
def test_what_is_no_reference_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(InvalidReference, match="circle/topic/id"):
        Ref.parse(text)
