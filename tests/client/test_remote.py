"""What is a remote client's own: keys, lost answers, servers that are away, and that nothing is left out."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from client.test_clients import ECHO, Twin, given, hero, work  # noqa: F401 - fixtures
from herojobs import AsyncHeroJobs, HeroJobs, Job, WatchDog
from herojobs.client.again import Again
from herojobs.client.core import Core
from herojobs.client.flows import Chains
from herojobs.client.prune import Pruner
from herojobs.client.remote import RemoteCore
from herojobs.client.rules import RuleBook
from herojobs.errors import (
    Forbidden,
    InvalidJob,
    InvalidLimit,
    JobNotFound,
    LimitExceeded,
    LocalOnly,
    RemoteError,
    ServerUnreachable,
    SettingsError,
    Unauthorized,
    WaitTimeout,
)
from herojobs.sessions import Sessions
from herojobs.settings import Settings, load
from server.here import serving_here


@pytest.fixture
def settings(given: dict[str, Any]) -> Settings:  # noqa: F811
    return load({}, **given)


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    with serving_here(settings) as address:
        yield address


class Proxy:
    """Passes connections on to a server, until it is told to lose answers or to be away."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        self._to = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.lose = 0
        """Answers that are still to be lost."""
        self.away = False
        self.seen = 0
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(60)

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._pass_on, args=(here,))
            self._threads.append(thread)
            thread.start()

    def _pass_on(self, here: socket.socket) -> None:
        here.settimeout(10)
        with here, socket.create_connection(self._to, 10) as there, contextlib.suppress(OSError):
            while (asked := _message(here)) and not self.away:
                there.sendall(asked)
                answer = _message(there)
                self.seen += 1
                if self.lose:
                    self.lose -= 1
                    return
                here.sendall(answer)


