"""Running scripts (HeroScript 12.1)."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from herojobs.heroscript import (
    ActionError,
    Context,
    HeroScriptError,
    PlayBook,
    Registry,
    ScriptCache,
    action,
    actor,
    bind,
)
from herojobs.heroscript.execution import BoundScript


@dataclass
class Point:
    x: int


class Recorder(Context):
    """Keeps what it is told; stops a script before its n-th action."""

    def __init__(self, stop_after: int = 1000) -> None:
        super().__init__({"circle": "reports"})
        self.told: list[object] = []
        self.left = stop_after

    def log(self, message: str, level: str = "info") -> None:
        self.told.append((level, message))

    def progress(self, done: float, total: float = 1.0, message: str = "") -> None:
        self.told.append((done, total, message))

    def checkpoint(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise StoppedError


class StoppedError(KeyboardInterrupt):
    """How a worker interrupts."""


@actor
class Do:
    @action
    def give(self, what: str) -> object:
        return {
            "none": None,
            "text": "a b",
            "list": [1, "x"],
            "empty": "",
            "point": Point(1),
            "true": True,
            "path": Path("/a"),
            "odd": object(),
        }[what]

    @action
    async def wait(self, text: str = "waited") -> str:
        await asyncio.sleep(0)
        return text

    @action
    def later(self) -> object:
        return self.wait("later")

    @action
    def fail(self, how: str = "plain") -> None:
        if how == "plain":
            raise ActionError("the box is empty")
        if how == "key":
            raise KeyError("box")
        raise ValueError

    @action
    async def fail_later(self) -> None:
        await asyncio.sleep(0)
        raise ActionError("too late")

    @action
    def tell(self, context: Recorder) -> str:
        context.log("working", "debug")
        context.progress(1, 4, "first")
        return str(context.extra["circle"])

    @action
    async def thread(self) -> str:
        return threading.current_thread().name

    @action
    def plain_thread(self) -> str:
        return threading.current_thread().name

    @action
    async def hang(self, context: Recorder) -> None:
        try:
            asyncio.get_running_loop().call_soon(interrupt)
            await asyncio.sleep(30)
        finally:
            context.told.append("cleaned up")


def interrupt() -> None:
    raise StoppedError


def bound(script: str) -> BoundScript:
    return bind(PlayBook.parse(script, strict=True), Registry(Do))


@pytest.mark.parametrize(
    ("script", "result"),
    [
        ("!!do.give what:text", "a b"),
        ("!!do.give what:none", ""),
        ("!!do.give what:list", '[1,"x"]'),
        ("!!do.give what:point", '{"x":1}'),
        ("!!do.give what:true", "true"),
        ("!!do.give what:path", '"/a"'),
        ("!!do.give what:text\n!!do.give what:none\n!!do.give what:empty\n!!do.give what:text", "a b\n\na b"),
        ("!!do.wait\n!!do.give what:text\n!!do.wait text:again", "waited\na b\nagain"),
        ("!!do.later", "later"),
    ],
)
async def test_results_are_joined_in_order_sync_and_async(script: str, result: str) -> None:
    script_bound = bound(script)
    assert await script_bound.run_async() == result
    assert await asyncio.to_thread(script_bound.run) == result


def test_a_script_is_async_if_all_its_actions_are() -> None:
    assert bound("!!do.wait\n!!fake.sleep seconds:0").is_async
    assert not bound("!!do.wait\n!!do.give what:text").is_async
    assert not bound("!!session.env_set key:x val:y").is_async
    assert bound("!!session.env_set key:x val:y\n!!do.wait").is_async


@pytest.mark.parametrize(
    ("action_text", "message"),
    [
        ("do.fail", "the box is empty"),
        ("do.fail how:key", "KeyError: 'box'"),
        ("do.fail how:other", "ValueError"),
        ("do.fail_later", "too late"),
        ("do.give what:odd", "its result, of type object, is neither text nor JSON"),
    ],
)
async def test_the_first_failing_action_ends_the_script(action_text: str, message: str) -> None:
    script = bound(f"!!do.give what:text\n!!do.give what:list\n  \n  !!{action_text}\n!!do.give what:text")
    name = action_text.split()[0]
    for run in (lambda: asyncio.to_thread(script.run), script.run_async):
        with pytest.raises(HeroScriptError) as raised:
            await run()
        error = raised.value
        assert str(error) == f"line 4, column 3: {name}: {message}"
        assert (error.code, error.action, error.result) == ("failed", name, 'a b\n[1,"x"]')
        assert error.__cause__ is not None
    assert [one.done for one in script.actions] == [True, True, False, False]


def test_done_and_result_are_set_as_it_goes() -> None:
    script = bound("!!do.give what:text\n!!do.give what:none\n!!session.env_set key:a val:b")
    script.run()
    assert [one.done for one in script.playbook.actions] == [True, True, True]
    assert [one.result.items() for one in script.playbook.actions] == [[("result", "a b")], [], []]
    script.playbook.empty_check()
    again = bound("!!do.give what:text")
    again.run(mark=False)
    assert not again.playbook.actions[0].done


def test_an_action_talks_to_its_context() -> None:
    context = Recorder()
    assert bound("!!do.tell").run(context) == "reports"
    assert context.told == [("debug", "working"), (1, 4, "first")]
    assert context.results == ["reports"]


async def test_between_two_actions_it_stops_when_asked() -> None:
    script = bound("!!do.give what:text\n!!do.wait\n!!do.give what:list")
    for run in (lambda context: asyncio.to_thread(script.run, context), script.run_async):
        context = Recorder(stop_after=2)
        with pytest.raises(StoppedError):
            await run(context)
        assert context.results == ["a b", "waited"]


def test_an_interrupted_coroutine_runs_its_finally_blocks() -> None:
    context = Recorder()
    with pytest.raises(StoppedError):
        bound("!!do.hang").run(context)
    assert context.told == ["cleaned up"]
    # The loop that is kept serves the next script.
    assert bound("!!do.wait").run() == "waited"


def test_async_actions_run_in_the_loop_that_is_given() -> None:
    loop = asyncio.new_event_loop()
    try:
        assert bound("!!do.wait\n!!do.give what:text\n!!do.thread").run(loop=loop) == "waited\na b\nMainThread"
        assert not loop.is_closed()
    finally:
        loop.close()


async def test_sync_actions_do_not_block_the_loop() -> None:
    mine, theirs = (await bound("!!do.thread\n!!do.plain_thread").run_async()).split("\n")
    assert mine == threading.current_thread().name != theirs


async def test_many_runs_share_one_plan() -> None:
    script = bound("!!do.wait text:x\n!!do.wait text:y")
    assert await asyncio.gather(*(script.run_async(mark=False) for _ in range(50))) == ["x\ny"] * 50


async def test_running_inside_a_loop_is_an_error_that_names_the_other_way() -> None:
    with pytest.raises(HeroScriptError, match="run_async"):
        bound("!!do.wait").run()


# The cache


def test_a_repeated_script_is_bound_once() -> None:
    cache = ScriptCache(Registry(Do))
    first = cache.get("!!do.give what:text")
    assert cache.get("!!do.give what:text") is first
    assert cache.get("!!do.give what:list") is not first
    assert len(cache) == 2
    assert first.run(mark=False) == first.run(mark=False) == "a b"


def test_errors_are_not_kept_and_neither_is_what_sees_its_playbook() -> None:
    @action("see.it")
    def it(playbook: PlayBook) -> str:
        return ",".join(str(one.done) for one in playbook.actions)

    cache = ScriptCache(Registry(it))
    for _ in range(2):
        with pytest.raises(HeroScriptError, match="unknown actor"):
            cache.get("!!x.y")
        assert cache.get("!!core.echo content:a\n!!see.it").run() == "a\nTrue,False"
    assert len(cache) == 0


def test_the_cache_is_bounded_by_scripts_and_by_size() -> None:
    cache = ScriptCache(Registry(), max_scripts=2)
    one, two, three = (f"!!core.echo content:{number}" for number in range(3))
    kept = cache.get(one)
    cache.get(two)
    assert cache.get(one) is kept
    cache.get(three)
    assert len(cache) == 2
    assert cache.get(one) is kept
    small = ScriptCache(Registry(), max_bytes=50)
    small.get(one)
    small.get(two)
    assert len(small) == 2
    small.get(three)
    assert len(small) == 2
    small.get("!!core.echo content:'" + "x" * 60 + "'")
    assert len(small) == 2
    with pytest.raises(HeroScriptError, match="the limit is 10"):
        ScriptCache(Registry(), max_size=10).get(one)
