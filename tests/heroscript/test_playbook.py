"""Finding, sorting, joining, writing (HeroScript 6 and 10)."""

from pathlib import Path

import pytest

from herojobs.heroscript import HeroScriptError, Params, PlayBook

SCRIPT = "!!vm.define a:1\n!!vm.start a:2\n!!net.define b:3\n!!login\n!!vm.define a:4 c:5\n"


def names(playbook: PlayBook, filter_text: str, include_done: bool = False) -> list[int]:
    return [action.id for action in playbook.find(filter_text, include_done)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", [1, 2, 3, 4, 5]),
        ("vm.define", [1, 5]),
        ("VM:Define", [1, 5]),
        ("vm.", [1, 2, 5]),
        (".define", [1, 3, 5]),
        ("*.", [1, 2, 3, 4, 5]),
        ("login", [4]),
        ("core.login", [4]),
        ("define", []),
        ("v?.st*", [2]),
        ("[vn]*.define", [1, 3, 5]),
        ("[^v]*.*", [3, 4]),
        ("net.*, vm.start,vm.*", [1, 2, 3, 5]),
        ("x.y", []),
    ],
)
def test_find(text: str, found: list[int]) -> None:
    assert names(PlayBook.parse(SCRIPT), text) == found


def test_done_actions_are_left_out() -> None:
    playbook = PlayBook.parse(SCRIPT)
    playbook.actions[0].done = True
    assert names(playbook, "vm.define") == [5]
    assert names(playbook, "vm.define", include_done=True) == [1, 5]


def test_helpers_of_find() -> None:
    playbook = PlayBook.parse(SCRIPT)
    assert playbook.exists("vm.define")
    assert not playbook.exists("x.")
    assert playbook.exists_once("login")
    assert not playbook.exists_once("vm.")
    assert playbook.get("vm.start").params.get("a") == "2"
    playbook.ensure_once("login")
    assert playbook.max_once("login")
    assert not playbook.max_once("x.y")
    with pytest.raises(HeroScriptError, match=r'no action matches "x.y"'):
        playbook.get("x.y")
    with pytest.raises(HeroScriptError, match=r'line 5, column 1: 2 actions match "vm.define" \(lines 1, 5\), not one'):
        playbook.max_once("vm.define")
    with pytest.raises(HeroScriptError, match=r"line 1, column 1: vm.define wasn't processed"):
        playbook.ensure_processed("vm.")
    with pytest.raises(HeroScriptError, match=r"not processed: vm.define \(line 1\), vm.start \(line 2\), net"):
        playbook.empty_check()
    assert playbook.params_get("vm.").items() == [("a", "4"), ("c", "5")]
    for action in playbook.actions:
        action.done = True
    playbook.ensure_processed()
    playbook.empty_check()


def test_filtersort_starts_afresh_each_time() -> None:
    playbook = PlayBook.parse(SCRIPT)
    assert [one.id for one in playbook.actions_sorted()] == [1, 2, 3, 4, 5]
    assert playbook.actions_sorted(prio_only=True) == []
    for _ in range(2):
        playbook.filtersort({2: "vm.*", 0: "login", 1: "vm.start,x.y"})
        assert [one.id for one in playbook.actions_sorted()] == [4, 2, 1, 5, 3]
        assert [one.priority for one in playbook.actions] == [2, 1, 50, 0, 2]
    assert [one.id for one in playbook.actions_sorted(prio_only=True)] == [4, 2, 1, 5]
    playbook.filtersort({3: "net."})
    assert [one.id for one in playbook.actions_sorted()] == [3, 1, 2, 4, 5]
    with pytest.raises(ValueError, match="a priority is 0 to 49, not 50"):
        playbook.filtersort({50: "x"})


def test_adding_goes_on_with_the_numbers() -> None:
    playbook = PlayBook.parse("!!a.b\nfirst")
    playbook.add("!!c.d\nsecond")
    assert [(one.id, one.full_name) for one in playbook.actions] == [(1, "a.b"), (2, "c.d")]
    assert playbook.other_text == "first\nsecond"


def test_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# Title\n!!a.two {X}\n")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "z.hero").write_text("!!a.one")
    (tmp_path / "c.heroscript").write_text("!!a.three")
    (tmp_path / "no.txt").write_text("!!a.no")
    playbook = PlayBook.from_folder(tmp_path, replace={"X": "y:1"})
    assert [one.name for one in playbook.actions] == ["one", "two", "three"]
    assert playbook.actions[1].params.get("y") == "1"
    (tmp_path / "d.hero").write_text("\n!!!!!a.b")
    with pytest.raises(HeroScriptError, match=r"^d.hero, line 2, column 1: an action has one to four"):
        PlayBook.from_folder(tmp_path)


def test_names_in_the_source_are_replaced_first() -> None:
    text = "!!a.b x:@name y:${name} z:{name} w:@names v:[[p]]"
    playbook = PlayBook.parse(text, replace={"name": "1 n:2", "names": "3", "[[p]]": "4"})
    assert playbook.actions[0].params.items() == [
        ("x", "1"),
        ("y", "1"),
        ("z", "1"),
        ("n", "2"),
        ("w", "3"),
        ("v", "4"),
    ]


# Writing

