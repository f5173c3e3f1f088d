"""A service from nothing: JSON-RPC over HTTP with Python's standard library, and the document that describes it.

python pets.py [PORT]
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PETS = {1: {"id": 1, "name": "Tom", "kind": "cat"}}
PET = {"$ref": "#/components/schemas/Pet"}
DOCUMENT = {
    "openrpc": "1.2.6",
    "info": {"title": "Pets", "version": "1.0.0"},
    "methods": [
        {
            "name": "pets.list",
            "summary": "Return all pets.",
            "x-idempotent": True,  # HeroJobs may send it twice, after a timeout say
            "params": [],
            "result": {"name": "pets", "schema": {"type": "array", "items": PET}},
        },
        {
            "name": "pets.add",
            "summary": "Add a pet and return it.",
            "params": [
                {"name": "name", "required": True, "schema": {"type": "string", "minLength": 1}},
                {"name": "kind", "schema": {"enum": ["cat", "dog"]}},
            ],
            "result": {"name": "pet", "schema": PET},
        },
    ],
    "components": {
        "schemas": {
            "Pet": {
                "type": "object",
                "required": ["id", "name"],
                "properties": {"id": {"type": "integer"}, "name": {"type": "string"}, "kind": {"enum": ["cat", "dog"]}},
            }
        }
    },
}


def list_pets() -> list[dict[str, Any]]:
    return list(PETS.values())


def add_pet(name: str, kind: str = "cat") -> dict[str, Any]:
    pet: dict[str, Any] = {"id": len(PETS) + 1, "name": name, "kind": kind}
    PETS[len(PETS) + 1] = pet
    return pet


METHODS: dict[str, Any] = {"pets.list": list_pets, "pets.add": add_pet, "rpc.discover": lambda: DOCUMENT}


def answer(request: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"jsonrpc": "2.0", "id": request.get("id")}
    method = METHODS.get(request["method"])
    params = request.get("params", [])
    if method is None:
        return told | {"error": {"code": -32601, "message": "Method not found"}}
    try:
        return told | {"result": method(**params) if isinstance(params, dict) else method(*params)}
    except TypeError as e:
        return told | {"error": {"code": -32602, "message": f"Invalid params: {e}"}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps the connection for the next call

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answers: Any = [answer(each) for each in message] if isinstance(message, list) else answer(message)
        data = json.dumps(answers).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of http.server
        pass


def start(port: int = 0) -> ThreadingHTTPServer:
    """Listen on loopback; port 0 takes a free one."""
    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


if __name__ == "__main__":
    server = start(int(sys.argv[1]) if len(sys.argv) > 1 else 8080)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
