"""Providers that fail in every way: what is tried again, what takes over, what the job ends with."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from ai.conftest import KEY, KEY_VARIABLE, Held, World
from herojobs.testing.model_server import Answer, Wire
from waiting import until

GOOD = Answer(text="well")


def test_429_then_success_waits_as_long_as_the_provider_says(world: World) -> None:
    began = time.monotonic()
    job = world.ask("x", Answer(status=429, text="slow down", headers={"Retry-After": "1"}), GOOD)
    assert (job.status, job.result, job.usage["requests"]) == ("done", "well", 1)
    assert time.monotonic() - began >= 1
    assert "takes no more requests now (429: slow down); again in 1 s (1 of 2)" in world.log(job)


def test_a_provider_that_asks_to_wait_longer_than_the_job_has_ends_it_now(world: World) -> None:
    began = time.monotonic()
    job = world.ask("x", Answer(status=429, text="later", headers={"Retry-After": "3600"}), timeout=30)
    assert time.monotonic() - began < 25
    detail = {name: job.error_detail[name] for name in ("kind", "provider", "model", "status", "attempts")}
    assert detail == {"kind": "rate_limited", "provider": "test", "model": "main", "status": 429, "attempts": 1}
    assert "it asks to wait 3600 s, the job has" in job.error


def cut(wire: Wire) -> None:
    wire.start_stream()
    wire.piece("half an")
    wire.close_connection = True


def reset(wire: Wire) -> None:
    wire.connection.shutdown(socket.SHUT_RDWR)


def garbage(wire: Wire) -> None:
    wire.start_stream()
    wire.event("{not JSON")


def page(wire: Wire) -> None:
    body = b"<html>nginx</html>"
    wire.send_response(200)
    wire.send_header("Content-Type", "text/html")
    wire.send_header("Content-Length", str(len(body)))
    wire.end_headers()
    wire.wfile.write(body)


def slow(wire: Wire) -> None:
    wire.start_stream()
    for letter in "slowly":
        wire.piece(letter)
        time.sleep(0.05)
    wire.piece(finish_reason="stop")
    wire.event("[DONE]")


@pytest.mark.parametrize("fault", [Answer(status=500, text="oops"), Answer(status=503), cut, reset, garbage, page])
def test_what_may_pass_is_asked_again(world: World, fault: Answer) -> None:
    job = world.ask("x", fault, GOOD)
    assert (job.status, job.result) == ("done", "well"), job.error
    assert "again in 0.5 s (1 of 2)" in world.log(job)


def test_slow_tokens_are_no_fault(world: World) -> None:
    assert world.ask({"prompt": "x", "model": "hasty"}, slow).result == "slowly"


def test_a_stream_that_stalls_is_given_up_and_asked_again(world: World) -> None:
    held = Held("first ")  # sends comments, so that the connection is never silent
    job = world.ask({"prompt": "x", "model": "hasty"}, held, GOOD)
    assert (job.status, job.result) == ("done", "well")
    assert held.closed.wait(30)
    assert "was silent for 0.4 s" in world.log(job)


def test_a_provider_that_stays_silent_ends_the_job(world: World) -> None:
    job = world.ask({"prompt": "x", "model": "hasty", "stream": False}, Held())
    assert (job.error_detail["kind"], job.error_detail["attempts"]) == ("timeout", 2)


def test_an_endless_answer_is_stopped(world: World) -> None:
    stopped = []

    def endless(wire: Wire) -> None:
        wire.start_stream()
        try:
            while True:
                wire.piece("and so on " * 20)
        except OSError:
            stopped.append(True)
            raise

    job = world.ask({"prompt": "x", "max_tokens": 100}, endless)
    assert (job.error_detail["kind"], job.error_detail["attempts"]) == ("bad_output", 1)
    assert "doesn't come to an end" in job.error
    until(lambda: stopped)
    assert stopped
    assert job.usage["estimated"]


def test_another_model_takes_over(world: World) -> None:
    job = world.ask({"prompt": "x", "model": "backed"}, Answer(status=500, text="oops"), GOOD)
    assert (job.status, job.result, job.usage["model"]) == ("done", "well", "other")
    assert [each["model"] for each in world.requests] == ["m", "o"]
    assert "other takes over" in world.log(job)


def test_no_other_model_takes_over_where_the_prompt_is_wrong(world: World) -> None:
    job = world.ask({"prompt": "x", "model": "backed"}, Answer(status=400, text="bad request"))
    assert (job.error_detail["kind"], len(world.requests)) == ("invalid_params", 1)
    assert "refuses the request (400: bad request)" in job.error


@pytest.mark.parametrize(
    ("model", "reply", "kind", "told"),
    [
        ("keyed", Answer(status=401, text=f"bad key {KEY}"), "auth", f"check env:{KEY_VARIABLE} (401: bad key ***)"),
        ("keyless", GOOD, "not_configured", "set HEROJOBS_TEST_NO_SUCH_KEY in the environment"),
        ("gone", GOOD, "unavailable", "can't be reached at http://127.0.0.1:9/v1"),
        ("strange", GOOD, "not_configured", "nonesuch"),
        ("main", Answer(status=404, text="no model m"), "not_configured", "check the name 'm'"),
        ("main", Answer(text="", finish_reason="content_filter"), "content_filter", "filter"),
        ("main", Answer(status=400, text="maximum context length is 10 tokens"), "context_length", "shorten it"),
        ("main", Answer(status=402, text="no money"), "rate_limited", "no quota left"),
    ],
)
def test_each_failure_has_its_kind_and_says_what_to_do(
    world: World, model: str, reply: Answer, kind: str, told: str
) -> None:
    job = world.ask({"prompt": "x", "model": model}, reply)
    assert (job.status, job.reason, job.error_detail["kind"]) == ("error", "failed", kind), job.error
    assert told in job.error
    assert job.error_detail["model"] == model


def test_no_key_is_ever_written_anywhere(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The provider repeats the key in errors, in answers and where tools are called."""
    asked = {"prompt": "x", "model": "keyed", "tools": ["hero_depot_pack"]}

    def echoing(wire: Wire) -> None:
        wire.start_stream()
        for text in ("your key is ", KEY[:9], KEY[9:], "."):
            wire.piece(text)
            time.sleep(0.25)  # so that it comes in two batches of the log
        wire.piece(finish_reason="stop")
        wire.event("[DONE]")

    calling = Answer(tool_calls=[("hero_depot_pack", {"name": KEY})])
    jobs = [
        world.ask(asked, Answer(status=401, text=f"{KEY} is no key")),
        world.ask(asked, calling, echoing),
        world.ask(asked | {"stream": False}, Answer(text=f"your key is {KEY}")),
    ]
    assert world.server.keys[-1] == KEY  # it was sent, as it must be
    home = world.hero.settings.home
    places = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert any("jobsdb" in str(path) for path in places)
    places[Path("redis")] = redis_dump(world)
    places[Path("logging")] = caplog.text.encode()
    for job in jobs:
        places[Path(str(job.ref))] = job.to_json() + world.log(job).encode()
    assert [path for path, data in places.items() if KEY.encode() in data] == []
    assert jobs[1].result == "your key is ***."
    assert "your key is ***.\n" in world.log(jobs[1])


def redis_dump(world: World) -> bytes:
    """Return everything that Redis holds."""
    from redis import Redis

    redis = Redis.from_url(world.hero.settings.redis_url)
    found = [redis.dump(key) or b"" for key in redis.keys("*")]
    hashes = [repr(redis.hgetall(key)).encode() for key in redis.keys("herojobs:*")]
    redis.close()
    return b"".join([*found, *hashes])
