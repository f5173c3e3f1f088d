"""Scripts that want too much: each ends with the right kind, and the process and its other threads go on."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

rhai = pytest.importorskip("herojobs_rhai", reason="herojobs-rhai isn't installed; rhai/build.sh builds it")

SMALL = rhai.Limits(memory=16 << 20)


@pytest.fixture(params=[False, True] if rhai.BYTECODE else [False], scope="module")
def engine(request: pytest.FixtureRequest) -> Any:
    return rhai.RhaiEngine(limits=SMALL, bytecode=request.param)


@contextlib.contextmanager
def another_thread_goes_on() -> Iterator[None]:
    """Fails unless a Python thread made progress meanwhile."""
    going, enough = threading.Event(), threading.Event()
    turns = 0

    def count() -> None:
        nonlocal turns
        going.set()
        while not enough.is_set():
            turns += 1
            enough.wait(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    going.wait()
    before = turns
    try:
        yield
        for _ in range(5000):  # on a busy machine a short script is over before the thread had its turn
            if turns > before:
                break
            enough.wait(0.001)
    finally:
        enough.set()
        thread.join()
    assert turns > before


MANY = "let s = ``; s.pad(1 << 20, 'x'); let a = []; a.pad(100000, s); "
ENDLESS = "sort(|x, y| { let n = 0; loop { n += 1; } })"

CASES = {
    "endless loop": ("loop { }", "terminated"),
    "endless loop that catches": ("loop { try { loop { } } catch { } }", "terminated"),
    "endless sleep": ("sleep(3600)", "terminated"),
    "endless sleep of a float": ("sleep(1e300)", "terminated"),
    "sort with an endless comparer": (f"let a = [3, 1, 2, 5]; a.{ENDLESS}; a", "terminated"),
    "the same as its last value": (f"let a = [3, 1, 2, 5]; a.{ENDLESS}", "terminated"),
    "endless eval": ("eval(`loop { }`)", "terminated"),
    "endless closure": ("[1].map(|x| { loop { } })", "terminated"),
    "deep recursion": ("fn f(n) { f(n + 1) } f(0)", "stack_overflow"),
    "deep recursion of closures": ("let f = |g, n| g.call(g, n + 1); f.call(f, 0)", "stack_overflow"),
    "string doubling": ("let s = `x`; loop { s += s }", "memory"),
    "strings in interpolation": ("let s = `x`; loop { s = `${s}${s}`; }", "memory"),
    "array doubling": ("let a = [1]; loop { a += a; }", "memory"),
    "array by push": ("let a = []; loop { a.push(`some text ${a.len()}`); }", "memory"),
    "map that grows": ("let m = #{}; let n = 0; loop { n += 1; m[`${n}`] = n; }", "memory"),
    "blob": ("blob(1 << 60)", "memory"),
    "blob with a value": ("blob(1 << 60, 7)", "memory"),
    "blob of all there is": ("blob(9223372036854775807)", "memory"),
    "pad of an array": ("let a = []; a.pad(1 << 60, 0); a", "memory"),
    "pad of an array with arrays": ("let a = []; a.pad(1 << 20, [1, [2, 3]]); a", "memory"),
    "pad of a blob": ("let b = blob(); b.pad(1 << 60, 0); b", "memory"),
    "pad of a string": ("let s = ``; s.pad(1 << 60, 'x'); s", "memory"),
    "pad of a string with a string": ("let s = ``; s.pad(1 << 60, `abc`); s", "memory"),
    "replace that multiplies": ("let s = ``; s.pad(1 << 20, 'x'); let t = s; s.replace(`x`, t); s", "memory"),
    "replace of nothing": ("let s = ``; s.pad(1 << 20, 'x'); let t = s; s.replace(``, t); s", "memory"),
    "text of one string many times": (MANY + "`${a}`", "memory"),
    "print of it": (MANY + "print(a)", "memory"),
    "json of it": (MANY + "#{a: a}.to_json()", "memory"),
    "a blob as an array": ("blob(4000000).to_array()", "memory"),
    "split into pieces": ("let s = ``; s.pad(1 << 20, `a `); s.split()", "memory"),
    "what can not be caught": ("try { blob(1 << 60) } catch { } 1", "memory"),
    "variables": ("".join(f"let v{n} = 1;" for n in range(10_001)), "too_many_variables"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_ends_with_the_right_kind(engine: Any, case: str) -> None:
    script, kind = CASES[case]
    run = engine.run(script, deadline=0.03 if kind == "terminated" else 30)
    with another_thread_goes_on(), pytest.raises(rhai.RhaiError) as caught:
        run.result()
    assert caught.value.kind == kind
    assert caught.value.reason == ("timeout" if kind == "terminated" else "")
    assert engine.eval("40 + 2") == 42


def test_output_is_capped_and_told() -> None:
    run = rhai.RhaiEngine().run("let line = ``; line.pad(99, 'x'); for i in 0..104858 { print(line); }")
    run.result()
    lines = run.output.splitlines()
    assert lines[0] == "x" * 99
    assert lines[-1] == "... 9437224 bytes of output dropped (limit 1048576 bytes)"
    assert 1 << 20 <= len(run.output) <= (1 << 20) + 100


def test_memory_is_given_back_and_each_run_has_its_own() -> None:
    engine = rhai.RhaiEngine(limits=SMALL)
    script = engine.compile("let b = blob(12000000); b.len()")
    for _ in range(20):
        assert engine.eval(script) == 12_000_000
    with pytest.raises(rhai.RhaiError) as caught:
        engine.eval("let b = blob(12000000); let c = blob(12000000);")
    assert caught.value.kind == "memory"
    assert "blob needs 12000000 bytes" in caught.value.message


def test_operations_count_in_closures_too() -> None:
    engine = rhai.RhaiEngine(limits=rhai.Limits(max_operations=1000))
    assert engine.eval("let n = 0; for i in 0..50 { n += i } n") == 1225
    for script in ["loop { }", "let a = []; a.pad(10000, 1); a.map(|x| x + 1)", "let f = |x| x; loop { f.call(1); }"]:
        run = engine.run(script)
        with pytest.raises(rhai.RhaiError, match="more than 1000 operations") as caught:
            run.result()
        assert caught.value.kind == "too_many_operations"
        assert 1000 < run.operations < 1100


def test_rhais_own_limits_are_options() -> None:
    engine = rhai.RhaiEngine(limits=rhai.Limits(max_string_size=10, max_array_size=5, max_map_size=2))
    for script in ["let s = `12345`; s += `678901`", "[1, 2, 3, 4, 5, 6]", "#{a: 1, b: 2, c: 3}"]:
        with pytest.raises(rhai.RhaiError) as caught:
            engine.eval(script)
        assert caught.value.kind in {"data_too_large", "parsing"}


def test_a_panic_is_an_error() -> None:
    engine = rhai.RhaiEngine()
    with pytest.raises(rhai.RhaiError, match="Rhai panicked: Tan overflowed") as caught:
        engine.eval('try { parse_decimal("1.5707963267948966192313216916").tan() } catch { }')
    assert caught.value.kind == "panic"
    assert engine.eval("1") == 1


def test_limits_are_checked_compared_and_hashed() -> None:
    assert rhai.Limits() == rhai.Limits(memory=256 << 20)
    assert len({rhai.Limits(), rhai.Limits(), rhai.Limits(max_operations=1)}) == 2
    for wrong in [{"memory": 10}, {"max_call_levels": 0}, {"max_expr_depth": 1000}]:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            rhai.Limits(**wrong)


RECURSE = """
import sys, threading
import herojobs_rhai as rhai

