"""Params, args, values, blocks, lists, comments (HeroScript 5)."""

import pytest

from herojobs.heroscript import HeroScriptError, Params, PlayBook


def read(text: str) -> Params:
    """Read params on an action line and alone: both must agree."""
    alone = Params.parse(text)
    (action,) = PlayBook.parse("!!a.b " + text).actions
    assert action.params == alone
    return alone


def value(text: str) -> str:
    return read("x:" + text).table["x"].value


def problem(text: str) -> str:
    with pytest.raises(HeroScriptError) as raised:
        PlayBook.parse(text)
    assert raised.value.code == "syntax"
    return str(raised.value)


@pytest.mark.parametrize(
    ("text", "params", "args"),
    [
        ("key:value", {"key": "value"}, []),
        ("key: value", {"key": "value"}, []),
        ("key:   value", {"key": "value"}, []),
        ("My-Key:v k__x:1 1st:a _p:b x.y:c", {"my_key": "v", "k_x": "1", "1st": "a", "_p": "b", "x.y": "c"}, []),
        ("at:10:30 nrs:0:10,12:11", {"at": "10:30", "nrs": "0:10,12:11"}, []),
        ("url:https://x.org/a?b=c,d", {"url": "https://x.org/a?b=c,d"}, []),
        ("url: https://x.org/a", {"url": "https://x.org/a"}, []),
        ("http://x.org/a word://y", {}, ["http://x.org/a", "word://y"]),
        (
            "--force a=b /etc/x 'two words' a,b a b a",
            {},
            ["--force", "a=b", "/etc/x", "two words", "a,b", "a", "b", "a"],
        ),
        ("Aa 'x:1' \"--k:v\" it's é ` @a", {}, ["Aa", "x:1", "--k:v", "it's", "é", "`", "@a"]),
        ("''", {}, [""]),
        ("x:1 flag y:2", {"x": "1", "y": "2"}, ["flag"]),
        ("a:b:c", {"a": "b:c"}, []),
        ("p:/etc/x", {"p": "/etc/x"}, []),
        ("", {}, []),
    ],
)
def test_params_and_args(text: str, params: dict[str, str], args: list[str]) -> None:
    parsed = read(text)
    assert dict(parsed.items()) == params
    assert parsed.args == args


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("!!a.b k : v", "line 1, column 9: a key must stand right before the colon, as in key: value"),
        ("!!a.b é:1", 'line 1, column 7: "é" can\'t be a key (letters, digits and _ . -); quote it to make it an arg'),
        (
            "!!a.b a=b:c",
            'line 1, column 7: "a=b" can\'t be a key (letters, digits and _ . -); quote it to make it an arg',
        ),
        (
            "!!a.b --x:1",
            'line 1, column 7: "--x" can\'t be a key (letters, digits and _ . -); quote it to make it an arg',
        ),
        (
            "!!a.b\n  /a:ro",
            'line 2, column 3: "/a" can\'t be a key (letters, digits and _ . -); quote it to make it an arg',
        ),
        ("!!a.b 'a','b'", "line 1, column 10: text right after the closing quote"),
    ],
)
def test_what_is_no_param_is_told(text: str, message: str) -> None:
    assert problem(text).startswith(message)


# Values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("C:\\new", "C:\\new"),
        ("a<BR>b<<BR>>c", "a\nb\nc"),
        ("a<br>b", "a<br>b"),
        ("`a b`", "`a"),
        ("it's", "it's"),
        ('a"b', 'a"b'),
        ("a//b", "a//b"),
        ("<b>", "<b>"),
        ("<!--", "<!--"),
        ("#x", "#x"),
        ("{y}", "{y}"),
        ("\u00a0", "\u00a0"),
    ],
)
def test_bare_values(text: str, expected: str) -> None:
    parsed = Params.parse("x:" + text)
    assert parsed.table["x"].value == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'box 1'", "box 1"),
        ('"box 1"', "box 1"),
        ("'''it's'''", "it's"),
        ('"""say "hi"!"""', 'say "hi"!'),
        ("''", ""),
        ('""', ""),
        ("'  a  '", "a"),
        ("'{\"a\": 1}'", '{"a": 1}'),
        ('"it\'s"', "it's"),
        (r"'it\'s'", "it's"),
        (r"'a\"b'", 'a"b'),
        (r"'a\\b'", "a\\b"),
        (r"'a\nb'", "a\nb"),
        (r"'C:\dir\x'", "C:\\dir\\x"),
        (r"'\<BR>'", "<BR>"),
        ("'a<BR>b<<BR>>c'", "a\nb\nc"),
        (r"'a\\'", "a\\"),
        ("'// no comment # none'", "// no comment # none"),
        ("'a'//note", "a"),
        ("'!!c.d'", "!!c.d"),
    ],
)
def test_quoted_values(text: str, expected: str) -> None:
    assert value(text) == expected


