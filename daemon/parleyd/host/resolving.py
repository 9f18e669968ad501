"""Names to addresses, in bounded time.

The C library asks each name server several times, for up to a minute in all, and nothing can interrupt it. Therefore a
thread of its own waits for it, and whoever asked goes on at the deadline. Threads that still wait for dead name servers
are bounded in number; who asks for a name that was asked for a moment ago waits with the thread that is there.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Any

# As socket.getaddrinfo gives it: family, kind, protocol, canonical name, address.
Found = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]

MOST_AT_ONCE = 8
# A look-up that is older may have begun in another network, whose name servers are not those of today.
_FRESH_S = 5.0


class NoThreadLeftError(OSError):
    """The system lets this process have no further thread."""

    def __init__(self) -> None:
        super().__init__(errno.EAGAIN, "the system has no thread left")


class NameServersSilentError(TimeoutError):
    """No name server has answered in time, which says nothing about the name."""


@dataclass(eq=False)
class _LookUp:
    began_s: float
    is_over: bool = False
    found: list[Found] = field(default_factory=list)
    error: Exception | None = None


_changed = threading.Condition()
_running: dict[tuple[str, int], list[_LookUp]] = {}


def addresses(host: str, port: int, timeout_s: float) -> list[Found]:
    """Blocks up to timeout_s. Raises socket.gaierror, NameServersSilentError, and UnicodeError for what is no name."""
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
    """An address in numbers, for which no name server is asked."""
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
    """A look-up that is under way; None: there are too many. With the lock."""
    now_s = time.monotonic()
    of_name = _running.get((host, port), [])
    if of_name and now_s - of_name[-1].began_s < _FRESH_S:
        return of_name[-1]
    if sum(map(len, _running.values())) >= MOST_AT_ONCE:
        return None
    lookup = _LookUp(now_s)
    thread = threading.Thread(target=_ask, args=(host, port, lookup), name="look-up of a name", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
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
    with _changed:
        lookup.found, lookup.error, lookup.is_over = found, error, True
        of_name = _running[host, port]
        of_name.remove(lookup)
        if not of_name:
            del _running[host, port]
        _changed.notify_all()
