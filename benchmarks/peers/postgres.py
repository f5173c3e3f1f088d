"""A PostgreSQL of its own for the peers that need one, where its programs are installed."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

SETTINGS = {"listen_addresses": "", "synchronous_commit": "off", "shared_buffers": "256MB", "max_connections": "100"}


class NoPostgres(Exception):
    """There is no PostgreSQL here."""


class Server(NamedTuple):
    """A server that runs.

    Attributes:
        process: its first process; the others are its children.
        url: where it listens, for libpq.
    """

    process: subprocess.Popen[bytes]
    url: str


@contextmanager
def server() -> Iterator[Server]:
    """Run a fresh server.

    Raises:
        NoPostgres: its programs aren't here, or it doesn't start.
    """
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="hjpg"))
    user = _user()
    as_user: dict[str, Any] = {}
    if user is not None:
        as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        os.chown(folder, user.pw_uid, user.pw_gid)
    data = folder / "data"
    initdb: list[str | Path] = [programs / "initdb", "-D", data, "-U", "bench", "-E", "UTF8", "--locale=C", "--no-sync"]
    words = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
    command: list[str | Path] = [programs / "postgres", "-D", data, "-k", folder, *words]
    quiet: dict[str, Any] = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **as_user}
    try:
        if subprocess.run([*initdb, "--auth=trust"], check=False, **quiet).returncode:
            raise NoPostgres("initdb, which makes PostgreSQL's files, doesn't run here")
        process = subprocess.Popen(command, start_new_session=True, **quiet)
        try:
            _await(process, programs / "pg_isready", folder)
            yield Server(process, f"host={folder} user=bench dbname=postgres")
        finally:
            process.send_signal(signal.SIGINT)  # ends without waiting for clients
            process.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _await(process: subprocess.Popen[bytes], is_ready: Path, folder: Path) -> None:
    deadline = time.monotonic() + 20
    while subprocess.run([is_ready, "-q", "-h", folder], check=False).returncode:
        if process.poll() is not None or time.monotonic() > deadline:
            raise NoPostgres("PostgreSQL didn't start")
        time.sleep(0.05)


def _programs() -> Path:
    """Return the folder of the server's programs: Debian keeps them out of PATH."""
    found = shutil.which("postgres")
    places = [Path(found).resolve().parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for place in places:
        if (place / "initdb").exists():
            return place
    raise NoPostgres("needs PostgreSQL, which isn't here")


def _user() -> pwd.struct_passwd | None:
    """Return who the server runs as, None if as ourselves: it refuses to be root."""
    if os.getuid():
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NoPostgres("PostgreSQL doesn't run as root, and there is no user postgres or nobody")