def _message(of: socket.socket) -> bytes:
    """Read a whole HTTP message; empty at the connection's end."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = of.recv(1 << 20)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lines = [line.lower() for line in head.split(b"\r\n")]
    left = next(int(line[15:]) for line in lines if line.startswith(b"content-length:")) - len(body)
    while left > 0:
        more = of.recv(left)
        data += more
        left -= len(more)
    return data


@pytest.fixture
def proxy(url: str) -> Iterator[Proxy]:
    made = Proxy(url)
    yield made
    made.close()


def test_nothing_of_a_client_is_left_out() -> None:
    def public(*classes: type) -> set[str]:
        return {name for cls in classes for name in vars(cls) if not name.startswith("_")}

    local = public(Core, Again, RuleBook, Pruner)
    unasked = {"read"}  # no client's method
    assert local - public(RemoteCore) == unasked, "do it in RemoteCore, too"
    assert public(Chains) == {"chain", "fan_in"}


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_keys_decide(kind: str, settings: Settings, url: str, tmp_path: Path) -> None:
    sessions = Sessions(settings)
    _, key = sessions.create("submitter", ["c"])
    _, viewer = sessions.create("viewer", ["c"], "viewer")

    def client(key: str) -> Any:
        return Twin(kind, {"url": url, "session_key": key, "home": tmp_path / "none"})

    mine, theirs, nobody = client(key), client(viewer), client("hjs_00000000_" + "0" * 64)
    job = mine.submit(ECHO, circle_id="c")
    assert job.session_key == key
    assert mine.get(job).session_key == "***"
    assert theirs.get(job).params == ECHO
    with pytest.raises(Forbidden, match="needs the role submitter"):
        theirs.submit(ECHO, circle_id="c")
    with pytest.raises(Forbidden, match="no circle 'd'"):
        mine.submit(ECHO, circle_id="d")
    with pytest.raises(JobNotFound, match="d/default/1"):
        mine.get("d/default/1")
    with pytest.raises(Unauthorized, match="session key"):
        nobody.get(job)
    with pytest.raises(InvalidJob, match=r"session_key '\*\*\*'"):
        mine.submit_many([Job(params=ECHO, circle_id="c", session_key=viewer)])
    sessions.revoke("submitter")
    with pytest.raises(Unauthorized):
        mine.get(job)
    for each in (mine, theirs, nobody):
        each.close_all()
    sessions.close()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_lost_answers(kind: str, proxy: Proxy, settings: Settings) -> None:
    remote = Twin(kind, {"url": proxy.url})
    proxy.lose = 1
    job = remote.submit(ECHO, circle_id="c")
    assert proxy.seen == 2
    with HeroJobs(settings=settings) as local:
        assert [each.job_id for each in local.list()] == [job.job_id]  # it came twice, and there is one
    proxy.lose = 2
    assert remote.get(job).params == ECHO  # reading is repeated
    proxy.lose, proxy.seen = 1, 0
    with pytest.raises(ServerUnreachable, match="may have been done: look before you ask again") as told:
        remote.cancel(job)
    assert told.value.sent
    assert proxy.seen == 1
    assert remote.get(job).reason == "cancelled"
    proxy.lose = 99
    with pytest.raises(ServerUnreachable):
        remote.get(job)
    remote.close_all()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_wait_outlives_a_server_that_is_away_for_a_while(
    kind: str,
    proxy: Proxy,
    settings: Settings,
    work: Callable[[], int],  # noqa: F811
) -> None:
    remote = Twin(kind, {"url": proxy.url})
    job = remote.submit(ECHO, circle_id="c")
    proxy.away = True
    timer = threading.Timer(1.5, lambda: (work(), setattr(proxy, "away", False)))
    timer.start()
    assert remote.wait(job, timeout=90).result == "hi"
    timer.join()
    remote.close_all()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_nobody_there(kind: str, tmp_path: Path) -> None:
    for address in ("http://127.0.0.1:1", f"http+unix://{tmp_path}/none"):
        remote = Twin(kind, {"url": address})
        with pytest.raises(ServerUnreachable, match="can't be reached") as told:
            remote.submit(ECHO)
        assert not told.value.sent
        remote.close_all()


def test_another_server_is_told() -> None:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(self.server.status)  # type: ignore[attr-defined]
            self.send_header("content-type", self.server.kind)  # type: ignore[attr-defined]
            self.end_headers()
            self.wfile.write(b"<html>" if "html" in self.server.kind else b'{"error": "no"}')  # type: ignore[attr-defined]

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with HeroJobs(f"http://127.0.0.1:{server.server_port}") as remote:
            for status, kind, error, told in (
                (404, "text/html", RemoteError, "is a HeroJobs server there?"),
                (200, "text/html", RemoteError, "is a HeroJobs server there?"),
                (200, "application/json", RemoteError, "doesn't answer as a HeroJobs server does"),
                (401, "text/html", Unauthorized, "session key"),
                (503, "text/html", ServerUnreachable, "away for the moment"),
            ):
                server.status, server.kind = status, kind  # type: ignore[attr-defined]
                with pytest.raises(error, match=told.replace("?", r"\?")):
                    remote.queues()
        server.shutdown()
        thread.join()


def test_many_and_large_jobs_go_in_messages_that_fit(url: str, settings: Settings) -> None:
    with HeroJobs(url) as remote, HeroJobs(settings=settings) as local:
        jobs = remote.submit_many([Job(params=f"!!core.echo content:{n}", circle_id="c") for n in range(2500)])
        assert [job.job_id for job in jobs] == list(range(1, 2501))
        assert local.get(jobs[-1]).params == "!!core.echo content:2499"
        large = remote.submit_many([Job(params="x" * 3_000_000, circle_id="d") for _ in range(3)])
        assert [str(job.ref) for job in large] == [f"d/default/{n}" for n in (1, 2, 3)]
        bad = [Job(params=ECHO, circle_id="e") for _ in range(1000)] + [
            Job(params=ECHO, circle_id="e", params_type="nope")
        ]
        with pytest.raises(InvalidJob, match="nope") as told:
            remote.submit_many(bad)
        assert told.value.__notes__ == ["1000 jobs were submitted before, up to e/default/1000"]


def test_limits_are_waited_for(settings: Settings, given: dict[str, Any]) -> None:  # noqa: F811
    with serving_here(load(base=settings, server_rate=5.0, server_burst=1)) as url, HeroJobs(url) as remote:
        began = time.monotonic()
        for _ in range(4):
            remote.queues()
        assert time.monotonic() - began > 0.4
    with serving_here(load(base=settings, server_rate=0.1, server_burst=1)) as url, HeroJobs(url) as remote:
        remote.queues()
        with pytest.raises(LimitExceeded) as told:
            remote.queues()
        assert 5 < told.value.retry_after <= 10


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_over_a_unix_socket_with_output_as_it_comes(kind: str, settings: Settings, tmp_path: Path) -> None:
    with (
        serving_here(settings, tmp_path / "api.sock") as url,
        WatchDog(settings=load(base=settings, actors=["support.actors"]), workers=1, stop_timeout=0.5),
    ):
        if kind == "sync":
            with HeroJobs(url) as remote:
                job = remote.submit(ECHO, circle_id="c", log=True)
                assert remote.wait(job, timeout=90).result == "hi"
                assert "".join(remote.follow(job)) == remote.log(job)
                with pytest.raises(JobNotFound):
                    list(remote.follow("c/default/99"))
                with pytest.raises(WaitTimeout, match=r"c/default/2 is (new|active) after 0\.1 s"):
                    remote.wait(remote.submit("!!fake.sleep seconds:2", circle_id="c"), timeout=0.1)
        else:

            async def use() -> None:
                async with AsyncHeroJobs(url) as remote:
                    jobs = [await remote.submit(ECHO, circle_id="c", log=True) for _ in range(5)]
                    done = await asyncio.gather(*(remote.wait(job, timeout=90) for job in jobs))
                    assert [job.result for job in done] == ["hi"] * 5
                    assert "".join([text async for text in remote.follow(jobs[0])]) == await remote.log(jobs[0])

            asyncio.run(use())


def test_flows(hero: Any, work: Callable[[], int]) -> None:  # noqa: F811
    first, second = hero.chain([{"params": ECHO, "circle_id": "c"}, {"params": ECHO, "circle_id": "c"}])
    parts, last = hero.fan_in([{"params": ECHO, "circle_id": "c"}] * 2, {"params": ECHO, "circle_id": "c"})
    alone = hero.submit(ECHO, circle_id="c", after=[first])
    assert {str(job.ref) for job in hero.flow(first)} == {str(job.ref) for job in (first, second, alone)}
    assert {job.reason for job in hero.cancel_flow(last)} == {"cancelled"}
    assert len(parts) == 2
    work()
    work()
    assert {hero.get(job).status for job in (first, second, alone)} == {"done"}


def test_limits_and_pruning(hero: Any, work: Callable[[], int]) -> None:  # noqa: F811
    assert hero.set_limit("c", jobs=2, rate="10/s") == hero.limits()["c"]
    with pytest.raises(InvalidLimit, match="rate"):
        hero.set_limit("c", rate="often")
    hero.remove_limit("c")
    assert hero.limits() == {}
    hero.submit_many([{"params": ECHO, "circle_id": "c"} for _ in range(3)])
    work()
    assert hero.prune(older_than=3600).jobs == 0
    assert hero.prune(circle_id="c", older_than=0, dry_run=True).jobs == 3
    assert hero.prune(circle_id="c", older_than=timedelta(0), status="done").jobs == 3
    assert hero.list() == []
    with pytest.raises(InvalidJob, match="did you mean 'done'"):
        hero.prune(status="dome")


def test_fields_that_cant_travel_are_told(url: str) -> None:
    with HeroJobs(url) as remote, pytest.raises(InvalidJob, match="result 'x': can't be given"):
        remote.submit_many([Job(params=ECHO, circle_id="c", result="x")])


def test_what_only_the_home_can_do_is_told(url: str) -> None:
    with HeroJobs(url) as remote, pytest.raises(LocalOnly, match="what_comes_later"):
        remote._core.what_comes_later()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "address", ["http://", "https://me:key@host", "http://host:port", "https://host/?x=1", "http+unix://host/path"]
)
def test_a_wrong_address_is_told(address: str) -> None:
    with pytest.raises(SettingsError, match="url") as told, HeroJobs(address) as remote:
        remote.queues()
    assert "key@" not in str(told.value)
