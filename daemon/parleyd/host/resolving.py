"""Looks up the addresses of a name, in bounded time.

The C library asks each name server several times, for up to a minute in all, and nothing can interrupt it. Therefore a
separate thread waits for it, and the caller goes on at its deadline. The number of these threads is limited; a second
caller for the same name shares the running thread.
"""

from __future__ import annotations

import _thread
import errno
import ipaddress
import socket
import threading
import time
from typing import Any

# As socket.getaddrinfo gives it: family, kind, protocol, canonical name, address.
Found = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]

MOST_AT_ONCE = 8
# A running look-up is shared up to this age. An older one may have begun in another network, with other name servers.
_FRESH_S = 5.0
# A look-up that is older than this no longer counts towards the limit: it has lost its thread, or will never end.
_DEAD_S = 300.0


class NoThreadLeftError(OSError):
    """The system lets this process have no further thread."""

    def __init__(self) -> None:
        super().__init__(errno.EAGAIN, "the system has no thread left")


class NameServersSilentError(TimeoutError):
    """No name server has answered in time; the name itself may be right."""


# The doctor, which finds out that msgspec is missing, imports this: no struct. Nor a dataclass, which takes longer.
class _LookUp:
    def __init__(self, began_s: float) -> None:
        self.began_s = began_s
        self.is_over = False
        self.found: list[Found] = []
        self.error: Exception | None = None


_changed = threading.Condition()
_running: dict[tuple[str, int], list[_LookUp]] = {}


def addresses(host: str, port: int, timeout_s: float) -> list[Found]:
    """Blocks up to timeout_s. Raises socket.gaierror, NameServersSilentError, and UnicodeError for an invalid name."""
    if is_address(host):
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    until_s = time.monotonic() + timeout_s
    with _changed:
        while (lookup := _begin(host, port)) is None:
            _wait(until_s)
        while not lookup.is_over:
            _wait(until_s)
    if lookup.error is not None:
        raise lookup.error.with_traceback(None)
    return list(lookup.found)


def is_address(host: str) -> bool:
    """Whether the host is a numeric address, which needs no name server."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _wait(until_s: float) -> None:
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        raise NameServersSilentError("no name server answers")
    _changed.wait(left_s)


def _begin(host: str, port: int) -> _LookUp | None:
    """Starts a look-up, or returns the running one; None if there are too many. The caller holds the lock."""
    now_s = time.monotonic()
    of_name = _running.get((host, port), [])
    if of_name and now_s - of_name[-1].began_s < _FRESH_S:
        return of_name[-1]
    if sum(now_s - lookup.began_s < _DEAD_S for of_one in _running.values() for lookup in of_one) >= MOST_AT_ONCE:
        return None
    lookup = _LookUp(now_s)
    try:
        # Thread.start() would wait until the thread runs. If memory is short, it would wait for ever, with the lock
        # that every other look-up needs.
        _thread.start_new_thread(_ask, (host, port, lookup))
    except (RuntimeError, MemoryError) as error:
        raise NoThreadLeftError from error
    _running.setdefault((host, port), []).append(lookup)
    return lookup


def _ask(host: str, port: int, lookup: _LookUp) -> None:
    found: list[Found] = []
    error: Exception | None = None
    try:
        found = list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError) as refusal:
        error = refusal
    except MemoryError:
        error = OSError(errno.ENOMEM, "there is no memory left")
    with _changed:
        lookup.found, lookup.error, lookup.is_over = found, error, True
        of_name = _running[host, port]
        of_name.remove(lookup)
        if not of_name:
            del _running[host, port]
        _changed.notify_all()
