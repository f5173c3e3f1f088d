"""Declaring actors, registries, binding (HeroScript 12.1 and 12.2)."""

from __future__ import annotations

import dataclasses
import enum
import sys
import types
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from herojobs.heroscript import (
    Action,
    Context,
    HeroScriptError,
    Money,
    PlayBook,
    Registry,
    Size,
    action,
    actor,
    bind,
)


class Color(enum.Enum):
    RED = "r"
    DARK_BLUE = "b"


@dataclasses.dataclass
class Box:
    name: str
    size: int = 1
    tags: list[str] = dataclasses.field(default_factory=list)


class Label(msgspec.Struct):
    text: str
    copies: int = 1


SEEN: dict[str, Any] = {}


def takes(annotation: Any, text: str) -> Any:
    """Return what an action gets whose parameter `x` is annotated."""

    def handler(x: Any) -> None:
        SEEN["x"] = x

    handler.__annotations__["x"] = annotation
    registry = Registry(action("try.it")(handler), builtin=False)
    bind(PlayBook.parse(f"!!try.it x:{text}", strict=True), registry).run()
    return SEEN["x"]


@pytest.mark.parametrize(
    ("annotation", "text", "expected"),
    [
        (str, "'a b'", "a b"),
        (str, "''", ""),
        (int, "1_000", 1000),
        (float, "15%", 0.15),
        (bool, "Yes", True),
        (Decimal, "0.10", Decimal("0.10")),
        (Money, "'20 k tft'", Money(Decimal(20_000), "TFT")),
        (Size, "20MB", 20 * 1024**2),
        (datetime, "2022-12-5", datetime(2022, 12, 5, tzinfo=UTC)),
        (date, "2022-12-5", date(2022, 12, 5)),
        (timedelta, "1h30m", timedelta(minutes=90)),
        (Path, "/nowhere/at/all", Path("/nowhere/at/all")),
        (Literal["red", "dark blue"], "Dark-Blue", "dark blue"),
        (Literal[1, 2], "2", 2),
        (Color, "dark_blue", Color.DARK_BLUE),
        (Color, "r", Color.RED),
        (list[int], "1,2", [1, 2]),
        (list[str], "''", []),
        (list, "a, 'b c'", ["a", "b c"]),
        (set[int], "[1, 2, 1]", {1, 2}),
        (frozenset[str], "a,b", frozenset("ab")),
        (tuple[int, ...], "1,2,3", (1, 2, 3)),
        (tuple[str, int], "a,2", ("a", 2)),
        (dict, "'{\"a\": [1]}'", {"a": [1]}),
        (dict, "'a:1 b:2'", {"a": "1", "b": "2"}),
        (dict[str, int], "'a:1 b:2'", {"a": 1, "b": 2}),
        (dict[str, int], "'{\"a\": 1}'", {"a": 1}),
        (Box, "'name:b size:2 tags:x,y'", Box("b", 2, ["x", "y"])),
        (Box, '\'{"name": "b"}\'', Box("b")),
        (Label, "'text:hi copies:3'", Label("hi", 3)),
        (Label, '\'{"text": "hi"}\'', Label("hi")),
        (int | None, "3", 3),
        (int | str, "x", "x"),
        (str | int, "3", 3),
        (Any, "x", "x"),
        (list[Color], "red,b", [Color.RED, Color.DARK_BLUE]),
    ],
)
def test_annotations(annotation: Any, text: str, expected: Any) -> None:
    got = takes(annotation, text)
    assert got == expected
    assert type(got) is type(expected) or isinstance(got, Size)


