import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herojobs.errors import InvalidJob, InvalidName, ParamsTooLarge, UnknownKind
from herojobs.job import Job, decode, decode_foreign, encode, validate
from herojobs.outcome import Cancelled, Done, Failed, Killed, Lost, Outcome, OutOfMemory, TimedOut, apply

ORIGINAL = [
    "jobid",
    "sessionkey",
    "circleid",
    "topic",
    "params",
    "params_type",
    "timeout",
    "status",
    "time_scheduled",
    "time_start",
    "time_end",
    "error",
    "result",
    "log",
]


def test_a_fresh_job_has_exactly_the_original_fields_in_their_order() -> None:
    assert list(json.loads(encode(Job()))) == ORIGINAL
    assert json.loads(encode(Job())) == {
        **dict.fromkeys(["sessionkey", "circleid", "params", "error", "result"], ""),
        **dict.fromkeys(["jobid", "timeout", "time_scheduled", "time_start", "time_end"], 0),
        "topic": "default",
        "params_type": "heroscript",
        "status": "new",
        "log": False,
    }


def test_additive_fields_follow_and_only_when_they_say_something() -> None:
    fields = list(json.loads(encode(Job(job_id=1, attempts=2, tags=["a"]))))
    assert fields == [*ORIGINAL, "attempts", "tags"]


@given(
    st.builds(
        Job,
        job_id=st.integers(0, 2**32 - 1),
        params=st.text(),
        result=st.text(),
        timeout=st.integers(0, 10**9),
        log=st.booleans(),
        attempts=st.integers(0, 100),
        tags=st.lists(st.text(max_size=5), max_size=3),
    )
)
def test_json_gives_the_job_back(job: Job) -> None:
    assert decode(encode(job)) == job
    assert decode_foreign(encode(job)) == job


@pytest.mark.parametrize(
    ("fields", "error", "names"),
    [
        ({"circle_id": "é"}, InvalidName, "circle_id"),
        ({"topic": ".."}, InvalidName, "topic"),
        ({"params_type": "heroscrpt"}, UnknownKind, "did you mean 'heroscript'"),
        ({"params": ""}, InvalidJob, "params"),
        ({"params": " \n"}, InvalidJob, "params"),
        ({"params": "x" * 20_000_000}, ParamsTooLarge, "20,000,000 bytes"),
        ({"timeout": -1}, InvalidJob, "timeout -1"),
        ({"priority": 10}, InvalidJob, "0 to 9"),
        ({"max_attempts": 0}, InvalidJob, "max_attempts"),
        ({"time_scheduled": -5}, InvalidJob, "time_scheduled"),
    ],
)
def test_each_fault_has_its_own_clear_error(fields: dict[str, object], error: type[InvalidJob], names: str) -> None:
    job = Job(**({"circle_id": "c", "params": "!!core.echo"} | fields))  # type: ignore[arg-type]
    with pytest.raises(error, match=names) as caught:
        validate(job)
    assert len(str(caught.value)) < 300


def test_a_valid_job_gives_its_queue() -> None:
    assert str(validate(Job(circle_id="My Circle", params="x"))) == "my_circle/default"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"JobID":3,"PARAMS":"p","circleid":null}', {"job_id": 3, "params": "p", "params_type": "openrpc"}),
        ('{"params":"p","timeout":-4,"topic":""}', {"timeout": 0, "topic": "default"}),
        ('{"jobid":"3f2a-11","rhaiscript":"40 + 2"}', {"job_id": 0, "params": "40 + 2", "params_type": "rhaiscript"}),
        ('{"params":"\\u003cb\\u003e","params_type":"heroscript","unknown":[1]}', {"params": "<b>"}),
    ],
)
def test_foreign_json_is_read_as_the_original_reads_it(text: str, expected: dict[str, object]) -> None:
    job = decode_foreign(text.encode())
    assert {name: getattr(job, name) for name in expected} == expected


@pytest.mark.parametrize(
    "text", ['{"params":"x"', "[]", '{"timeout":30.0}', '{"params":3}', '{"log":1}', '{"jobid":4294967296}', ""]
)
def test_foreign_json_that_the_original_refuses_is_refused(text: str) -> None:
    with pytest.raises(InvalidJob):
        decode_foreign(text.encode())


@pytest.mark.parametrize(
    ("outcome", "status", "reason", "text"),
    [
        (Done("ok"), "done", "done", ""),
        (Failed("no", "half"), "error", "failed", "no"),
        (TimedOut(3), "error", "timeout", "timed out after 3 s"),
        (TimedOut(3, forced=True), "error", "timeout", "its worker was killed"),
        (Cancelled(), "error", "cancelled", "cancelled while running"),
        (Killed(11, 3), "error", "killed", "signal 11 in each of 3"),
        (Killed(0, 1), "error", "killed", "died"),
        (OutOfMemory("x"), "error", "oom", "out of memory: x"),
        (Lost(2), "error", "lost", "2 attempts"),
    ],
)
def test_every_outcome_says_in_the_job_what_happened(outcome: Outcome, status: str, reason: str, text: str) -> None:
    job = Job(status="active")
    apply(job, outcome, 1_700_000_000_123)
    assert (job.status, job.reason) == (status, reason)
    assert text in job.error
    assert (job.time_end, job.ended_ms) == (1_700_000_000, 1_700_000_000_123)
    assert job.is_over
    assert job.explain_end()


def test_the_detail_of_an_error_is_a_field_that_programs_read() -> None:
    job = Job(params="x", circle_id="c", status="active")
    assert b"error_detail" not in job.to_json()
    apply(job, Failed("no", "", b'{"code":-32602,"data":[1]}'), 1)
    assert job.error_detail == {"code": -32602, "data": [1]}
    assert decode(encode(job)) == job


def test_a_session_key_is_in_nothing_that_is_shown() -> None:
    key = "hjs_0123abcd_" + "0123456789abcdef" * 4
    job = Job(params=f"print('{key}')", session_key=key)
    shown = job.masked()
    assert (shown.session_key, shown.params, job.session_key) == ("***", "print('***')", key)
    assert key not in repr(job)
    assert job.cleaned_error(f"1 | js_{key[4:]}; throw {key[:-1]}, {'f' * 40}") == f"1 | ***; throw ***, {'f' * 40}"
    assert Job(session_key="bob").cleaned_error("bob_is_not_a_session_key") == "bob_is_not_a_session_key"