def test_a_quoted_value_goes_on_over_lines() -> None:
    text = "!!a.b x:'one // two\n\n      !!c.d <BR>\n    // three\n   k:v' y:1\n"
    (action,) = PlayBook.parse(text).actions
    assert action.params.items() == [("x", "one // two\n\n   !!c.d <BR>\n // three\nk:v"), ("y", "1")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("!!a.b x:'open", "line 1, column 9: the quote ' that opens here isn't closed before the end of the text"),
        (
            '!!a.b\n  x: "open\n!!c.d y:"z"',
            "line 2, column 6: the quote \" that opens here isn't closed before the action in line 3",
        ),
        ("!!a.b x:'\n open\n", "line 1, column 9: the quote ' that opens here isn't closed before the end of the text"),
        ("!!a.b '''x''", "line 1, column 7: the quote ''' that opens here isn't closed before the end of the text"),
        (r"!!a.b x:'a\'", "line 1, column 9: the quote ' that opens here isn't closed before the end of the text"),
        (
            "!!a.b x:'it's'",
            "line 1, column 13: text right after the closing quote of the value that opened at line 1, column 9; "
            "write \\' for a quote inside it",
        ),
        ("!!a.b x:'a'] y:1", "line 1, column 12: text right after the closing quote"),
    ],
)
def test_wrong_quotes_are_told_where_they_open(text: str, message: str) -> None:
    assert problem(text).startswith(message)


def test_a_line_in_a_value_that_looks_like_an_action_of_other_text_is_text() -> None:
    (action,) = PlayBook.parse("!!a.b x:'one\n!!!!! two\n! three\n![i]'").actions
    assert action.params.get("x") == "one\n!!!!! two\n! three\n![i]"


# Blocks


@pytest.mark.parametrize("quote", ["'", '"', "'''", '"""'])
def test_a_block_is_verbatim_and_dedented(quote: str) -> None:
    text = (
        f"!!a.b first:1 x:{quote}  \n\n\t\tdef f():\n\t\t\treturn 'a' // \"b\" \\n <BR>\n\n      # it's\n  \n"
        f"   {quote} // note\n  next:2"
    )
    (action,) = PlayBook.parse(text).actions
    assert action.params.items() == [
        ("first", "1"),
        ("x", "  def f():\n      return 'a' // \"b\" \\n <BR>\n\n# it's"),
        ("next", "2"),
    ]
    assert action.params.comment("x") == "note"


def test_a_block_without_a_closing_line_ends_where_its_quote_does() -> None:
    (action,) = PlayBook.parse("!!a.b x:'\n    one\n    it''s 'quoted' two'\n  y:1").actions
    assert action.params.items() == [("x", "one\nit''s 'quoted' two"), ("y", "1")]
    assert Params.parse("x:'\n  '").items() == [("x", "")]


def test_only_its_own_quote_closes_a_block() -> None:
    assert Params.parse("x:'\n  \"\n  '''\n  '").get("x") == "\"\n'''"
    with pytest.raises(HeroScriptError, match="isn't closed"):
        Params.parse("x:\"\n  a\n  '\n")


# Keys with nothing behind them


def test_a_key_with_nothing_behind_it() -> None:
    text = """
    !!note.add first:
        text:
            two lines
            // of text

              deeper
        said: // by whom
            'a value below'
        empty:
        other: <!-- why --> x
        next: 1
        last:
    """
    (action,) = PlayBook.parse(text).actions
    assert action.params.items() == [
        ("first", ""),
        ("text", "two lines\n// of text\n\n  deeper"),
        ("said", "a value below"),
        ("empty", ""),
        ("other", "x"),
        ("next", "1"),
        ("last", ""),
    ]
    assert (action.params.comment("said"), action.params.comment("other")) == ("by whom", "why")


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("!!a.b x:\n    y:1", [("x", ""), ("y", "1")]),
        ("!!a.b x:\n    'quoted'", [("x", "quoted")]),
        ("!!a.b\n  x:\n      one\n      !!c.d\n", [("x", "one")]),
        ("!!a.b\n  w:1 x:\n      y", [("w", "1"), ("x", "")]),
        ("!!a.b\n  x:\n    ![image](u)\n  y:2", [("x", "![image](u)"), ("y", "2")]),
        ("!!a.b\n  x:\nunindented", [("x", "")]),
    ],
)
def test_what_stands_below_a_key(text: str, params: list[tuple[str, str]]) -> None:
    assert PlayBook.parse(text).actions[0].params.items() == params


# Lists


