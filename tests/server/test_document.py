"""The OpenRPC document: whole, valid by the official meta-schema, and true by the field's coverage tester."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from herojobs.server import document
from herojobs.server.methods import METHODS
from server.running import Running, serving

NODE = Path(__file__).parent / "node"
NAMES = {
    "rpc.discover", "job.submit", "job.submit_many", "job.get", "job.list", "job.wait", "job.cancel", "job.retry",
    "job.delete", "job.history", "job.log", "queue.list", "queue.size", "queue.empty", "queue.pause", "queue.resume",
    "queue.stats", "session.open", "session.get", "session.close", "session.list", "session.create", "session.rotate",
    "session.revoke", "session.audit", "circle.list", "service.list",
    "service.get", "service.refresh", "service.set",
    "service.remove", "event.subscribe", "event.unsubscribe", "worker.claim", "worker.extend",
    "worker.finish", "system.info", "system.health", "job.new", "job.set", "job.update_status",
}  # fmt: skip


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return document.make(METHODS)


def test_all_methods_are_in_it_with_everything_that_callers_need(made: dict[str, Any]) -> None:
    assert {method["name"] for method in made["methods"]} >= NAMES
    assert made["openrpc"] == "1.2.6"
    for method in made["methods"]:
        assert method["summary"].endswith("."), method["name"]
        assert method["errors"]
        assert method["x-role"] in ("none", "viewer", "submitter", "operator", "admin")
        assert len(method["examples"]) == 1
        assert all(param["description"] for param in method["params"]), method["name"]
        required = [param["required"] for param in method["params"]]
        assert required == sorted(required, reverse=True), "required parameters come first"


def test_nothing_but_plain_draft_7_is_in_it(made: dict[str, Any]) -> None:
    text = json.dumps(made)
    for keyword in ("format", "discriminator", "$defs", "prefixItems", "const"):
        assert f'"{keyword}":' not in text


def test_examples_fit_the_schemas(made: dict[str, Any]) -> None:
    components = {"components": made["components"]}
    for method in made["methods"]:
        schemas = {param["name"]: param["schema"] for param in method["params"]}
        (example,) = method["examples"]
        given = [param["name"] for param in example["params"]]
        assert given == list(schemas)[: len(given)], "the tester sends them by position"
        for param in example["params"]:
            jsonschema_rs.validator_for(components | schemas[param["name"]]).validate(param["value"])
        schema = components | method["result"]["schema"]
        jsonschema_rs.validator_for(schema).validate(example["result"]["value"])


def test_it_is_served_with_the_address_by_which_one_came(server: Running) -> None:
    served = server.client.get("/openrpc.json").json()
    assert served == server.call("rpc.discover")
    assert served["servers"][0]["url"] == f"{server.url}/rpc"


def test_the_official_schema_and_the_coverage_tester_find_no_fault(home: Path, redis_url: str) -> None:
    assert shutil.which("npm"), "this test needs node and npm, then `make node`"
    assert (NODE / "node_modules").is_dir(), "run `make node` first: it installs what this test needs"
    with serving(home, redis_url, watchdog=True) as server:
        run = subprocess.run(["node", NODE / "check.js", server.url], capture_output=True, text=True, timeout=180)
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert told["errors"] == []
    assert [call for call in told["calls"] if not call["valid"]] == []
    assert {call["methodName"] for call in told["calls"]} >= NAMES
