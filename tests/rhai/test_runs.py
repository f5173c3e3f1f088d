"""Runs: results, stop from other threads, deadlines, output, scope, threads, signals and forks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

rhai = pytest.importorskip("herojobs_rhai", reason="herojobs-rhai isn't installed; rhai/build.sh builds it")

ENGINE = rhai.RhaiEngine()


def in_thread(run: Any) -> tuple[threading.Thread, list[Any]]:
    ends: list[Any] = []

    def work() -> None:
        try:
            ends.append(run.result())
        except BaseException as error:
            ends.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, ends


def test_the_result_is_evaluated_once() -> None:
    calls: list[int] = []
    run = rhai.RhaiEngine(functions={"f": lambda: calls.append(1)}).run("f(); [1]")
    assert not run.over
    assert run.result() is run.result()
    assert run.over
    assert calls == [1]
    failing = ENGINE.run("throw 1")
    with pytest.raises(rhai.RhaiError) as first:
        failing.result()
    with pytest.raises(rhai.RhaiError) as second:
        failing.result()
    assert first.value is second.value


def test_other_threads_wait_for_the_one_that_evaluates() -> None:
    entered, leave = threading.Event(), threading.Event()

    def hold() -> int:
        entered.set()
        leave.wait(10)
        return 7

    run = rhai.RhaiEngine(functions={"hold": hold}).run("hold()")
    thread, ends = in_thread(run)
    entered.wait(10)
    other, other_ends = in_thread(run)
    with pytest.raises(RuntimeError, match="while it runs"):
        _ = run.scope
    leave.set()
    thread.join()
    other.join()
    assert ends == other_ends == [7]


def test_a_run_cannot_wait_for_itself() -> None:
    run: Any = None
    engine = rhai.RhaiEngine(functions={"again": lambda: run.result()})
    run = engine.run("again()")
    with pytest.raises(rhai.RhaiError, match="RuntimeError: the run is being evaluated by this very thread"):
        run.result()


@pytest.mark.parametrize("script", ["loop { }", "sleep(3600)", "let a = [2, 1, 3]; a.sort(|x, y| { loop { } })"])
def test_stop_ends_a_run_from_another_thread(script: str) -> None:
    started = threading.Event()
    engine = rhai.RhaiEngine(functions={"started": started.set})
    run = engine.run("started(); " + script)
    thread, ends = in_thread(run)
    started.wait(10)
    assert run.stop("no longer wanted")
    asked = time.perf_counter()
    thread.join(10)
    took = time.perf_counter() - asked
    assert not run.stop("again")
    assert (ends[0].kind, ends[0].reason) == ("terminated", "no longer wanted")
    assert ends[0].message == "Script terminated: no longer wanted"
    assert took < 5  # the figure is in benchmarks/rhai.py; this machine may be busy


def test_a_stop_before_the_start_and_one_after_the_end() -> None:
    run = ENGINE.run("1")
    assert run.stop("early")
    with pytest.raises(rhai.RhaiError, match="Script terminated: early"):
        run.result()
    done = ENGINE.run("1")
    assert done.result() == 1
    assert not done.stop("late")
    assert done.result() == 1


def test_a_stop_within_a_python_function_ends_the_run_when_it_returns() -> None:
    run: Any = None
    engine = rhai.RhaiEngine(functions={"stop": lambda: run.stop("from within")})
    run = engine.run("try { stop() } catch { } print(`not reached`)")
    with pytest.raises(rhai.RhaiError, match="from within"):
        run.result()
    assert run.output == ""


def test_a_deadline_stops_with_the_reason_timeout() -> None:
    begin = time.perf_counter()
    with pytest.raises(rhai.RhaiError) as caught:
        ENGINE.eval("sleep(60)", deadline=0.02)
    assert (caught.value.kind, caught.value.reason) == ("terminated", "timeout")
    assert 0.02 <= time.perf_counter() - begin < 20
    assert ENGINE.eval("1", deadline=1e308) == 1
    for wrong in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="deadline"):
            ENGINE.run("1", deadline=wrong)


def test_many_deadlines_each_end_their_own_run() -> None:
    runs = [ENGINE.run("sleep(60)", deadline=0.01 * n) for n in range(1, 9)]
    begin = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        waits = [pool.submit(run.result) for run in reversed(runs)]
        errors: list[Any] = [wait.exception() for wait in waits]
    assert {error.reason for error in errors} == {"timeout"}
    assert time.perf_counter() - begin < 30


def test_output_is_there_while_the_script_runs() -> None:
    printed, more = threading.Event(), threading.Event()

    def pause() -> None:
        printed.set()
        more.wait(10)

    engine = rhai.RhaiEngine(functions={"pause": pause})
    run = engine.run("print(`one`); debug(`two`);\nprint(#{a: [1]});\n  debug([`x`]); pause(); print(`three`)")
    thread, ends = in_thread(run)
    printed.wait(10)
    assert run.drain_output() == 'one\n1:15 | "two"\n#{"a": [1]}\n3:3 | ["x"]\n'
    assert run.drain_output() == ""
    more.set()
    thread.join()
    assert run.drain_output() == "three\n"
    assert run.output.startswith("one\n")
    assert run.output.endswith("three\n")
    assert ends == [None]


def test_scope_before_and_after() -> None:
    run = ENGINE.run("x += 1; let y = [x]; const Z = 3; { let inner = 1; }", {"x": 1})
    assert run.scope == {"x": 1}
    run.result()
    assert run.scope == {"x": 2, "y": [2], "Z": 3}


def test_calling_a_function_of_a_script() -> None:
    script = ENGINE.compile("const BASE = 10; fn add(a, b) { global::BASE + a + b } fn stop() { exit(5) }")
    assert ENGINE.call(script, "add", [1, 2]) == 13
    assert ENGINE.call(script, "stop") == 5
    run = ENGINE.run("fn f() { loop { } }", deadline=0.02, function="f")
    with pytest.raises(rhai.RhaiError, match="timeout"):
        run.result()
    with pytest.raises(rhai.RhaiError, match=r"Function not found: adds; did you mean add") as caught:
        ENGINE.call(script, "adds", [1])
    assert caught.value.kind == "function_not_found"
    with pytest.raises(TypeError, match="name it by `function`"):
        ENGINE.run(script, args=[1])
    with pytest.raises(TypeError, match="script: a str or a compiled Script, not int"):
        ENGINE.run(5)


def test_scripts_are_cached_by_text_and_name_up_to_a_count_and_bytes() -> None:
    engine = rhai.RhaiEngine(limits=rhai.Limits(cache_scripts=3))
    for n in range(10):
        engine.eval(f"{n}")
    engine.compile("9", name="other")
    assert engine.cached[0] == 3
    small = rhai.RhaiEngine(limits=rhai.Limits(cache_bytes=20_000))
    for n in range(50):
        small.compile(f"let a = {n}; " * 20)
    scripts, held = small.cached
    assert 0 < scripts < 50
    assert held <= 20_000


def test_one_script_on_many_threads_under_load() -> None:
    engine = rhai.RhaiEngine(functions={"twice": lambda x: x * 2})
    script = engine.compile("let a = []; for i in 0..20 { a.push(twice(i) + n); } print(n); a.reduce(|s, x| s + x, 0)")

    def work(n: int) -> tuple[int, str]:
        run = engine.run(script, {"n": n})
        return run.result(), run.output

    with ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(work, range(1000)))
    assert ends == [(380 + 20 * n, f"{n}\n") for n in range(1000)]


def test_scripts_run_beside_each_other() -> None:
    """Two that each wait for the other's Python call can only both be over if they overlap."""
    barrier = threading.Barrier(2, timeout=10)
    engine = rhai.RhaiEngine(functions={"meet": lambda: barrier.wait() and None})
    script = engine.compile("let n = 0; for i in 0..3 { meet(); for j in 0..20000 { n += j } } n")
    with ThreadPoolExecutor(2) as pool:
        assert len({one.result() for one in [pool.submit(engine.eval, script) for _ in range(2)]}) == 1