@pytest.mark.parametrize(
    ("annotation", "text", "accepted"),
    [
        (int, "four", 'a whole number, not "four"'),
        (int, "99999999999999999999", "a whole number from -9,223,372,036,854,775,808"),
        (float, "x", "a number"),
        (bool, "maybe", "true or false (1 yes y on, 0 no n off)"),
        (Money, "x", "an amount of money, like 10.5 USD, $5 or 20k EUR"),
        (Size, "x", "a size, like 500, 20MB or 1.5 GB"),
        (datetime, "x", "a time, like 2026-12-24 18:00, +2h or now"),
        (timedelta, "x", "a duration, like 90, 90s, 1h30m or 2d"),
        (Literal["red", "blue"], "green", "red or blue"),
        (Color, "green", "red or dark_blue"),
        (list[int], "1,x", 'a list whose items are each a whole number, not "1,x"'),
        (tuple[int, int], "1", "2 values with commas between them"),
        (dict, "'{a'", "a JSON object, or params like 'a:1 b:2' ("),
        (dict, "'k : v'", "a JSON object, or params like 'a:1 b:2' (a key must stand right before the colon"),
        (Box, "size:2", "a JSON object, or params of a Box (Box needs"),
        (Box, "'{\"size\": 2}'", "a JSON object, or params of a Box (Object missing required field"),
        (int | float, "x", "whole number or number"),
    ],
)
def test_a_text_that_does_not_fit(annotation: Any, text: str, accepted: str) -> None:
    with pytest.raises(HeroScriptError) as raised:
        takes(annotation, text)
    assert str(raised.value).startswith(f'line 1, column 12: "x" of try.it must be {accepted}')
    assert raised.value.code == "bad_value"


@pytest.mark.parametrize("annotation", [int, bool, datetime, dict, Path])
def test_an_empty_text_counts_as_not_given(annotation: Any) -> None:
    with pytest.raises(HeroScriptError, match=r'line 1, column 1: try.it needs "x" \(.*\)'):
        takes(annotation, "''")


@actor
class Parcel:
    """Parcels and what happens to them.

    More words.
    """

    def __init__(self) -> None:
        self.packed: list[str] = []

    @action(aliases={"colour": "color"})
    def pack(self, name: str, pieces: int = 1, *, color: Color = Color.RED, fragile: bool = False) -> str:
        """Pack a parcel.

        More words.
        """
        self.packed.append(name)
        return f"{name} {pieces} {color.name} {fragile} of {len(self.packed)}"

    @action
    def label(self, name: str, *texts: str, big: bool = False, times: int = 2) -> str:
        return f"{name} {texts} {big} {times}"

    @action("drop")
    def _drop(self, **rest: int) -> dict[str, int]:
        return rest

    @action(types=("dal", "wal"))
    def read(self, type_: str = "", id: int = 0) -> str:
        return f"{type_}{id}"

    @action
    def look(self, this: Action, playbook: PlayBook, registry: Registry, context: Context | None = None) -> str:
        return (
            f"{this.type} {this.params.items()} {len(playbook.actions)} {len(registry.actors)} {type(context).__name__}"
        )

    def no_action(self) -> None:
        raise AssertionError


def run(script: str, *sources: object) -> str:
    registry = Registry(*(sources or (Parcel,)), builtin=False)
    return bind(PlayBook.parse(script, strict=True), registry).run()


def problem(script: str, *sources: object) -> str:
    with pytest.raises(HeroScriptError) as raised:
        run(script, *sources)
    return str(raised.value)


@pytest.mark.parametrize(
    ("script", "result"),
    [
        ("!!parcel.pack name:x", "x 1 RED False of 1"),
        ("!!PARCEL.Pack Name:x pieces:2 COLOUR:dark-blue fragile", "x 2 DARK_BLUE True of 1"),
        ("!!parcel.pack name:x fragile:no", "x 1 RED False of 1"),
        ("!!parcel.pack name:x pieces:''", "x 1 RED False of 1"),
        ("!!parcel.pack name:x\n!!parcel.pack name:y", "x 1 RED False of 1\ny 1 RED False of 2"),
        ("!!parcel.label name:x a 'b c' big a", "x ('a', 'b c', 'a') True 2"),
        ("!!parcel.label name:x 'big'", "x ('big',) False 2"),
        ("!!parcel.label name:x", "x () False 2"),
        ("!!parcel.drop b:1 a:2", '{"b":1,"a":2}'),
        ("!parcel.read id:7 type:x", "x7"),
        ("!!!!parcel.read", "0"),
        ("!!!parcel.look", "macro [] 1 1 Context"),
    ],
)
def test_params_bind_to_parameters(script: str, result: str) -> None:
    assert run(script) == result


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "!!parcel.pack\n    name:x\n\n    pices:3",
            'line 4, column 5: unknown parameter "pices" of parcel.pack; did you mean "pieces"?',
        ),
        ("!!parcel.pack", 'line 1, column 1: parcel.pack needs "name" (text)'),
        (
            "!!parcel.pack name:x\n  pieces:four",
            'line 2, column 10: "pieces" of parcel.pack must be a whole number, not "four"',
        ),
        ("!!parcel.pack name:x fragil", 'like "fragil"; did you mean "fragile"?'),
        ("!!parcel.pack name:x fragile fragile", "line 1, column 30: parcel.pack takes no value without a key"),
        ("!!parcel.pack name:x fragile:no fragile", "line 1, column 33: parcel.pack takes no value without a key"),
        ("!!parcel.pack name:x color:red colour:red", '"colour" of parcel.pack is given twice'),
        ("!!parcel.look context:x", 'unknown parameter "context" of parcel.look; it takes none'),
        ("!!parcel.drop self:1", 'unknown parameter "self" of parcel.drop'),
        ("!!parcel.drop a:x", '"a" of parcel.drop must be a whole number, not "x"'),
        ("!!parcel.label name:x times:x a", '"times" of parcel.label must be a whole number'),
        ("!!parcel.read", "parcel.read takes actions of type dal or wal, not sal"),
        ("!!parcel.no_action", 'unknown action "no_action" of parcel; known actions: drop, label, look, pack, read'),
        ("!!fake.sleep", 'line 1, column 3: unknown actor "fake"; known actors: parcel'),
        (
            "!!parcel.pack\n!!parcel.pack x:1\n!!x.y",
            'line 1, column 1: parcel.pack needs "name" (text) (and 3 more problems)',
        ),
        ("text only", "line 1, column 1: no actions found; an action is a line like !!actor.action key:value"),
    ],
)
def test_problems_are_found_before_anything_runs(script: str, message: str) -> None:
    assert message in problem(script)


