"""Who counts as local while there are no sessions: programs of the server's own user."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from herojobs.server.owner import Owners
from server.running import serving

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system doesn't tell")

AS_ANOTHER = """
import os, socket, sys
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
host, port = sys.argv[1].removeprefix("http://").split(":")
body = b'{"jsonrpc": "2.0", "id": 1, "method": "job.submit", "params": ["!!core.echo"]}'
with socket.socket() as s:
    s.connect((host, int(port)))
    head = b"POST /rpc HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n"
    s.sendall(head % len(body) + body)
    if sys.argv[2:]:
        os._exit(0)  # as root's, a closed socket would seem
    print(b"".join(iter(lambda: s.recv(65536), b"")).decode())
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_another_users_program_needs_a_key(home: Path, redis_url: str) -> None:
    with serving(home, redis_url) as server:
        for hurried in ((), ("hurried",)) * 3:
            command = [sys.executable, "-c", AS_ANOTHER, server.url, *hurried]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
            assert hurried or '"code":1004' in done.stdout
        assert server.call("queue.list") == []
        assert server.call("job.submit", params="!!core.echo", circle_id="c")["jobid"] == 1


def test_owners_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    owners = Owners()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = listening.getsockname()
        client = socket.create_connection(server)
        accepted, end = listening.accept()
        with closing(accepted):
            assert owners.is_ours(end, server)
            assert not owners.is_ours((end[0], end[1] - 1), server)
            client.close()
            assert not owners.is_ours(end, server), "it is closed: whose it was can't be told"
    if os.getuid() == 0:
        return
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()) as other,
    ):
        assert not owners.is_ours(other.getsockname(), listening.getsockname())


def test_a_kernel_that_does_not_tell_counts_all_as_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Owners, "_tells", lambda self: False)
    assert Owners().is_ours(("127.0.0.1", 1), ("127.0.0.1", 2))
