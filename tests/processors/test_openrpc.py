"""Jobs of kind openrpc that call what needs no service: Python methods, our own API, actors."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herojobs import HeroJobs, InlineWatchDog, Job, WatchDog
from herojobs.errors import RpcError, WorkerError
from herojobs.openrpc.plan import read_plan

METHODS = ("support.rpc_methods",)
Run = Callable[..., Job]


@pytest.fixture
def run(tmp_path: Path, redis_url: str) -> Iterator[Run]:
    """Run a job by an inline WatchDog and return it."""
    given = {"home": tmp_path, "redis_url": redis_url}
    with HeroJobs(**given) as hero, InlineWatchDog(**given, openrpc_methods=METHODS) as watchdog:

        def run(request: object, circle: str = "c") -> Job:
            params = request if isinstance(request, str) else json.dumps(request)
            job = hero.submit(params, params_type="openrpc", circle_id=circle, log=True)
            watchdog.run_pending()
            return hero.get(job)

        yield run


def call(method: str, *params: object, **named: object) -> dict[str, object]:
    return {"method": method, "params": list(params) or named}


@pytest.mark.parametrize(
    ("request_", "result"),
    [
        (call("math.add", 2, 3), "5"),
        (call("math.add", a=2, b=3), "5"),
        (call("math.divide", 1, 4), "0.25"),
        ({"method": "who.calls"}, "hello c/default/1 of c"),
        (call("who.calls", "hi"), "hi c/default/1 of c"),
        (call("echo", {"a": [None, "é"]}), '{"a":[null,"é"]}'),
        (call("fake.return_success", message="by an actor"), "by an actor"),
        (call("queue.size"), "0"),
        ({"request": call("math.add", 2, 3), "notify": True}, ""),
        ({"jsonrpc": "2.0", "id": 7, **call("math.add", 2, 3)}, "5"),
    ],
)
def test_a_call_gives_its_result(run: Run, request_: object, result: str) -> None:
    job = run(request_)
    assert (job.status, job.result, job.error) == ("done", result, "")


@pytest.mark.parametrize(
    ("request_", "code", "told"),
    [
        (call("math.ad", 1), -32601, "did you mean 'math.add'"),
        (call("math.add", 1, "x"), -32602, 'b: expected an integer, got "x"'),
        (call("math.add", 1, 2, 3), -32602, "at most 2"),
        (call("fake.return_success", mesage="x"), -32602, 'did you mean "message"'),
        (call("fake.return_success", "x"), -32602, "by name"),
        (call("math.divide", 1, 0), -32603, "ZeroDivisionError"),
        (call("fake.return_error", message="on purpose"), -32603, "on purpose"),
        (call("who.refuses", 7), 7, "not today"),
        (call("job.get", "c/default/99"), 1001, "c/default/99"),
        (call("job.get", "c"), -32602, "circle/topic/id"),
        (call("job.get", "other/default/1"), 1005, "may not touch circle other"),
        ({"method": "billing:pay"}, 2004, "no service 'billing' for circle c"),
        ({"url": "http://127.0.0.1/", "request": {"method": "x"}}, 2004, "openrpc_allow_urls is empty"),
        ('{"method": "math.add",', -32700, "line 1, column 23"),
        (
            '{"method": "math.add",\n "parms": []}',
            -32600,
            "line 2, column 11: parms: no such member; did you mean 'params'",
        ),
        ("[]", -32600, "the batch is empty"),
        ("[1]", -32600, "[0]: expected a request"),
        ('"x"', -32600, "expected a request"),
        ('{"request": {"method": "x"}, "retries": -1}', -32600, "column 41: retries: expected a number from 0 to 20"),
        ('{"request": {"method": 5}}', -32600, "request.method: expected the name of a method, got 5"),
        ("[" * 100_000, -32700, "nested too deep"),
    ],
)
def test_an_error_names_what_is_wrong(run: Run, request_: object, code: int, told: str) -> None:
    job = run(request_)
    assert (job.status, job.reason) == ("error", "failed")
    assert told in job.error
    assert job.error.startswith(f"{code} ")
    assert job.error_detail["code"] == code


def test_an_error_has_its_data_in_the_detail(run: Run) -> None:
    assert run(call("who.refuses", 7)).error_detail == {
        "code": 7, "message": "not today", "data": {"until": "tomorrow"}, "service": "", "method": "who.refuses",
        "attempts": 1,
    }  # fmt: skip


def test_a_batch_answers_in_its_order_and_keeps_ids(run: Run) -> None:
    job = run([{**call("math.divide", 1, 2), "id": "x"}, call("math.add", 1, 2)])
    assert json.loads(job.result) == [
        {"jsonrpc": "2.0", "result": 0.5, "id": "x"},
        {"jsonrpc": "2.0", "result": 3, "id": "c/default/1#2"},
    ]


def test_a_batch_with_a_failure_is_an_error_unless_errors_are_kept(run: Run) -> None:
    batch = [call("math.divide", 1, 0), call("math.add", 1, 2)]
    job = run(batch)
    assert job.error.startswith("1 of 2 calls failed; call 1, math.divide: -32603")
    assert job.error_detail["failed"] == [1]
    assert [answer.get("result") for answer in json.loads(job.result)] == [None, 3]
    assert run([*batch, *batch]).error_detail["failed"] == [1, 3]
    kept = run({"request": batch, "on_error": "keep"})
    assert (kept.status, json.loads(kept.result)[1]["result"]) == ("done", 3)
    assert json.loads(kept.result)[0]["error"]["code"] == -32603


def test_nothing_of_a_batch_runs_if_one_call_is_wrong(run: Run) -> None:
    job = run([call("job.submit", "!!core.echo content:x"), call("math.add", 1)])
    assert "1 of 2 calls are wrong, none was sent; call 2, math.add: -32602" in job.error
    assert (
        run(call("queue.list")).result == '[{"circle_id":"c","topic":"default","waiting":0,"scheduled":0,"active":1}]'
    )
    assert run(call("job.submit", "!!core.echo content:x")).result.startswith('{"jobid":4,')


def test_our_own_api_works_for_the_jobs_circle(run: Run) -> None:
    request = {"method": "job.submit", "params": {"params": "!!core.echo content:x", "topic": "t"}}
    submitted = json.loads(run(request).result)
    assert (submitted["circleid"], submitted["topic"], submitted["parent"]) == ("c", "t", "c/default/1")
    assert json.loads(run(call("job.wait", "c/t/1")).result)["result"] == "x"
    assert [job["jobid"] for job in json.loads(run(call("job.list", topic="t")).result)["jobs"]] == [1]
    assert len(json.loads(run(call("job.history", "c/t/1")).result)) >= 2
    assert run(call("job.delete", "c/t/1")).result == "true"
    assert run(call("job.retry", "c/t/1")).error_detail["code"] == 1001


def test_plain_functions_get_an_exclusive_worker_and_end_at_their_timeout(tmp_path: Path, redis_url: str) -> None:
    given = {"home": tmp_path, "redis_url": redis_url, "openrpc_methods": METHODS}
    with HeroJobs(**given) as hero, WatchDog(**given, workers=1):

        def submit(request: object, timeout: int = 20) -> Job:
            return hero.submit(json.dumps(request), params_type="openrpc", circle_id="c", timeout=timeout)

        blocking = submit(call("slow.block", 60), 1)
        together = [submit(call("slow.sleep", 0.5)) for _ in range(20)]
        assert {hero.wait(job, 60).result for job in together} == {"slept"}
        assert hero.wait(blocking, 60).reason == "timeout"
        assert int(hero.wait(submit(call("slow.block", 0)), 60).result) > 0
        cancelled = submit(call("slow.sleep", 60))
        hero.wait(submit(call("slow.sleep", 0)), 60)
        hero.cancel(cancelled)
        assert hero.wait(cancelled, 60).reason == "cancelled"


def test_other_distributions_add_methods(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "site" / "rpc_of_a_user-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "entry_points.txt").write_text("[herojobs.openrpc]\nmine = rpc_of_a_user\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rpc-of-a-user\nVersion: 1.0\n")
    code = "from herojobs import openrpc\n@openrpc.method('user.hello')\ndef hello() -> str: return 'hello'\n"
    (tmp_path / "site" / "rpc_of_a_user.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path / "site")
    given = {"home": tmp_path / "home", "redis_url": redis_url}
    with HeroJobs(**given) as hero, InlineWatchDog(**given) as watchdog:
        job = hero.submit('{"method": "user.hello"}', params_type="openrpc")
        watchdog.run_pending()
        assert hero.get(job).result == "hello"


def test_modules_that_hold_no_method_are_named(tmp_path: Path, redis_url: str) -> None:
    given = {"home": tmp_path, "redis_url": redis_url}
    for module, told in (("json", "no function marked"), ("no.such", "can't be imported: ModuleNotFoundError")):
        with pytest.raises(WorkerError, match=f"{re.escape(repr(module))}.* {told}"):
            WatchDog(**given, workers=1, openrpc_methods=(module,)).start()


@settings(deadline=None)
@given(
    st.text()
    | st.recursive(
        st.none() | st.booleans() | st.text() | st.integers() | st.floats(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "method",
                        "request",
                        "params",
                        "id",
                        "jsonrpc",
                        "url",
                        "retries",
                        "timeout",
                        "on_error",
                        "notify",
                        "x",
                    ]
                ),
                inner,
            )
        ),
    ).map(json.dumps)
)
def test_whatever_the_params_are_they_are_a_plan_or_a_json_rpc_error(text: str) -> None:
    try:
        assert read_plan(text).calls
    except RpcError as e:
        told = str(e)
    else:
        return
    assert re.match(r"-32700 Parse error: |-32600 Invalid Request: ", told)
