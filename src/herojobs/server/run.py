"""The server as a foreground process: its sockets, its WatchDog, and a graceful end."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import ipaddress
import logging
import os
import signal
import socket
import ssl
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import uvicorn
import uvloop

from herojobs.errors import HeroJobsError, SettingsError
from herojobs.server.backend import Backend
from herojobs.server.http import make_app
from herojobs.settings import PREFIX, Settings

log = logging.getLogger("herojobs.server")

GRACE = 5
"""Seconds that requests get to end once the server stops."""
RESTART_PAUSE = 1.0
"""Seconds before a WatchDog that ended unasked is started again; doubled each time, up to a minute."""
BACKLOG = 2048


class Server:
    """Serves the API until TERM or INT: the first one stops gracefully, the second one at once.

    Args:
        settings: the settings in force.
        host: address to listen at.
        port: its port, 0 = a free one.
        unix: path of a Unix socket to listen at too; None = none.
        tls: certificate and key files; None = no TLS.
        behind_proxy: whether a proxy on a trusted way passes requests on, and ends TLS.
        insecure: listen at an address that others can reach though nothing protects the calls.
        watchdog: the command that runs a WatchDog beside the server; empty = none.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        host: str = "127.0.0.1",
        port: int = 8811,
        unix: Path | None = None,
        tls: tuple[Path, Path] | None = None,
        behind_proxy: bool = False,
        insecure: bool = False,
        watchdog: Sequence[str] = (),
    ) -> None:
        self._settings = settings
        self._host = host
        self._port = port
        self._unix = unix
        self._tls = tls
        self._behind_proxy = behind_proxy
        self._watchdog = list(watchdog)
        if not (tls or behind_proxy or insecure or is_loopback(host)):
            raise SettingsError(
                f"host {host}: others could read session keys and jobs on their way; give --tls-cert and --tls-key, "
                "or --behind-proxy if a proxy does that, or --insecure if the network is yours alone"
            )
        if tls is not None:
            _check_tls(*tls)

    def run(self, on_ready: Callable[[list[str]], None]) -> None:
        """Serve.

        Args:
            on_ready: called once with the addresses, when calls are answered and the WatchDog runs.

        Raises:
            HeroJobsError: it can't be started, the error says why.
        """
        uvloop.run(self._serve(on_ready))

    async def _serve(self, on_ready: Callable[[list[str]], None]) -> None:
        with contextlib.ExitStack() as closing:
            sockets = [closing.enter_context(_tcp(self._host, self._port))]
            if self._unix is not None:
                sockets.append(closing.enter_context(_unix(self._unix)))
            async with Backend(self._settings) as backend:
                await self._serve_on(sockets, backend, on_ready)

    async def _serve_on(
        self, sockets: list[socket.socket], backend: Backend, on_ready: Callable[[list[str]], None]
    ) -> None:
        app = make_app(backend, behind_proxy=self._behind_proxy)
        server = _Uvicorn(
            uvicorn.Config(
                app,
                http="httptools",
                ws="websockets-sansio",
                log_config=None,
                access_log=False,
                server_header=False,
                backlog=BACKLOG,
                lifespan="off",
                proxy_headers=self._behind_proxy,
                forwarded_allow_ips="*" if self._behind_proxy else None,
                limit_concurrency=self._settings.server_connections,
                timeout_graceful_shutdown=GRACE,
                ws_max_size=self._settings.server_max_body,
                ssl_certfile=self._tls[0] if self._tls else None,
                ssl_keyfile=self._tls[1] if self._tls else None,
            )
        )
        watchdog = _WatchDogChild(self._watchdog, self._settings.redis_url) if self._watchdog else None

        def stop() -> None:
            if server.should_exit:
                server.force_exit = True
            server.should_exit = True
            backend.stopping.set()
            if watchdog is not None:
                watchdog.stop()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        serving = asyncio.create_task(server.serve(sockets=sockets))
        try:
            if watchdog is not None:
                await watchdog.start()
            listening = asyncio.create_task(server.listening.wait())
            await asyncio.wait((serving, listening), return_when=asyncio.FIRST_COMPLETED)
            listening.cancel()
            if server.started and not server.should_exit:
                on_ready(self._addresses(sockets))
            await serving
        finally:
            server.should_exit = True
            backend.stopping.set()
            await asyncio.gather(serving, return_exceptions=True)
            if watchdog is not None:
                await watchdog.end()

    def _addresses(self, sockets: list[socket.socket]) -> list[str]:
        host, port = sockets[0].getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        found = [f"{'https' if self._tls else 'http'}://{shown}:{port}"]
        return found + [f"unix:{self._unix}"] * (self._unix is not None)


