"""When a failing job is tried again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herojobs.errors import InvalidJob, SettingsError
from herojobs.job import Job, validate
from herojobs.names import Queue
from herojobs.retries import JITTER, RetryPolicy, matches, pause_before_retry, policy_of
from herojobs.settings import load

NONE = RetryPolicy()


def failed(**fields: object) -> Job:
    return Job(**({"status": "error", "reason": "failed", "error": "HTTP 503: busy"} | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("what", "met"),
    [
        ("failed", True),
        ("timeout", False),
        ("503", True),
        ("HTTP 5*busy", True),
        ("busy*HTTP", False),
        ("http", False),
        ("*503*", True),
    ],
)
def test_what_an_entry_meets(what: str, met: bool) -> None:
    assert matches(what, failed()) is met


@given(st.text(max_size=20), st.text(max_size=5))
def test_a_text_is_found_where_it_occurs(error: str, what: str) -> None:
    if "*" not in what:
        assert matches(what, failed(error=error)) is (what in error or what == "failed")


@given(
    st.integers(0, 1000), st.integers(0, 1000), st.floats(0, 1e5), st.floats(0, 1e6), st.sampled_from(["done", "error"])
)
def test_pauses_double_up_to_the_longest(retries: int, retried: int, delay: float, longest: float, status: str) -> None:
    job = failed(status=status, retries=retries, retried=retried, retry_delay=delay)
    pause = pause_before_retry(job, NONE, longest)
    if status == "done" or retried >= retries:
        assert pause is None
    else:
        assert pause is not None
        base = min(delay * 2 ** min(retried, 64), longest)
        assert base <= pause <= base * (1 + JITTER) + 1e-9


def test_the_job_counts_before_the_policy() -> None:
    policy = RetryPolicy(retries=2, delay=5, on=("timeout",))
    assert pause_before_retry(failed(), policy, 100) is None, "not on failed"
    assert pause_before_retry(failed(reason="timeout"), policy, 100) >= 5  # type: ignore[operator]
    assert pause_before_retry(failed(reason="timeout", retries=0), policy, 100) is None
    assert pause_before_retry(failed(retry_on=["failed"], retry_delay=0), policy, 100) == 0


def test_the_nearest_policy_counts() -> None:
    policies = {name: RetryPolicy(retries=n) for n, name in enumerate(("*", "My Circle", "my_circle/Daily"), 1)}
    assert policy_of(Queue.of("my circle", "daily"), policies).retries == 3
    assert policy_of(Queue.of("my circle", "x"), policies).retries == 2
    assert policy_of(Queue.of("other", "x"), policies).retries == 1
    assert policy_of(Queue.of("other", "x"), {}).retries == 0


@pytest.mark.parametrize(
    "fields", [{"retries": -1}, {"retry_delay": 1e9}, {"retry_on": ["cancelled"]}, {"retry_on": ["*"]}]
)
def test_what_makes_no_sense_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidJob, match=next(iter(fields))):
        validate(Job(circle_id="c", params="x", **fields))  # type: ignore[arg-type]


def test_the_setting_is_checked(tmp_path: object) -> None:
    policy = {"retries": 3, "delay": 1.5, "on": ["timeout"]}
    assert load(home=tmp_path, retry={"c/t": policy}).retry["c/t"] == RetryPolicy(3, 1.5, ("timeout",))
    for wrong in ({"retries": -1}, {"retires": 1}, {"delay": "soon"}):
        with pytest.raises(SettingsError, match="retry"):
            load(home=tmp_path, retry={"c": wrong})
