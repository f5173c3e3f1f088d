"""Whose process is at the other end of a TCP connection of this machine, on Linux.

The kernel is asked by netlink for the one socket with these two ends. Source: sock_diag(7), linux/inet_diag.h.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading

_SOCK_DIAG = 4
_BY_FAMILY = 20
_REQUEST = 1
_HEADER = struct.Struct("=IHHII")
_WANTED = struct.Struct("=BBBxI")
_ANY_COOKIE = b"\xff" * 8
_OWNER = struct.Struct("=II")
_OWNER_AT = _HEADER.size + 4 + 48 + 12
"""Where an answer has user and inode: after its header, its states, the two ends, and three numbers."""


class Owners:
    """Tells which connections come from processes of our own user, or of root.

    A proxy on this machine runs as a user of its own, and so do other people's programs: without this, whoever
    reaches them would count as us.
    """

    def __init__(self) -> None:
        self._netlink: socket.socket | None = None
        self._lock = threading.Lock()
        self._number = 0
        if sys.platform == "linux":
            try:
                self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG)
                self._netlink.settimeout(1.0)
            except OSError:  # a sandbox that has none
                return
            if not self._tells():  # a kernel built without it
                self._netlink.close()
                self._netlink = None

    def _tells(self) -> bool:
        """Return whether a connection that is ours is found to be."""
        try:
            with (
                socket.create_server(("127.0.0.1", 0)) as server,
                socket.create_connection(server.getsockname(), 1.0) as client,
            ):
                return self.is_ours(client.getsockname(), client.getpeername())
        except OSError:
            return False

    async def close(self) -> None:
        """Close what is open."""
        if self._netlink is not None:
            self._netlink.close()

    def is_ours(self, client: tuple[str, int], server: tuple[str, int]) -> bool:
        """Return whether a connection is of our user or root, True where the system doesn't tell.

        Args:
            client: address and port that it comes from.
            server: those where it came in.
        """
        if self._netlink is None:
            return True
        try:
            with self._lock:
                self._number = self._number % 0xFFFFFFFF + 1
                owner = _owner(self._netlink, self._number, client, server)
        except (OSError, struct.error, ValueError):
            return False
        return owner in (0, os.geteuid())


def _owner(netlink: socket.socket, number: int, client: tuple[str, int], server: tuple[str, int]) -> int | None:
    """Return the user whose process has a socket open, None if there is no such process any more.

    Args:
        netlink: where the kernel is asked.
        number: which question this is: an answer that came too late for an earlier one isn't taken for this one's.
        client: the socket's own end.
        server: its other end.
    """
    family = socket.AF_INET6 if ":" in client[0] else socket.AF_INET
    ends = b"".join(socket.inet_pton(family, host).ljust(16, b"\0") for host in (client[0], server[0]))
    sought = struct.pack("!HH", client[1], server[1]) + ends + bytes(4) + _ANY_COOKIE
    wanted = _WANTED.pack(family, socket.IPPROTO_TCP, 0, 0xFFFFFFFF) + sought
    netlink.send(_HEADER.pack(_HEADER.size + len(wanted), _BY_FAMILY, _REQUEST, number, 0) + wanted)
    while True:
        answer = netlink.recv(8192)
        _, kind, _, answered, _ = _HEADER.unpack_from(answer)
        if answered == number:
            break
    if kind != _BY_FAMILY:
        return None
    user, inode = _OWNER.unpack_from(answer, _OWNER_AT)
    return int(user) if inode else None  # what its process has closed shows as root's
