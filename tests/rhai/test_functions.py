"""Python callables as functions of a script, and function pointers as callables of Python."""

from __future__ import annotations

import functools
import math
import threading
from typing import Any

import pytest

rhai = pytest.importorskip("herojobs_rhai", reason="herojobs-rhai isn't installed; rhai/build.sh builds it")


def engine_of(**functions: Any) -> Any:
    return rhai.RhaiEngine(functions=functions)


def test_each_arity_that_the_signature_allows() -> None:
    def spread(a: int, b: int = 10, *rest: int, key: int = 0) -> list[int]:
        return [a, b, *rest, key]

    engine = engine_of(spread=spread)
    assert engine.eval("spread(1)") == [1, 10, 0]
    assert engine.eval("spread(1, 2)") == [1, 2, 0]
    sixteen = list(range(16))
    assert engine.eval(f"spread({', '.join(map(str, sixteen))})") == [*sixteen, 0]
    with pytest.raises(rhai.RhaiError, match="Function not found: spread") as caught:
        engine.eval("spread()")
    assert "there is spread(a: int, b: int) -> list[int]" in caught.value.message


def test_kinds_of_callables() -> None:
    class Counter:
        n = 0

        def add(self, by: int) -> int:
            self.n += by
            return self.n

        def __call__(self) -> int:
            return self.n

    counter = Counter()
    engine = engine_of(
        add=counter.add,
        count=counter,
        half=functools.partial(lambda a, b: b / a, 2),
        sqrt=math.sqrt,
        biggest=max,
        nothing=lambda: None,
    )
    assert engine.eval("add(2); add(3); count()") == 5
    assert engine.eval("[half(5), sqrt(9), biggest(1, 7, 3), nothing()]") == [2.5, 3.0, 7, None]


def test_as_a_method_the_value_is_the_first_argument() -> None:
    assert engine_of(tell=lambda value, more: f"{value}+{more}").eval("let x = 1; x.tell(2)") == "1+2"


def test_under_a_namespace() -> None:
    engine = rhai.RhaiEngine(functions={"myapp::f": lambda x: x + 1, "myapp::deep::g": lambda: 7, "f": lambda x: x})
    assert engine.eval("[myapp::f(1), myapp::deep::g(), f(1)]") == [2, 7, 1]


def test_ours_wins_over_rhais_own_of_the_same_name() -> None:
    logged: list[Any] = []
    engine = engine_of(log=logged.append, sleep=lambda seconds: logged.append(("slept", seconds)))
    engine.eval("log(1.5); log(`text`); log([1]); sleep(3600); sleep(0.5)")
    assert logged == [1.5, "text", [1], ("slept", 3600), ("slept", 0.5)]


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a::", "::a", "a b", "if", "let", "\u00e9", "_"])
def test_names_that_no_function_can_have(name: str) -> None:
    with pytest.raises(ValueError, match="functions: "):
        rhai.RhaiEngine(functions={name: print})


async def coroutine() -> None: ...


async def generator() -> Any:
    yield 1


class AsyncCallable:
    async def __call__(self) -> None: ...


@pytest.mark.parametrize("function", [coroutine, generator, AsyncCallable(), functools.partial(coroutine)])
def test_coroutine_functions_are_refused(function: Any) -> None:
    with pytest.raises(TypeError, match="f: a coroutine function"):
        engine_of(f=function)


def test_what_scripts_could_not_call_is_refused() -> None:
    with pytest.raises(TypeError, match="its parameter key can be given by keyword only"):
        engine_of(f=lambda *, key: key)
    with pytest.raises(TypeError, match="it needs 17 arguments"):
        engine_of(f=eval(f"lambda {', '.join(f'a{n}' for n in range(17))}: 0"))
    with pytest.raises(TypeError, match="f is 5, not callable"):
        engine_of(f=5)


class BadError(Exception):
    pass


def bad() -> None:
    raise BadError("no luck")


def test_a_script_can_catch_what_python_raises() -> None:
    assert engine_of(bad=bad).eval("let r = (); try { bad() } catch (e) { r = e } r") == {
        "type": "BadError",
        "message": "no luck",
    }


def test_what_it_does_not_catch_is_the_cause() -> None:
    with pytest.raises(rhai.RhaiError, match="script:1:12: BadError: no luck") as caught:
        engine_of(bad=bad).eval("fn f() {   bad() } f()")
    assert isinstance(caught.value.__cause__, BadError)
    assert caught.value.__cause__.__traceback__ is not None
    assert (caught.value.kind, caught.value.value) == ("runtime", {"type": "BadError", "message": "no luck"})