def test_nothing_runs_when_a_later_action_is_wrong() -> None:
    ran = []

    @action("log.it")
    def it() -> None:
        ran.append(1)

    assert "needs" in problem("!!log.it\n!!parcel.pack", it, Parcel)
    assert ran == []


def test_values_that_can_change_are_fresh_in_each_run() -> None:
    seen = []

    @action("try.it")
    def it(items: list[str], when: datetime) -> None:
        items.append("more")
        seen.append((items, when))

    bound = bind(PlayBook.parse("!!try.it items:a when:now"), Registry(it))
    bound.run()
    bound.run()
    (first, early), (second, late) = seen
    assert first == second == ["a", "more"]
    assert early < late


# Declaring and registering


def test_names_of_actors_and_actions() -> None:
    @actor
    class ParcelDepot:
        @action
        def ReturnJSON(self) -> str:
            return "json"

    assert run("!!parcel_depot.return_json", ParcelDepot) == "json"
    assert run("!!ParcelDepot.x\n", actor("parceldepot")(type("D", (), {"x": action("x")(lambda self: "x")}))) == "x"

    @action
    def greet(name: str = "you") -> str:
        return f"hello {name}"

    assert run("!!greet name:me", greet) == "hello me"


class Ours(Context):
    circle = "reports"


@actor
class Where:
    def __init__(self, context: Ours, other: int = 1) -> None:
        self.context = context

    @action
    def circle(self) -> str:
        return self.context.circle


def test_an_instance_serves_all_scripts() -> None:
    parcel = Parcel()
    assert run("!!parcel.pack name:x", parcel) == "x 1 RED False of 1"
    assert run("!!parcel.pack name:x", parcel) == "x 1 RED False of 2"


def test_an_actor_may_take_the_context() -> None:
    bound = bind(PlayBook.parse("!!where.circle"), Registry(Where))
    assert bound.run(Ours()) == "reports"
    with pytest.raises(HeroScriptError, match=r"where.circle: it needs a Ours, and runs with a Context"):
        bound.run()


def module(name: str, **content: Any) -> types.ModuleType:
    made = types.ModuleType(name)
    vars(made).update(content)
    return made


def test_actors_of_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    @action("mail.send")
    def send() -> str:
        return "sent"

    send.__module__ = "shop.mail"
    monkeypatch.setitem(sys.modules, "shop", module("shop", Parcel=Parcel, other=1))
    monkeypatch.setitem(sys.modules, "shop.mail", module("shop.mail", send=send, Parcel=Parcel))
    registry = Registry("shop", sys.modules["shop.mail"], "shop.mail")
    assert list(registry.actors) == ["fake", "core", "play", "session", "parcel", "mail"]
    assert bind(PlayBook.parse("!!mail.send"), registry).run() == "sent"
    with pytest.raises(ValueError, match="the module empty has no class marked"):
        Registry(module("empty", x=1))
    with pytest.raises(ModuleNotFoundError):
        Registry("no_such_module")


