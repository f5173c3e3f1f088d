"""What happened to jobs is told, each change once, whatever ends or refuses in between."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from herojobs.errors import SettingsError
from herojobs.hooks.functions import hook_modules
from herojobs.hooks.outbox import Outbox, TargetState, outbox_path
from herojobs.hooks.sender import Sender
from herojobs.job import Job, encode, now_ms
from herojobs.names import Queue
from herojobs.settings import Settings, load
from herojobs.store import JobStore, Put
from hooks.receiver import Receiver

Q = Queue("c", "t")
DAY = 86_400_000


def settings_with(home: Path, hook: dict[str, Any]) -> Settings:
    return load({}, home=home, webhooks={"w": {"private": True, **hook}})


def store_job(store: JobStore, *states: tuple[str, str], circle: str = "c") -> Job:
    """Store a job and then its states, pairs of status and reason."""
    job = Job(params="!!core.echo", circle_id=circle, topic="t", session_key="secret", created_ms=now_ms())
    queue = Queue(circle, "t")
    store.add_many(queue, [job])
    for status, reason in states:
        job.status, job.reason = status, reason
        job.started_ms = now_ms()
        job.attempts += status == "active"
        store.put_many(queue, [Put(job.job_id, encode(job), None)])
    return job


class Driver:
    """Steps senders of one home."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = JobStore(settings)

    def step(self, *, times: int = 1, later: int = 0, die: bool = False) -> int:
        async def steps() -> int:
            sender = Sender(self.settings, hook_modules(self.settings.hooks))
            if die:
                sender._outbox.settle = lambda *_: None  # type: ignore[method-assign]
            tried = 0
            for _ in range(times):
                tried += await sender.step(now_ms() + later)
            await sender.close()
            return tried

        return asyncio.run(steps())

    def states(self) -> list[TargetState]:
        outbox = Outbox(outbox_path(self.settings.home))
        found = outbox.states()
        outbox.close()
        return found


@pytest.fixture
def driver(tmp_path: Path, receiver: Receiver) -> Any:
    made: list[Driver] = []

    def make(**hook: Any) -> Driver:
        made.append(Driver(settings_with(tmp_path, {"url": receiver.url} | hook)))
        return made[-1]

    yield make
    for each in made:
        each.store.close()


Make = Callable[..., Driver]


def test_each_change_that_is_asked_for_is_told_once(driver: Make, receiver: Receiver) -> None:
    one = driver(events=["submitted", "started", "retrying", "done", "error"])
    one.step()
    store_job(
        one.store, ("active", ""), ("new", "retrying"), ("active", ""), ("new", ""), ("active", ""), ("done", "done")
    )
    one.step(times=3)
    assert sorted(told["event"] for told in receiver.got) == [
        "done", "retrying", "started", "started", "started", "submitted",
    ]  # fmt: skip
    assert len({told["delivery"] for told in receiver.got}) == 6
    (done,) = [told for told in receiver.got if told["event"] == "done"]
    assert done["ref"] == "c/t/1"
    assert (done["job"]["status"], done["job"]["jobid"], done["job"]["sessionkey"]) == ("done", 1, "***")
    assert b"secret" not in b"".join(body for _, body in receiver.requests)
    assert one.step() == 0


def test_only_the_events_and_circles_that_are_asked_for(driver: Make, receiver: Receiver) -> None:
    one = driver(circles=["My Circle"])
    one.step()
    store_job(one.store, ("active", ""), ("error", "failed"))
    store_job(one.store, ("active", ""), ("done", "done"), circle="my_circle")
    one.step()
    assert [(told["ref"], told["event"]) for told in receiver.got] == [("my_circle/t/1", "done")]


def test_what_was_before_the_first_start_is_told_to_nobody(driver: Make, receiver: Receiver) -> None:
    one = driver()
    store_job(one.store, ("done", "done"))
    one.step()
    assert receiver.got == []
    store_job(one.store, ("done", "done"))
    one.step()
    assert [told["ref"] for told in receiver.got] == ["c/t/2"]


def test_a_sender_that_dies_after_telling_tells_it_again_under_the_same_name(driver: Make, receiver: Receiver) -> None:
    one = driver()
    one.step()
    store_job(one.store, ("done", "done"))
    one.step(die=True)
    one.step()
    first, second = receiver.got
    assert first == second
    assert one.step() == 0


def test_nothing_is_told_twice_because_of_a_compaction(driver: Make, receiver: Receiver) -> None:
    one = driver()
    one.step()
    store_job(one.store, ("active", ""), ("done", "done"))
    one.step()
    store_job(one.store, ("active", ""), ("done", "done"))
    with one.store._databases.use(Q) as db:
        db.compact()
    store_job(one.store, ("error", "failed"))
    one.step(times=2)
    # Two of them leave at once, so that either may arrive first.
    assert sorted(told["ref"] for told in receiver.got) == ["c/t/1", "c/t/2", "c/t/3"]


