"""`sessions` and `services` of all four clients: local and remote, blocking and asynchronous."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from client.test_clients import given  # noqa: F401 - a fixture
from herojobs import AsyncHeroJobs, HeroJobs
from herojobs.client import again, core, flows, prune, remote, rules, schedules, services, sessions
from herojobs.errors import InvalidSession, ServiceNotFound, SessionNotFound
from herojobs.sessions import Role
from herojobs.settings import load
from server.here import serving_here


class Part:
    """A part of a client, every method of which can be called without await."""

    def __init__(self, part: Any, loop: asyncio.AbstractEventLoop | None) -> None:
        self._part = part
        self._loop = loop

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._part, name)
        if self._loop is None:
            return method  # type: ignore[no-any-return]
        return lambda *args, **kwargs: self._loop.run_until_complete(method(*args, **kwargs))


class Client:
    def __init__(self, kind: str, arguments: dict[str, Any]) -> None:
        self.loop = asyncio.new_event_loop() if kind.endswith("async") else None
        self.client: Any = HeroJobs(**arguments) if self.loop is None else AsyncHeroJobs(**arguments)
        self.sessions = Part(self.client.sessions, self.loop)
        self.services = Part(self.client.services, self.loop)

    def close(self) -> None:
        if self.loop is None:
            self.client.close()
        else:
            self.loop.run_until_complete(self.client.close())
            self.loop.close()


@pytest.fixture(params=["sync", "async", "remote sync", "remote async"])
def client(request: pytest.FixtureRequest, given: dict[str, Any], tmp_path: Path) -> Iterator[Client]:  # noqa: F811
    with ExitStack() as stack:
        arguments = given
        if request.param.startswith("remote"):
            with HeroJobs(**given) as hero:
                key = hero.sessions.create("boss", role="admin")[1]
            url = stack.enter_context(serving_here(load({}, **given)))
            arguments = {"url": url, "session_key": key, "home": tmp_path / "elsewhere"}
        made = Client(request.param, arguments)
        stack.callback(made.close)
        yield made


def test_sessions(client: Client) -> None:
    began = datetime.now(UTC) - timedelta(minutes=1)
    made, key = client.sessions.create("billing", circles=["B", "a"], role=Role.OPERATOR, ttl=60)
    assert (made.circles, made.role, made.expires_ms - made.created_ms) == (("a", "b"), Role.OPERATOR, 60_000)
    assert key.startswith(f"hjs_{made.id}_")
    assert client.sessions.get("billing") == client.sessions.get(made.id) == made
    again, other = client.sessions.rotate("billing", grace=5)
    assert (again, other != key) == (made, True)
    assert made in client.sessions.list()
    assert client.sessions.revoke("billing").id == made.id
    assert made.id not in [each.id for each in client.sessions.list()]
    assert [each.revoked_ms > 0 for each in client.sessions.list(ended=True) if each.id == made.id] == [True]
    told = client.sessions.audit(since=began)
    assert [entry.method for entry in told if entry.ref == made.id] == [
        "session.revoke", "session.rotate", "session.create",
    ]  # fmt: skip
    assert len(client.sessions.audit(limit=1)) == 1
    assert client.sessions.audit(since=datetime.now(UTC) + timedelta(days=1)) == []
    for call, wrong in (
        (lambda: client.sessions.get("nobody"), SessionNotFound),
        (lambda: client.sessions.revoke("billing"), SessionNotFound),
        (lambda: client.sessions.rotate("nobody"), SessionNotFound),
        (lambda: client.sessions.create("x", circles=["c"], role="boss"), InvalidSession),
        (lambda: client.sessions.create("x"), InvalidSession),
    ):
        with pytest.raises(wrong):
            call()


def test_services(client: Client) -> None:
    added = client.services.set(
        "pets", {"url": "http://127.0.0.1:1/x?key=canary", "document": "none", "circles": ["C"]}
    )
    assert (added.url, added.origin, added.circles) == ("http://127.0.0.1:1/x?***", "added", ["c"])
    assert added.settings["timeout"] == 30.0
    assert [each for each in client.services.list() if each.name == "pets"] == [added]
    assert client.services.get("pets").document is None
    with pytest.raises(ServiceNotFound, match="did you mean 'pets'"):
        client.services.get("pest")
    client.services.remove("pets")
    with pytest.raises(ServiceNotFound):
        client.services.remove("pets")


@pytest.mark.parametrize(
    ("here", "there"),
    [
        (core.Core, remote.RemoteCore),
        (again.Again, remote.RemoteCore),
        (rules.RuleBook, remote.RemoteCore),
        (prune.Pruner, remote.RemoteCore),
        (flows.Flows, remote.RemoteFlows),
        (schedules.LocalSchedules, schedules.RemoteSchedules),
        (sessions.LocalSessions, sessions.RemoteSessions),
        (services.LocalServices, services.RemoteServices),
        (HeroJobs, AsyncHeroJobs),
        (schedules.Schedules, schedules.AsyncSchedules),
        (sessions.ClientSessions, sessions.AsyncClientSessions),
        (services.ClientServices, services.AsyncClientServices),
    ],
)
def test_what_both_have_takes_the_same_arguments(here: type, there: type) -> None:
    def taken(cls: type) -> dict[str, list[Any]]:
        found = inspect.getmembers(cls, inspect.isfunction)
        return {
            name: [(p.name, p.default, p.kind) for p in inspect.signature(function).parameters.values()]
            for name, function in found
            if not name.startswith("_")
        }

    ours, theirs = taken(here), taken(there)
    both = ours.keys() & theirs.keys()
    assert both
    assert {name: ours[name] for name in both} == {name: theirs[name] for name in both}