def test_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints([EntryPoint("parcel", f"{__name__}:Parcel", "herojobs.actors")])
    monkeypatch.setitem(sys.modules, __name__, module(__name__, Parcel=Parcel))
    monkeypatch.setattr("herojobs.heroscript.registry.entry_points", lambda group: points.select(group=group))
    assert "parcel" in Registry(entry_points=True)
    assert "parcel" not in Registry()


def test_what_cannot_be_registered() -> None:
    @actor("parcel")
    class Other:
        @action
        def x(self) -> None: ...

    with pytest.raises(ValueError, match=r'two actors are called "parcel": .*Parcel and .*Other; rename one'):
        Registry(Parcel, Other)

    @action("parcel.x")
    def x() -> None: ...

    with pytest.raises(ValueError, match='two actors are called "parcel"'):
        Registry(Parcel, x)

    @action("core.echo")
    def echo() -> None: ...

    with pytest.raises(ValueError, match=r"two actions are called core.echo"):
        Registry(echo)

    @actor
    class Empty:
        pass

    with pytest.raises(ValueError, match="has no method marked with @action"):
        Registry(Empty)

    @actor
    class Static:
        @staticmethod
        @action
        def x() -> None: ...

    with pytest.raises(TypeError, match="an action is a method, not static"):
        Registry(Static)

    @actor
    class Demanding:
        def __init__(self, database: str) -> None: ...

        @action
        def x(self) -> None: ...

    with pytest.raises(TypeError, match="__init__ needs 'database'; give the registry an instance"):
        Registry(Demanding)
    with pytest.raises(TypeError, match="isn't marked with @actor"):
        Registry(Color)
    with pytest.raises(TypeError, match="isn't marked with @action"):
        Registry(module)
    with pytest.raises(TypeError, match="5 is no module, no class"):
        Registry(5)

    @action("a.b")
    def odd(x: type) -> None: ...

    with pytest.raises(TypeError, match=r"a.b: parameter 'x': no text can become"):
        Registry(odd)

    @action("a.b")
    def only(x: int, /) -> None: ...

    with pytest.raises(TypeError, match="can't be positional-only"):
        Registry(only)

    @action("a.b", aliases={"y": "z"})
    def alias(x: int) -> None: ...

    with pytest.raises(TypeError, match="the alias 'y' is for 'z', which is no parameter"):
        Registry(alias)
    for wrong in ("a.b.c", ".b", "é"):
        with pytest.raises(ValueError, match="can't be the name of an action"):
            action(wrong)(x)
    with pytest.raises(ValueError, match="can't be the name of an actor"):
        actor("é")
    with pytest.raises(TypeError, match="mark the function"):
        actor(x)  # type: ignore[type-var]
    with pytest.raises(ValueError, match="'x' is no type of action"):
        action("a.b", types=["x"])(x)  # type: ignore[list-item]


def test_a_limited_registry() -> None:
    registry = Registry(Parcel)
    limited = registry.limited(["parcel", "core"])
    assert list(limited.actors) == ["parcel", "core"]
    with pytest.raises(HeroScriptError, match='unknown actor "fake"; known actors: core, parcel'):
        bind(PlayBook.parse("!!fake.sleep"), limited)
    assert "fake" not in bind(PlayBook.parse("!!core.help"), limited).run()
    with pytest.raises(ValueError, match='there is no actor "parcl"; did you mean "parcel"'):
        registry.limited(["parcl"])


def test_help() -> None:
    registry = Registry(Parcel)
    assert registry.help("parcel") == (
        "parcel: Parcels and what happens to them.\n"
        "  parcel.drop [any:value …]\n"
        "  parcel.label name:(text) [big:false] [times:2] [values …]\n"
        "  parcel.look\n"
        "  parcel.pack name:(text) [pieces:1] [color:red] [fragile:false]\n"
        "      Pack a parcel.\n"
        "  parcel.read [type:''] [id:0]"
    )
    assert registry.actors["parcel"].summary == "Parcels and what happens to them."
    assert registry.help().count("\n\n") == 4
    with pytest.raises(ValueError, match='there is no actor "x"'):
        registry.help("x")


def test_a_missing_actor_is_suggested_for_a_name_of_one_part() -> None:
    with pytest.raises(HeroScriptError, match=r'unknown action "return_success" of core; did you mean "fake.return_'):
        bind(PlayBook.parse("!!return_success"), Registry())
