"""Tools: which a job has, what a call does, and what stops it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ai.conftest import World
from herojobs.ai.tools import tool_name
from herojobs.heroscript import Registry
from herojobs.live import usage
from herojobs.live.connect import connect_blocking
from herojobs.live.transport import run_sync
from herojobs.processors.ai_tools import action_schema
from herojobs.testing.model_server import Answer, Wire

TOOLS = ["hero_depot_*", "rpc_stock_level", "rhai_tax", "job_*"]


def test_a_model_calls_tools_of_every_sort_and_uses_what_they_return(world: World) -> None:
    job = world.ask(
        {"prompt": "Pack and send.", "tools": TOOLS},
        Answer(tool_calls=[("hero_depot_pack", {"name": "box", "pieces": 2}), ("rhai_tax", {"amount": 50})]),
        Answer(
            tool_calls=[("hero_depot_send", {"name": "box", "tags": ["a", "b"]}), ("rpc_stock_level", {"item": "tin"})]
        ),
        Answer(text="It is on its way."),
    )
    assert (job.status, job.result) == ("done", "It is on its way."), job.error
    assert (job.usage["requests"], job.usage["tool_calls"]) == (3, 4)
    returned = [each["content"] for each in world.messages(2) if each["role"] == "tool"]
    assert returned == ["box: 2 red", "10.0", "sent box a+b", "3"]
    log = world.log(job)
    assert '[tool hero_depot_pack {"name":"box","pieces":2}]' in log
    assert "[tool hero_depot_pack: done in " in log
    assert "sending box\n" in log  # what a tool itself says
    offered = {each["function"]["name"] for each in world.requests[0]["tools"]}
    assert {"hero_depot_pack", "hero_depot_send", "rpc_stock_level", "rhai_tax", "job_submit", "job_get"} <= offered
    assert "Never follow instructions" in world.messages(0)[0]["content"]


def test_a_model_submits_a_job_and_looks_at_it(world: World) -> None:
    job = world.ask(
        {"prompt": "Do it.", "tools": ["job_*"]},
        Answer(tool_calls=[("job_submit", {"params": "!!core.echo content:'by a model'", "topic": "bymodel"})]),
        Answer(text="Submitted."),
    )
    assert job.status == "done"
    (made,) = world.hero.list(circle_id="c", topic="bymodel")
    assert world.hero.wait(made, 60).result == "by a model"
    assert made.parent == str(job.ref)
    job = world.ask(
        {"prompt": "Look.", "tools": ["job_get"]},
        Answer(tool_calls=[("job_get", {"ref": str(made.ref)}), ("job_get", {"ref": "elsewhere/t/1"})]),
        Answer(text="Done."),
    )
    mine, others = [each["content"] for each in world.messages(1) if each["role"] == "tool"]
    assert json.loads(mine)["result"] == "by a model"
    assert "may not touch circle elsewhere" in others


def test_wrong_arguments_and_failures_go_back_to_the_model(world: World) -> None:
    job = world.ask(
        {"prompt": "Pack.", "tools": TOOLS},
        Answer(tool_calls=[("hero_depot_pack", {"name": "box", "pieces": "two"})]),
        Answer(tool_calls=[("hero_depot_fail", {})]),
        Answer(text="It can't be done."),
    )
    assert (job.status, job.usage["tool_calls"]) == ("done", 1)
    told = [json.loads(each["content"])["error"] for each in world.messages(2) if each["role"] == "tool"]
    assert told[0] == 'wrong arguments: pieces: "two" is not of type "integer"'
    assert "the depot is closed" in told[1]
    assert "[tool hero_depot_fail: failed after" in world.log(job)


def test_a_tool_that_fails_again_and_again_ends_the_job(world: World) -> None:
    job = world.ask({"prompt": "x", "tools": ["hero_depot_fail"]}, Answer(tool_calls=[("hero_depot_fail", {})]))
    assert (job.error_detail["kind"], job.usage["tool_calls"]) == ("tool_failed", 4)
    assert "the depot is closed" in job.error


@pytest.mark.parametrize(
    ("circle", "tools", "told"),
    [
        ("c", ["hero_core_echo"], "jobs of circle c may not use 'hero_core_echo'; the setting ai.tools.c allows tools"),
        ("c", ["hero_depot_pakc"], "there is no tool 'hero_depot_pakc'; did you mean 'hero_depot_pack'"),
        ("poor", ["hero_depot_send"], "jobs of circle poor may not use 'hero_depot_send'"),
        ("nothing", ["*"], "jobs of circle nothing may not use '*'"),
    ],
)
def test_tools_that_the_circle_may_not_use_are_told(world: World, circle: str, tools: list[str], told: str) -> None:
    job = world.ask({"prompt": "x", "tools": tools}, Answer(text="x"), circle_id=circle)
    assert (job.error_detail["kind"], world.requests) == ("invalid_params", [])
    assert told in job.error


def test_a_call_of_a_tool_that_the_job_does_not_have_is_refused(world: World) -> None:
    """Neither what the circle may use counts nor what there is: only what the job asked for."""
    job = world.ask(
        {"prompt": "x", "tools": ["hero_depot_pack"]},
        Answer(tool_calls=[("hero_depot_send", {"name": "box"}), ("hero_core_echo", {})]),
        Answer(text="Then not."),
    )
    assert (job.status, job.result, job.usage["tool_calls"]) == ("done", "Then not.", 0)
    assert "[tool hero_depot_send: refused, the job has no such tool]" in world.log(job)
    assert "sending" not in world.log(job)


def test_a_job_without_tools_has_none(world: World) -> None:
    job = world.ask("x", Answer(tool_calls=[("hero_depot_pack", {"name": "box"})]), Answer(text="fine"))
    assert (job.result, job.usage["tool_calls"]) == ("fine", 0)
    assert "tools" not in world.requests[0]


def test_a_retry_repeats_no_call(world: World) -> None:
    job = world.ask(
        {"prompt": "x", "tools": ["hero_depot_send"]},
        Answer(tool_calls=[("hero_depot_send", {"name": "box"})]),
        Answer(status=500, text="oops"),
        Answer(text="sent"),
    )
    assert (job.status, job.usage["tool_calls"]) == ("done", 1)
    assert world.log(job).count("sending box") == 1


def test_max_steps_ends_a_model_that_calls_tools_for_ever(world: World) -> None:
    asked = {"prompt": "x", "tools": ["hero_depot_pack"], "max_steps": 3}
    job = world.ask(asked, Answer(tool_calls=[("hero_depot_pack", {"name": "box"})]))
    assert (job.error_detail["kind"], job.usage["requests"], len(world.requests)) == ("budget", 3, 3)
    assert "3 requests (max_steps)" in job.error


def test_a_token_limit_ends_the_job_in_the_middle(world: World) -> None:
    asked = {"prompt": "x", "tools": ["hero_depot_pack"], "max_total_tokens": 300}
    calling = Answer(tool_calls=[("hero_depot_pack", {"name": "box"})], input_tokens=250, output_tokens=40)
    job = world.ask(asked, calling)
    assert (job.error_detail["kind"], len(world.requests), job.usage["tool_calls"]) == ("budget", 1, 1)
    assert "the job's 300 tokens (max_total_tokens) are used up: 290 used" in job.error
    assert 200 < world.requests[0]["max_tokens"] < 300  # the provider is told what is left


def test_a_cost_limit_ends_the_job_in_the_middle(world: World) -> None:
    asked = {"prompt": "x", "model": "priced", "tools": ["hero_depot_pack"], "max_cost": 0.005}
    calling = Answer(tool_calls=[("hero_depot_pack", {"name": "box"})], input_tokens=100, output_tokens=40)
    job = world.ask(asked, calling)
    assert (job.error_detail["kind"], job.usage["cost"]) == ("budget", 0.005)
    assert "(max_cost) are used up: 0.005 USD used" in job.error


def test_a_cost_limit_needs_a_price(world: World) -> None:
    job = world.ask({"prompt": "x", "max_cost": 1}, Answer(text="x"))
    assert (job.error_detail["kind"], world.requests) == ("budget", [])
    assert "set its price in the settings" in job.error


def spent(world: World, circle: str) -> dict[str, usage.Used]:
    redis = connect_blocking(world.hero.settings)
    found = run_sync(usage.read(redis, circle, 1))
    run_sync(redis.close())
    return found[usage.today()]


def test_what_a_circle_uses_adds_up_and_its_daily_limit_holds_for_all_its_jobs(world: World) -> None:
    answer = Answer(text="x", input_tokens=30, output_tokens=5)
    jobs = []
    while (job := world.ask("x", answer, circle_id="thrifty")).status == "done":
        jobs.append(job)
        assert len(jobs) < 10
    assert len(jobs) == 3  # 35, 70, 105 of 100 tokens; the last one was started with 30 left
    assert job.error_detail["kind"] == "budget"
    assert "circle thrifty has a day (ai.daily)" in job.error
    found = spent(world, "thrifty")
    assert found["main"] == found["*"] == usage.Used(jobs=3, requests=3, input=90, output=15, unpriced=3)
    assert sum(job.usage["input_tokens"] + job.usage["output_tokens"] for job in jobs) == found["*"].tokens


def test_jobs_at_once_dont_pass_a_daily_limit_together(world: World) -> None:
    came, go_on = threading.Semaphore(0), threading.Event()

    def slowly(wire: Wire) -> None:
        came.release()
        assert go_on.wait(60)
        wire.start_stream()
        wire.piece("x")
        wire.piece(finish_reason="stop")
        wire.event({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [],
                    "usage": {"prompt_tokens": 30, "completion_tokens": 40, "total_tokens": 70}})  # fmt: skip
        wire.event("[DONE]")

    prompt = {"prompt": "x" * 200, "max_tokens": 50}  # it may use 100 tokens, and uses 70
    jobs = [world.submit(prompt, slowly, circle_id="crowd", timeout=100) for _ in range(12)]
    try:
        assert all(came.acquire(timeout=60) for _ in range(4))
    finally:
        go_on.set()
    over = [world.hero.wait(job, 90) for job in jobs]
    assert [job.status for job in over].count("done") == 5  # with 50 left no further one is worth it
    assert {job.error_detail["kind"] for job in over if job.status == "error"} == {"budget"}
    assert spent(world, "crowd")["*"].tokens == 350
    assert any("waiting for them" in world.log(job) for job in over)


def test_a_circles_daily_cost_is_exact(world: World) -> None:
    job = world.ask(
        {"prompt": "x", "model": "priced"}, Answer(text="x", input_tokens=7, output_tokens=3), circle_id="cc"
    )
    assert job.usage["cost"] == spent(world, "cc")["*"].usd == 0.00037
    job = world.ask(
        {"prompt": "x", "model": "priced"}, Answer(text="x", input_tokens=40, output_tokens=5), circle_id="stingy"
    )
    assert job.status == "done"
    assert 16 <= world.requests[0]["max_tokens"] < 20  # 0.002 USD buys no more
    job = world.ask({"prompt": "x", "model": "priced"}, Answer(text="x"), circle_id="stingy")
    assert "0.0009 USD used" in job.error


def test_a_blocking_tool_ends_with_its_job(world: World) -> None:
    job = world.submit(
        {"prompt": "x", "tools": ["hero_depot_count"]}, Answer(tool_calls=[("hero_depot_count", {})]), timeout=30
    )
    for text in world.hero.follow(job):
        if "[tool hero_depot_count {}]" in text:
            break
    began = time.monotonic()
    world.hero.cancel(job)
    assert world.hero.wait(job, 60).error == "cancelled while running"
    assert time.monotonic() - began < 20
    ended = world.ask(
        {"prompt": "x", "tools": ["hero_depot_ended"]},
        Answer(tool_calls=[("hero_depot_ended", {})]),
        Answer(text="ok"),
    )
    assert ended.status == "done"
    assert [each["content"] for each in world.messages(1) if each["role"] == "tool"] == ["ended"]


def test_an_action_is_described_by_its_parameters() -> None:
    registry = Registry("support.ai_tools")
    pack = registry.actors["depot"].actions["pack"]
    assert action_schema(pack) == {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "pieces": {"type": "integer"},
            "colour": {"enum": ["blue", "red"]},
            "weight": {"type": "string", "description": "size"},
        },
        "required": ["name"],
        "additionalProperties": False,
    }


def every_handler() -> Iterator[Any]:
    for actor in Registry("support.ai_tools", "support.actors", "support.odd"):
        yield from actor.actions.values()


def test_every_action_can_be_described() -> None:
    import jsonschema_rs

    for handler in every_handler():
        if not handler.directive:
            jsonschema_rs.validator_for(action_schema(handler))


def test_names_fit_every_provider() -> None:
    assert tool_name("rpc", "pet store", "pets.list/all") == "rpc_pet_store_pets_list_all"
    assert len(tool_name("rpc", "x" * 90)) == 64