def test_an_exception_thrown_again_is_still_the_cause() -> None:
    with pytest.raises(rhai.RhaiError) as caught:
        engine_of(bad=bad).eval("try { bad() } catch (e) { for i in 0..5 { try { bad() } catch { } } throw e; }")
    assert isinstance(caught.value.__cause__, BadError)
    with pytest.raises(rhai.RhaiError) as caught:
        engine_of(bad=bad).eval("try { bad() } catch { throw `other`; }")
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_exception_ends_the_run_and_comes_out_as_it_is(error: type[BaseException]) -> None:
    def interrupt() -> None:
        raise error("now")

    with pytest.raises(error, match="now"):
        engine_of(interrupt=interrupt).eval("try { interrupt() } catch { } loop { }", deadline=30)


def test_a_result_that_has_no_form_is_an_error_of_the_call() -> None:
    with pytest.raises(
        rhai.RhaiError, match=r"f: its result\[0\]: a value of type object has no form in Rhai"
    ) as caught:
        engine_of(f=lambda: [object()]).eval("f()")
    assert isinstance(caught.value.__cause__, TypeError)


def test_closures_can_be_called_back_during_the_run() -> None:
    kept: list[Any] = []
    engine = engine_of(keep=kept.append, fire=lambda x: [f(x) for f in kept], twice=lambda f, x: f(f(x)))
    assert engine.eval("let n = 10; keep(|x| x + n); keep(Fn(`double`)); n = 20; fn double(x) { x * 2 } fire(5)") == [
        25,
        10,
    ]
    assert engine.eval("twice(|x| x * 3, 2)") == 18
    with pytest.raises(RuntimeError, match="only while its run goes on"):
        kept[0](1)


def test_a_closure_that_fails_raises_in_python_and_can_be_handled_there() -> None:
    def attempt(function: Any) -> str:
        try:
            function()
        except rhai.RhaiError as error:
            return f"{error.kind} at {error.line}"
        return "fine"

    assert engine_of(attempt=attempt).eval("attempt(|| throw 1) + `, ` + attempt(|| 1)") == "runtime at 1, fine"


def test_a_closure_is_not_for_other_threads() -> None:
    def elsewhere(function: Any) -> str:
        caught: list[str] = []

        def call() -> None:
            try:
                function()
            except RuntimeError as error:
                caught.append(str(error))

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        return caught[0]

    assert "on the run's thread" in engine_of(elsewhere=elsewhere).eval("elsewhere(|| 1)")


def test_python_callables_can_be_values() -> None:
    engine = rhai.RhaiEngine()
    assert engine.eval("f.call(2, 3) + [1, 2].map(g)[1]", {"f": lambda a, b: a * b, "g": lambda x: x * 10}) == 26
    make = engine_of(make=lambda n: lambda x: x + n)
    assert make.eval("let add = make(5); add.call(1)") == 6


def test_a_function_may_run_another_script_with_a_budget_of_its_own() -> None:
    inner = rhai.RhaiEngine(limits=rhai.Limits(memory=1 << 20))

    def nested(text: str) -> Any:
        try:
            return inner.eval(text)
        except rhai.RhaiError as error:
            return error.kind

    outer = engine_of(nested=nested)
    run = outer.run(
        'let before = [nested(`1 + 1`), nested("let s = ``; loop { s += `xy`; }")]; print(`still here`); before'
    )
    assert run.result() == [2, "memory"]
    assert run.output == "still here\n"


def test_functions_are_listed_with_their_types_and_text() -> None:
    def add(a: int, b: float = 1) -> float:
        """Adds.

        Really.
        """
        return a + b

    told = rhai.RhaiEngine(functions={"my::add": add}).functions()
    assert told[0] == {
        "name": "add",
        "namespace": "my",
        "signature": "my::add(a: int, b: float) -> float",
        "params": [{"name": "a", "type": "int"}, {"name": "b", "type": "float"}],
        "returns": "float",
        "doc": "Adds.\n\nReally.",
        "origin": "python",
    }
    standard = {f["signature"] for f in told if f["origin"] == "rhai"}
    assert {
        "pad(array: array, len: int, item: any)",
        "to_upper(string: string) -> string",
        "sleep(seconds: int)",
    } <= standard
    assert len(standard) > 200