@pytest.mark.parametrize(
    ("text", "expected", "items"),
    [
        ("a,b", "a,b", ["a", "b"]),
        ("a , b", "a,b", ["a", "b"]),
        ("a, 'b c'", 'a,"b c"', ["a", "b c"]),
        ("'a', \"b\"", "a,b", ["a", "b"]),
        ("'x,y', z", '"x,y",z', ["x,y", "z"]),
        ("a,\n    b,\n\n    c", "a,b,c", ["a", "b", "c"]),
        ("a, // first\n    b", "a,b", ["a", "b"]),
        ("a,", "a", ["a"]),
        ("a,b,", "a,b", ["a", "b"]),
        ("'a b',c", '"a b",c', ["a b", "c"]),
        ("a,'',b", "a,,b", ["a", "", "b"]),
        ("1,http://x", "1,http://x", ["1", "http://x"]),
        ("0:10,12:11", "0:10,12:11", ["0:10", "12:11"]),
        ("[1, 2]", "[1,2]", ["1", "2"]),
        ("['a','b']", "[a,b]", ["a", "b"]),
        ("[\n  a,\n  'b c',\n]", '[a,"b c"]', ["a", "b c"]),
        ("[red, dark blue]", '[red,"dark blue"]', ["red", "dark blue"]),
        ("[]", "[]", []),
        ("[a],", "[a]", ["a"]),
        ("[it's, 'x]y']", "[it's,x]y]", ["it's", "x]y"]),
        ("'x, y'", "x, y", ["x", "y"]),
    ],
)
def test_lists(text: str, expected: str, items: list[str]) -> None:
    parsed = read("x:" + text)
    assert parsed.table["x"].value == expected
    assert parsed.get_list("x") == items


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[{"a": "]", "b": [1, 2]}]', '[{"a": "]", "b": [1, 2]}]'),
        ("[[1],\n   [2]]", "[[1],\n[2]]"),
        ("[ab]*.txt", "[ab]*.txt"),
    ],
)
def test_brackets_that_are_no_plain_list(text: str, expected: str) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("!!a.b a:1, b:2", "line 1, column 12: comma between params: leave out the comma before b: or quote the value"),
        ("!!a.b a:1,\n  b:2", "line 2, column 3: comma between params"),
        ("!!a.b a:[1], b:2", "line 1, column 14: comma between params"),
        ("!!a.b a:[1], 2", "line 1, column 14: a list in brackets ends the value; put all items inside the [ ]"),
        ("!!a.b a:[1, 2", "line 1, column 9: the bracket [ that opens here isn't closed"),
        ("!!a.b a:[1\n!!c.d", "line 1, column 9: the bracket [ that opens here isn't closed"),
        ("!!a.b a:[1, 2]x", "line 1, column 15: text after the closing bracket ]"),
        ("!!a.b a:[1,,2]", "line 1, column 12: nothing between two commas; write '' for an empty item"),
        ("!!a.b a:['b' c]", "line 1, column 14: expected a comma or ] after the closing quote"),
        ("!!a.b a:[b, // c\n d]", "line 1, column 13: no comments inside [ ]"),
        ("!!a.b a:1,,2", "line 1, column 11: a value can't start with a comma"),
        ("!!a.b a:,1", "line 1, column 9: a value can't start with a comma"),
    ],
)
def test_wrong_lists_are_told(text: str, message: str) -> None:
    assert problem(text).startswith(message)


# Comments


def test_comments_belong_to_what_they_stand_above_or_behind() -> None:
    text = """
    !!a.b // of nothing yet
        // above x
        //
        // still
        x:1 y:2 // behind the first of the line
        a z:3   // behind an arg
        b       <!-- over
                     lines -->
        w:'
          block
          ' // behind w
        // after the last
    """
    params = PlayBook.parse(text).actions[0].params
    assert {key: params.comment(key) for key in params.table} == {
        "x": "of nothing yet\nabove x\n\nstill\nbehind the first of the line",
        "y": "",
        "z": "",
        "w": "behind w",
    }
    assert params.comments == ["behind an arg", "over\nlines", "after the last"]


def test_slashes_inside_a_token_are_text() -> None:
    params = Params.parse("u:http://x v:a//b // don't stop 'here'\n w:1")
    assert params.items() == [("u", "http://x"), ("v", "a//b"), ("w", "1")]
    assert params.comment("u") == "don't stop 'here'"


def test_a_comment_that_is_not_closed_is_an_error() -> None:
    assert problem("!!a.b x:1\n  <!-- open") == (
        "line 2, column 3: the comment <!-- that opens here isn't closed by -->"
    )


# Duplicates, id


def test_the_last_of_two_equal_keys_wins_with_a_warning() -> None:
    playbook = PlayBook.parse("!!a.b x:1 y:2\n  X:3")
    assert playbook.actions[0].params.items() == [("y", "2"), ("x", "3")]
    assert [str(note) for note in playbook.warnings] == ['line 2, column 3: "x" is given twice; the last value wins']


def test_id_is_kept_apart_in_actions_only() -> None:
    (action,) = PlayBook.parse("!!a.b ID:'7' cid:8").actions
    assert (action.given_id, action.id, action.params.items()) == ("7", 1, [("cid", "8")])
    assert Params.parse("id:7").items() == [("id", "7")]
