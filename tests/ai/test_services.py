"""Methods of another process as a model's tools."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from herojobs import HeroJobs, InlineWatchDog
from herojobs.testing.model_server import Answer, ModelServer

PETS = Path(__file__).parents[2] / "examples" / "openrpc" / "pets.py"


def test_a_model_calls_a_service(tmp_path: Path, redis_url: str) -> None:
    answers = iter(
        [
            Answer(tool_calls=[("rpc_pets_pets_add", {"name": "Spike", "kind": "mouse"})]),
            Answer(tool_calls=[("rpc_pets_pets_add", {"name": "Spike", "kind": "dog"})]),
            Answer(text="Spike is here."),
        ]
    )
    service = subprocess.Popen([sys.executable, PETS, "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert service.stdout is not None
        url = service.stdout.readline().split()[-1]
        with ModelServer(lambda request: next(answers)) as server:
            given: dict[str, Any] = {"home": tmp_path / "home", "redis_url": redis_url}
            ai = server.settings | {"tools": {"*": ["rpc_pets_*"]}}
            with HeroJobs(**given) as hero, InlineWatchDog(**given, services={"pets": {"url": url}}, ai=ai) as watchdog:
                asked = json.dumps({"prompt": "Add a dog.", "tools": ["rpc_pets_pets_*"]})
                job = hero.submit(asked, params_type="ai", circle_id="c")
                watchdog.run_pending()
                job = hero.get(job)
            assert (job.status, job.result) == ("done", "Spike is here."), job
            assert job.usage["tool_calls"] == 1
            wrong, right = [each["content"] for each in server.requests[2]["messages"] if each["role"] == "tool"]
            assert "wrong arguments: kind" in wrong
            assert json.loads(right)["name"] == "Spike"
            assert {each["function"]["name"] for each in server.requests[0]["tools"]} == {
                "rpc_pets_pets_add", "rpc_pets_pets_list",
            }  # fmt: skip
    finally:
        service.kill()
        service.wait()