def deep(levels, engine, ends):
    def run():
        try:
            ends.append(engine.eval(f"fn f(n) {{ if n > 1 {{ let r = [f(n - 1)]; r[0] }} else {{ 1 }} }} f({levels})"))
        except rhai.RhaiError as error:
            ends.append(error.kind)
    return run

ends = []
for size, levels, limit in [(1 << 20, 63, 64), (1 << 16, 5000, 9999), (1 << 18, 9000, 9999), (8 << 20, 99999, 100000)]:
    threading.stack_size(size)
    for bytecode in {False, rhai.BYTECODE}:
        engine = rhai.RhaiEngine(limits=rhai.Limits(max_call_levels=limit), bytecode=bytecode)
        thread = threading.Thread(target=deep(levels, engine, ends))
        thread.start()
        thread.join()
print(*ends)
"""


def test_the_stack_of_a_thread_is_a_limit_too_however_small() -> None:
    done = subprocess.run([sys.executable, "-c", RECURSE], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    each = 2 if rhai.BYTECODE else 1
    assert done.stdout.split() == ["1"] * each + ["stack_overflow"] * 3 * each


CHAIN = """
import threading
import herojobs_rhai as rhai

def run():
    try:
        engine.eval("let f = || 0; loop { let g = f; f = || g; }")
    except rhai.RhaiError as error:
        print(error.kind)

engine = rhai.RhaiEngine(limits=rhai.Limits(memory=8 << 20))
threading.stack_size(4 * (8 << 20))
thread = threading.Thread(target=run)
thread.start()
thread.join()
"""


def test_values_nested_without_end_need_a_stack_of_four_times_the_memory() -> None:
    done = subprocess.run([sys.executable, "-c", CHAIN], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "memory\n")