WRITTEN = r"""
//what it is for
!!!Box.Pack ID:'a 7' zeta:1 name:'the "box"' cid:c1 gid:2  Red 'a b' --x alpha:'x:y'   // two
    long:a_value_of_more_than_25_bytes list:'it\'s','b c' one:'q' ctime:1
    // first
    // second
    text:'
      "quoted"
        \n deeper

      end
      '   // third
    back:'C:\\n\\' empty:
    tab:'a\n	b'
"""


def test_canonical_text() -> None:
    assert (
        PlayBook.parse(WRITTEN).canonical()
        == r"""!!!box.pack id:1 // two
    _x a_b red cid:'c1' name:'the "box"'
        alpha:'x:y'
        back:'C:\\n\\'
        empty:''
        gid:'2'
        list:'it\'s,"b c"'
        long:a_value_of_more_than_25_bytes
        one:q
        tab:'a\n	b'
         // first
     // second
     // third
    text:'
        "quoted"
          \n deeper
<blank>
        end
        '
        zeta:1
        ctime:1

""".replace("<blank>", " " * 8)
    )


def test_regenerated_text() -> None:
    text = PlayBook.parse(WRITTEN).regenerate()
    assert text.startswith("// what it is for\n!!!box.pack id:'a 7' Red 'a b' --x cid:'c1' name:'the \"box\"'\n")
    assert "        list:it's, 'b c'\n" in text
    again = PlayBook.parse(text)
    assert again.regenerate() == text
    assert again.canonical() == PlayBook.parse(WRITTEN).canonical()


def test_done_actions_are_written_when_asked_for() -> None:
    playbook = PlayBook.parse("!!a.b x:1\n!!c.d\n!!e.f")
    playbook.actions[0].done = True
    assert playbook.canonical() == "!!c.d id:2 \n!!e.f id:3 \n\n"
    assert playbook.canonical(include_done=True) == "!!a.b id:1 x:1\n\n!!c.d id:2 \n!!e.f id:3 \n\n"
    assert PlayBook().canonical() == PlayBook().regenerate() == ""


@pytest.mark.parametrize(
    "value",
    [
        *("'", '"', "\\", "\\n", "\\'", "a\\", "<BR>", "<<BR>>", "\\<BR>", "// x", "//", "[a", "[a]", "[a,'b']", "a,"),
        *(",a", "a,,b", "a,//b", "a b", "a:b", "", "é", "a\nb", "  a\nb", "a\n\tb", "a\n'\nb", "<!--", "it's"),
        "a\n'\n\"\n'''\n\"\"\"\nb",
    ],
)
def test_every_value_reads_back(value: str) -> None:
    params = Params()
    params.set("key", value)
    assert Params.parse(params.export()).table["key"].value == value
    if value == value.strip():
        action = PlayBook.parse("!!a.b x:1")
        action.actions[0].params.set("key", value)
        for text in (action.canonical(), action.regenerate()):
            assert PlayBook.parse(text).actions[0].params.table["key"].value == value


def test_export_options() -> None:
    params = Params.parse("b:1 a:2\n name:3 // n\n c:4 x")
    assert params.export() == "x a:2 b:1 c:4\nname:3 //n"
    assert params.export(("b",), ("a",), 8, "  ", "!!m.n") == "!!m.n x b:1 c:4\n  name:3 //n\n  a:2"
    assert Params().export() == ""
    assert Params().export(pre="!!a.b") == "!!a.b"


def test_hashes_do_not_depend_on_order_but_on_content() -> None:
    one, two, three = (Params.parse(text) for text in ("b:1 a:2 x y", "y a:2 x b:1", "b:1 a:3 x y"))
    assert one.hexhash() == two.hexhash() != three.hexhash()
    assert len(one.hexhash()) == 64
    first, second = (PlayBook.parse(text).hash() for text in ("!!a.b x:1 y:2", "// c\n!!A.B y:2\n   x: '1'"))
    assert first == second
    assert len(first) == 40
    assert first != PlayBook.parse("!!z.z\n!!a.b x:1 y:2").hash()


def test_hashes_of_the_original() -> None:
    """Canonical text whose hashes the original's tests hold."""
    text = """
//comment for the action
!!payment.add person:fatayera
\t//comment for name
\tname: 'TF Wallet'
\tblockchain: 'stellar' //holochain maybe?
\taccount: 'something'
\tdescription: 'TF Wallet for TFT'
\tpreferred: false
"""
    playbook = PlayBook.parse(text)
    assert playbook.hash() == "4b43d5f8339e7415719244a0efcc240b9f0ba221"
    assert PlayBook.parse(playbook.regenerate()).hash() == "4b43d5f8339e7415719244a0efcc240b9f0ba221"
    playbook.add("//comment2\n!!payment.add person:despiegk\n\tname: 'TF Wallet2'\n")
    assert playbook.hash() == "446865d94a2ef49bf5aa1a1fab8137f6e3a533d1"
    params = """
\t//this is a cool piece of text
\t//
\t//now end of comment
\tid:a1 name6:aaaaa
\tname:'need to do something 1'
\tdescription:'something<BR>yes' //comment 1

\taa //arg comment
\tbb
\tname2:   test
\tname3: hi name10:'this is with space'  name11:aaa11

\t// some comment 2

\tname4: 'aaa'

\tname5:   'aab' //somecomment 3
"""
    assert Params.parse(params).hexhash() == "fca5c320391e7a91ec91999b1b3d66bf5cb7658905284c431777ff6d2fa4a4c3"
