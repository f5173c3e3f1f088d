"""Any request whatsoever: an answer in JSON-RPC, never a 500, a traceback or a hang.

HEROJOBS_FUZZ=10000 makes that many requests; the normal run makes some hundreds.
"""

from __future__ import annotations

import os
import random
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from herojobs.jsonrpc import read_answers
from herojobs.server import document
from herojobs.server.methods import METHODS
from server.running import Running, serving

REQUESTS = int(os.environ.get("HEROJOBS_FUZZ", "400"))
TEXTS = (
    "", "demo", "demo/default/1", "demo/default", "../../x", "\0", "é", "\U0001f600", "a" * 300, "null", "!!", "'", '"',
    "default", "new", "error", "heroscript", "*", "%s", "{}", "1.2", "9" * 30, "demo/default/4294967295", "\ud7ff",
)  # fmt: skip
NUMBERS = (0, 1, -1, 2, 60, 1000, 2**31, 2**32, 2**53, 2**63, 2**64, -(2**63), 10**30, 0.5, -0.0, 1e300, 4_102_444_800)
SLOW = {"job.wait": "timeout", "worker.claim": "wait"}


class Fuzz:
    """Makes requests that are nearly right."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.methods = document.make(METHODS)["methods"]
        self.components = document.make(METHODS)["components"]["schemas"]

    def anything(self, depth: int = 0) -> Any:
        pick = self.random.random()
        if pick < 0.3:
            return self.random.choice(TEXTS)
        if pick < 0.6:
            return self.random.choice(NUMBERS)
        if pick < 0.75 or depth > 3:
            return self.random.choice((None, True, False))
        if pick < 0.88:
            return [self.anything(depth + 1) for _ in range(self.random.randrange(4))]
        return {self.name(): self.anything(depth + 1) for _ in range(self.random.randrange(4))}

    def name(self) -> str:
        known = ("ref", "token", "params", "jobid", "circleid", "result", "error", "job", "lease")
        return self.random.choice((*known, "".join(self.random.choices(string.printable, k=3))))

    def of(self, schema: dict[str, Any], depth: int = 0) -> Any:
        """A value that mostly fits a schema."""
        if self.random.random() < 0.15 or depth > 4:
            return self.anything(depth)
        if "$ref" in schema:
            return self.of(self.components[schema["$ref"].rpartition("/")[2]], depth)
        if "anyOf" in schema:
            return self.of(self.random.choice(schema["anyOf"]), depth)
        makers: dict[str, Callable[[], Any]] = {
            "string": lambda: self.random.choice(TEXTS),
            "integer": lambda: self.random.choice([n for n in NUMBERS if isinstance(n, int)]),
            "number": lambda: self.random.choice(NUMBERS),
            "boolean": lambda: self.random.random() < 0.5,
            "null": lambda: None,
            "array": lambda: [self.of(schema.get("items") or {}, depth + 1) for _ in range(self.random.randrange(4))],
            "object": lambda: {
                name: self.of(each, depth + 1)
                for name, each in schema.get("properties", {}).items()
                if name in schema.get("required", ()) or self.random.random() < 0.4
            },
        }
        return makers.get(schema.get("type", ""), lambda: self.anything(depth))()

    def request(self) -> Any:
        method = self.random.choice(self.methods)
        params: Any = {
            param["name"]: self.of(param["schema"])
            for param in method["params"]
            if param["required"] or self.random.random() < 0.5
        }
        if method["name"] in SLOW:
            params[SLOW[method["name"]]] = 0.01
        elif self.random.random() < 0.3:
            params = list(params.values())
        request = {
            "jsonrpc": "2.0",
            "id": self.random.choice((1, "x", None, 1.5)),
            "method": method["name"],
            "params": params,
        }
        if self.random.random() < 0.1:
            request[self.random.choice(list(request))] = self.anything()
        if self.random.random() < 0.05:
            del request[self.random.choice(list(request))]
        return request

    def body(self) -> bytes:
        pick = self.random.random()
        if pick < 0.15:
            value: Any = [self.request() for _ in range(self.random.randrange(6))]
        elif pick < 0.2:
            value = self.anything()
        else:
            value = self.request()
        data = bytearray(msgspec.json.encode(value))
        if data and self.random.random() < 0.1:
            for _ in range(self.random.randrange(1, 4)):
                data[self.random.randrange(len(data))] = self.random.randrange(256)
        return bytes(data)


def test_any_request_is_answered_by_the_standard(home: Path, redis_url: str) -> None:
    seed = random.randrange(2**32)
    fuzz = Fuzz(seed)
    told: dict[int, int] = {}
    with serving(home, redis_url) as server:
        for number in range(REQUESTS):
            check(server, fuzz.body(), f"seed {seed}, request {number}", told)
        assert server.client.get("/healthz").status_code == 200
    log = (home / "serve.log").read_text()
    assert "Traceback" not in log, log[-5000:]
    assert -32603 not in told, log[-5000:]
    assert told.keys() >= {0, -32600, -32602}, "the requests are of all sorts"


def check(server: Running, body: bytes, name: str, told: dict[int, int]) -> None:
    response = server.post(body)
    assert response.status_code in (200, 204), f"{name}: {response.status_code} {body!r}"
    if response.status_code == 204:
        assert response.content == b""
        return
    assert b"Traceback" not in response.content
    for answer in read_answers(response.content)[0]:
        code = 0 if answer.error is None else answer.error.code
        told[code] = told.get(code, 0) + 1
