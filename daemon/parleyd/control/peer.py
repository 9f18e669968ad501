"""The process at the other end of a Unix socket, as the kernel reports it: unix(7), SO_PEERCRED and SO_PEERGROUPS."""

from __future__ import annotations

import array
import socket
import struct
from typing import NamedTuple

_UCRED = struct.Struct("3i")
# Numbers from asm-generic/socket.h; Python has no names for them.
_SO_PEERGROUPS, _SO_PEERPIDFD = 59, 77
# The largest option value that Python reads: room for 256 groups.
_MOST_BYTES = 1024


class Peer(NamedTuple):
    """The process that connected (for a client: that listens), at that time. pid: 0 if it is in another namespace."""

    pid: int
    uid: int
    gid: int


def peer(connection: socket.socket) -> Peer:
    return Peer(*_UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)))


def held_peer(connection: socket.socket) -> int | None:
    """Returns a pidfd of the process that connected, which the caller closes; None: the kernel (before 6.5) has none,
    or the process has ended."""
    try:
        return connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    except OSError:
        return None


def peer_groups(connection: socket.socket) -> frozenset[int]:
    """Returns the process's supplementary groups, which may differ from /etc/group; none if there are more than 256."""
    try:
        return frozenset(array.array("I", connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST_BYTES)))
    except OSError:
        return frozenset()
