"""Who is at the other end of a Unix socket, as the kernel says: unix(7), SO_PEERCRED and SO_PEERGROUPS."""

from __future__ import annotations

import array
import socket
import struct
from typing import NamedTuple

_UCRED = struct.Struct("3i")
# asm-generic/socket.h; Python has no names for them.
_SO_PEERGROUPS, _SO_PEERPIDFD = 59, 77
# The most that Python asks for: 256 groups.
_MOST_BYTES = 1024


class Peer(NamedTuple):
    """The process that connected, or for a client the one that listens, as it was then. pid: 0 in another namespace."""

    pid: int
    uid: int
    gid: int


def peer(connection: socket.socket) -> Peer:
    return Peer(*_UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)))


def held_peer(connection: socket.socket) -> int | None:
    """A pidfd of the process that connected; the caller's to close. None: the kernel (before 6.5) has none, or the
    process has ended."""
    try:
        return connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    except OSError:
        return None


def peer_groups(connection: socket.socket) -> frozenset[int]:
    """Its supplementary groups: those it has, not those that /etc/group gives to its user. None beyond 256 of them."""
    try:
        return frozenset(array.array("I", connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST_BYTES)))
    except OSError:
        return frozenset()