def test_python_goes_on_while_a_script_computes() -> None:
    run = ENGINE.run("loop { }")
    thread, ends = in_thread(run)
    while run.operations == 0:
        time.sleep(0)
    seen = [run.operations]
    while len(seen) < 5:
        if run.operations > seen[-1]:
            seen.append(run.operations)
    run.stop()
    thread.join()
    assert ends[0].reason == "stopped"


INTERRUPT = """
import os, signal, sys, threading, time
import herojobs_rhai as rhai
ready = threading.Event()
engine = rhai.RhaiEngine(functions={"ready": ready.set})
def kill():
    ready.wait()
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=kill).start()
try:
    engine.eval("ready(); try { SCRIPT } catch { }", deadline=20)
except KeyboardInterrupt:
    print("interrupted", end="")
"""


@pytest.mark.parametrize("script", ["loop { }", "sleep(3600)"])
def test_control_c_ends_a_run_on_the_main_thread(script: str) -> None:
    code = INTERRUPT.replace("SCRIPT", script)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("interrupted", "")


FORKED = """
import os, sys
import herojobs_rhai as rhai
engine = rhai.RhaiEngine()
def reason():
    try:
        engine.eval("loop { }", deadline=0.02)
    except rhai.RhaiError as error:
        return error.reason
assert reason() == "timeout"
child = os.fork()
if child == 0:
    os._exit(0 if reason() == "timeout" else 1)
sys.exit(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_deadlines_work_in_a_forked_child() -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_signal_handlers_are_still_pythons() -> None:
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


LIGHT = """
import sys
sys.path[:0] = PATH
import herojobs_rhai
print([name for name in ("typing", "inspect", "json", "decimal") if name in sys.modules])
"""


def test_import_is_light() -> None:
    command = [sys.executable, "-I", "-S", "-c", LIGHT.replace("PATH", repr(sys.path))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
