"""A WatchDog that asks a model server of the test's own."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from herojobs import HeroJobs, Job, WatchDog
from herojobs.live import embedded
from herojobs.testing.model_server import Answer, ModelServer, Wire
from live.servers import RedisServer

KEY = "sk-canary-0123456789abcdef"
KEY_VARIABLE = "HEROJOBS_TEST_AI_KEY"
Reply = Answer | Callable[[Wire], None]


@pytest.fixture(autouse=True)
def stays_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail whatever would leave the machine."""
    connect = socket.socket.connect

    def checked(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and not ip_address(address[0]).is_loopback:
            raise AssertionError(f"a test would connect to {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", checked)


class World:
    """A client, a running WatchDog, and the server that its models are at."""

    def __init__(self, hero: HeroJobs, server: ModelServer) -> None:
        self.hero = hero
        self.server = server
        self._replies: list[Reply] = []
        self.imported: list[str] = []
        """Whether the concurrent worker had imported pydantic-ai before its first AI job, and after it."""

    def reply(self, request: dict[str, Any]) -> Reply:
        if not self._replies:
            return Answer(status=400, text=f"the test expects no request: {json.dumps(request)[:300]}")
        return self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]

    def expect(self, *replies: Reply) -> None:
        """Have the models answer with these in turn, and with the last one from then on; forget earlier requests."""
        self._replies = list(replies)
        self.server.requests.clear()

    def submit(self, params: str | dict[str, Any], *replies: Reply, **fields: Any) -> Job:
        """Submit a prompt; the models answer with the replies in turn, and with the last one from then on."""
        self.expect(*replies)
        text = params if isinstance(params, str) else json.dumps(params)
        return self.hero.submit(text, params_type="ai", log=True, **({"circle_id": "c", "timeout": 60} | fields))

    def ask(self, params: str | dict[str, Any], *replies: Reply, **fields: Any) -> Job:
        """The same, and wait for the end."""
        return self.hero.wait(self.submit(params, *replies, **fields), 90)

    def has_imported(self, module: str) -> str:
        """Return whether the concurrent worker has imported a module, `true` or `false`."""
        job = self.hero.submit(f"!!depot.imported module:'{module}'", circle_id="c", topic="look")
        return self.hero.wait(job, 30).result

    @property
    def requests(self) -> list[dict[str, Any]]:
        return self.server.requests

    def messages(self, number: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.requests[number]["messages"]
        return found

    def log(self, job: Job) -> str:
        return self.hero.log(job)


def models(url: str) -> dict[str, Any]:
    one = {"provider": "test", "name": "m", "base_url": url, "retries": 2}
    return {
        "main": one,
        "other": one | {"name": "o"},
        "hasty": one | {"timeout": 0.4, "retries": 1},
        "backed": one | {"retries": 0, "fallback": ["other"]},
        "keyed": one | {"api_key": f"env:{KEY_VARIABLE}", "retries": 0},
        "keyless": one | {"api_key": "env:HEROJOBS_TEST_NO_SUCH_KEY"},
        "priced": one | {"price": {"input": 10, "output": 100, "cached": 1}},
        "worded": one | {"output": "prompt"},
        "tooled": one | {"output": "tool"},
        "nobody": one | {"circles": ["other-circle"]},
        "gone": one | {"base_url": "http://127.0.0.1:9/v1", "retries": 0},
        "strange": {"provider": "nonesuch", "name": "x"},
    }


def ai_settings(url: str) -> dict[str, Any]:
    return {
        "model": "main",
        "models": models(url),
        "tools": {
            "c": ["hero_depot_*", "rpc_stock_*", "rhai_*", "job_*", "hero_nothing_*"],
            "poor": ["hero_depot_pack"],
        },
        "daily": {"thrifty": {"tokens": 100}, "stingy": {"cost": 0.002}, "crowd": {"tokens": 400}},
        "allow_any_model": ["free"],
        "keep_messages": True,
    }


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world whose workers, of both sorts, have run something; one for all tests of this process."""
    found: list[World] = []
    redis = RedisServer(embedded.find_program())  # its own: other tests empty theirs
    given: dict[str, Any] = {
        "home": tmp_path_factory.mktemp("home"),
        "redis_url": redis.url,
        "actors": ("support.ai_tools",),
        "openrpc_methods": ("support.ai_tools",),
        "rhai_functions": ("support.ai_tools",),
    }
    with ExitStack() as stack:
        stack.callback(redis.close)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv(KEY_VARIABLE, KEY)
        server = stack.enter_context(ModelServer(lambda request: found[0].reply(request)))
        hero = stack.enter_context(HeroJobs(**given))
        made = World(hero, server)
        found.append(made)
        stack.enter_context(WatchDog(**given, workers=1, stop_timeout=0.5, ai=ai_settings(server.url)))
        # They run before the tests look for processes that they leave behind.
        assert hero.wait(hero.submit("!!core.echo", circle_id="c"), 30).status == "done"
        made.imported.append(made.has_imported("pydantic_ai"))
        warm = made.ask("hello", Answer(text="hello"), timeout=80)
        assert warm.result == "hello", warm
        made.imported.append(made.has_imported("pydantic_ai"))
        yield made


class Held:
    """A streamed answer that goes on when the test says so, and knows whether somebody still listens."""

    def __init__(self, *first: str) -> None:
        self.first = first
        self.go_on = threading.Event()
        self.closed = threading.Event()

    def __call__(self, wire: Wire) -> None:
        wire.start_stream()
        for text in self.first:
            wire.piece(text)
        while not self.go_on.wait(0.02):
            try:
                wire.wfile.write(b": waiting\n\n")
                wire.wfile.flush()
            except OSError:
                self.closed.set()
                raise
        wire.piece(" rest")
        wire.piece(finish_reason="stop")
        wire.event("[DONE]")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"