def test_a_refusal_is_tried_again_later_and_given_up_after_a_day(driver: Make, receiver: Receiver) -> None:
    one = driver()
    one.step()
    receiver.answer = lambda n: 503
    store_job(one.store, ("done", "done"))
    assert one.step() == 1
    assert one.step() == 0
    assert one.step(later=1_100) == 1
    assert one.step(later=2_000) == 0  # the second pause is twice as long
    ((_, waiting, sent, failed, error),) = one.states()
    assert (waiting, sent, failed, error) == (1, 0, 0, "it answered 503: busy")
    assert one.step(later=DAY) == 1
    assert one.states() == [("w", 0, 0, 1, "it answered 503: busy")]
    receiver.answer = lambda n: 200
    outbox = Outbox(outbox_path(one.settings.home))
    assert outbox.resend() == 1
    outbox.close()
    one.step()
    assert [told["ref"] for told in receiver.got] == ["c/t/1"]


def test_requests_are_signed(driver: Make, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_KEY", "k3y")
    one = driver(secret="env:HOOK_KEY")
    one.step()
    store_job(one.store, ("done", "done"))
    one.step()
    ((headers, body),) = receiver.requests
    names = {name.lower(): value for name, value in headers.items()}
    signed = names["x-herojobs-timestamp"].encode() + b"." + body
    assert names["x-herojobs-signature"] == "sha256=" + hmac.new(b"k3y", signed, hashlib.sha256).hexdigest()
    assert names["x-herojobs-event"] == "done"
    assert names["x-herojobs-delivery"].startswith("c/t/1:done-")
    assert names["host"] == receiver.url.split("/")[2]


@pytest.mark.parametrize(
    ("hook", "answer", "error"),
    [
        ({"private": False}, 200, "127.0.0.1 is 127.0.0.1, a private or local address; private = true allows it"),
        ({"private": False, "url": "http://localhost:9/"}, 200, "a private or local address"),
        ({"secret": "env:NOT_SET"}, 200, "its secret is in the variable NOT_SET, which isn't set"),
        ({"url": "http://127.0.0.1:1/"}, 200, "it can't be reached"),
        ({"url": "http://no-such-host.invalid/"}, 200, "isn't found"),
        ({}, 302, "it answered 302"),
    ],
)
def test_what_isn_t_taken_says_why(
    driver: Make, receiver: Receiver, hook: dict[str, Any], answer: int, error: str
) -> None:
    receiver.answer = lambda _: answer
    one = driver(**hook)
    one.step()
    store_job(one.store, ("done", "done"))
    one.step()
    ((_, waiting, _, _, told),) = one.states()
    assert waiting == 1
    assert error in told
    assert receiver.got == []
    assert len(receiver.requests) <= 1  # a redirect isn't followed


def test_python_hooks_are_called_in_order_and_again_after_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "told"
    monkeypatch.setenv("HOOKS_FILE", str(tmp_path / "no such folder" / "told"))
    one = Driver(load({}, home=tmp_path / "home", hooks=["support.hooks"]))
    one.step()
    store_job(one.store, ("active", ""), ("error", "failed"))
    one.step()
    ((target, waiting, _, _, error),) = one.states()
    assert (target, waiting) == ("hooks:support.hooks", 2)
    assert "FileNotFoundError" in error
    monkeypatch.setenv("HOOKS_FILE", str(file))
    one.step(times=3, later=5_000)
    one.store.close()
    assert file.read_text() == "started c/t/1\nend c/t/1 error ***\n"


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"webhooks": {"w": {"url": "ftp://x"}}}, "webhooks.w: url 'ftp://x': write http"),
        ({"webhooks": {"w": {"url": "http://x", "events": ["ended"]}}}, "no event 'ended'"),
        ({"webhooks": {"w": {"url": "http://u:p@x/"}}}, "holds a user or password"),
        ({"webhooks": {"w": {"urls": "x"}}}, "did you mean 'url'"),
    ],
)
def test_wrong_settings_are_told(given: dict[str, Any], error: str) -> None:
    with pytest.raises(SettingsError) as e:
        load({}, **given)
    assert error in str(e.value)


def test_a_module_without_hooks_is_told() -> None:
    with pytest.raises(SettingsError, match="has no function like on_job_end"):
        hook_modules(("support.actors",))
    with pytest.raises(SettingsError, match="can't be imported"):
        hook_modules(("support.nothing",))
