"""TCP to a host, by whichever of its addresses answers first."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import time
import urllib.request
from collections.abc import Sequence
from typing import Any
from urllib.parse import SplitResult

# RFC 8305, section 5: how long an address may take before the next one is tried, too. In a house whose router promises
# an IPv6 that does not work, the first address is one that never answers.
STAGGER_S = 0.25

Option = tuple[int, int, int]
# As socket.getaddrinfo gives it: family, kind, protocol, canonical name, address.
_Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]


def is_proxied(url: SplitResult) -> bool:
    """Whether the environment names a proxy for this WebSocket URL."""
    wanted = urllib.request.getproxies().get("https" if url.scheme == "wss" else "http")
    return wanted is not None and not urllib.request.proxy_bypass(url.hostname or "")


def reach(host: str, port: int, options: Sequence[Option], timeout_s: float) -> socket.socket:
    """Blocks up to timeout_s, and for the name as long as the resolver takes. Raises OSError: of the last address that
    failed, or TimeoutError."""
    waiting = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    until_s = time.monotonic() + timeout_s
    failure: OSError = TimeoutError("no answer")
    with selectors.DefaultSelector() as trying:
        try:
            while waiting or trying.get_map():
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError("no answer")
                if waiting:
                    try:
                        trying.register(_begin(waiting.pop(0), options), selectors.EVENT_WRITE)
                    except OSError as error:
                        failure = error
                        continue
                for key, _ in trying.select(min(left_s, STAGGER_S) if waiting else left_s):
                    line = key.fileobj
                    assert isinstance(line, socket.socket)
                    trying.unregister(line)
                    if code := line.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                        line.close()
                        failure = OSError(code, os.strerror(code))
                        continue
                    line.settimeout(timeout_s)
                    return line
        finally:
            for key in list(trying.get_map().values()):
                assert isinstance(key.fileobj, socket.socket)
                key.fileobj.close()
    raise failure


def _begin(address: _Address, options: Sequence[Option]) -> socket.socket:
    family, kind, protocol, _, where = address
    line = socket.socket(family, kind, protocol)
    try:
        for option in options:
            line.setsockopt(*option)
        line.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            line.connect(where)
    except BaseException:
        line.close()
        raise
    return line