class _Uvicorn(uvicorn.Server):
    """Uvicorn without its signal handlers: ours also stop the WatchDog, and answer who waits."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _WatchDogChild:
    """A WatchDog in a process of its own: no job can hold up the server, whatever it does to its WatchDog.

    Args:
        command: what runs it; it prints `ready`.
        redis_url: its Redis, empty for the home's own; goes by the environment, as everybody can read a command line,
            and this may hold a password.
    """

    def __init__(self, command: Sequence[str], redis_url: str) -> None:
        self._command = command
        self._redis_url = redis_url
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        """Start it, and start it again whenever it ends unasked.

        Raises:
            HeroJobsError: it ends instead of becoming ready; it has told why on stderr.
        """
        await self._start()
        self._keeper = asyncio.create_task(self._keep())

    def stop(self) -> None:
        """Pass on an order to stop; a second one makes it hurry."""
        self._stopping = True
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    async def end(self) -> None:
        """Return once it has ended."""
        if not self._stopping:
            self.stop()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._process is not None:
            await self._process.wait()

    async def _start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | ({f"{PREFIX}REDIS_URL": self._redis_url} if self._redis_url else {}),
            preexec_fn=_apart,
        )
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            if line.strip() == b"ready":
                return
        code = await self._process.wait()
        if not self._stopping:
            raise HeroJobsError(f"the WatchDog can't be started (exit code {code}); --no-watchdog serves without one")

    async def _keep(self) -> None:
        pause = RESTART_PAUSE
        while True:
            assert self._process is not None
            code = await self._process.wait()
            if self._stopping:
                return
            log.error("the WatchDog ended by itself (exit code %s); it is started again in %g s", code, pause)
            await asyncio.sleep(pause)
            pause = min(60.0, pause * 2)
            with contextlib.suppress(HeroJobsError):
                await self._start()


_prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def _apart() -> None:
    """In the child: a group of its own, since Ctrl-C comes from us alone; on Linux it ends if we are killed."""
    os.setpgrp()
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def is_loopback(host: str) -> bool:
    """Return whether an address to listen at is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def watchdog_command(settings: Settings, workers: int | None, actors: Sequence[str] | None) -> list[str]:
    """Return the command that runs a WatchDog with the same settings, but for the Redis: that is in its environment."""
    command = [sys.executable, "-m", "herojobs", "--home", str(settings.home), "watchdog"]
    if workers is not None:
        command += ["--workers", str(workers)]
    for module in actors or ():
        command += ["--actors", module]
    return command


def _check_tls(certificate: Path, key: Path) -> None:
    """Raise SettingsError unless certificate and key can be used."""
    for file in (certificate, key):
        if not file.is_file():
            raise SettingsError(f"{file}: there is no such file")
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError) as e:
        raise SettingsError(f"{certificate}, {key}: no certificate with its key in PEM form ({e})") from None


@contextlib.contextmanager
def _tcp(host: str, port: int) -> Iterator[socket.socket]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, _, _, address = found[0]
        made = socket.socket(family, kind)
    except OSError as e:
        raise SettingsError(f"host {host}: {e.strerror}") from None
    with made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind(address)
        except OSError as e:
            raise SettingsError(f"{host} port {port}: {e.strerror}; --port 0 takes a free one") from None
        yield made


@contextlib.contextmanager
def _unix(path: Path) -> Iterator[socket.socket]:
    """Listen at a path that only our user may use; an old socket there which nobody serves is replaced."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise SettingsError(f"unix {path}: there is a file that is no socket")
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except OSError:
                path.unlink()
            else:
                raise SettingsError(f"unix {path}: another server listens there")
    with socket.socket(socket.AF_UNIX) as made:
        before = os.umask(0o177)
        try:
            made.bind(str(path))
        except OSError as e:
            raise SettingsError(f"unix {path}: {e.strerror or e}") from None
        finally:
            os.umask(before)
        try:
            yield made
        finally:
            path.unlink(missing_ok=True)
