"""What AI jobs used, for Prometheus."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from herojobs.job import Job
from herojobs.server.metrics import Metrics


def test_tokens_and_cost_are_counted_by_model() -> None:
    metrics = Metrics(cast(Any, SimpleNamespace(store=SimpleNamespace(queues=list))))
    for cost in (0.25, None):
        usage = {"model": "fast", "input_tokens": 10, "output_tokens": 2, "cost": cost}
        metrics._observe(("c", "t"), Job(params_type="ai", status="done", usage=usage))
    metrics._observe(("c", "t"), Job(status="done"))
    value = metrics._registry.get_sample_value
    assert value("herojobs_ai_tokens_total", {"model": "fast", "kind": "input"}) == 20
    assert value("herojobs_ai_tokens_total", {"model": "fast", "kind": "output"}) == 4
    assert value("herojobs_ai_cost_usd_total", {"model": "fast"}) == 0.25
