"""A TLS connection for two threads: one that reads, and one that writes meanwhile.

OpenSSL allows no such thing, and Python's ssl does not prevent it (3.11 to 3.13): when the line then breaks under both,
the process crashes sooner or later.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


class SharedTlsSocket(ssl.SSLSocket):
    """From share() on, both threads take turns at OpenSSL, and wait for the wire outside of that.

    The timeout is that of each recv() and send(), then; both raise TimeoutError.
    """

    _turn: threading.Lock | None = None
    _timeout_s: float | None = None

    def share(self) -> None:
        """After the handshake, before there is a second thread."""
        self._timeout_s = self.gettimeout()
        self.setblocking(False)
        self._turn = threading.Lock()

    def settimeout(self, value: float | None) -> None:
        if self._turn is None:
            super().settimeout(value)
        else:
            self._timeout_s = value

    def gettimeout(self) -> float | None:
        return super().gettimeout() if self._turn is None else self._timeout_s

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        return self._in_turn(partial(super().recv, buflen, flags))

    def send(self, data: Any, flags: int = 0) -> int:
        return self._in_turn(partial(super().send, data, flags))

    def shutdown(self, how: int) -> None:
        """Unlike there, the socket goes on to know that it is encrypted: who is blocked would take what is still on the
        wire for the message itself."""
        socket.socket.shutdown(self, how)

    def _in_turn(self, step: Callable[[], T]) -> T:
        if self._turn is None:
            return step()
        until_s = None if self._timeout_s is None else time.monotonic() + self._timeout_s
        while True:
            try:
                with self._turn:
                    return step()
            except ssl.SSLWantReadError:
                wanted = select.POLLIN
            except ssl.SSLWantWriteError:
                wanted = select.POLLOUT
            wire = select.poll()
            wire.register(self.fileno(), wanted)
            if not wire.poll(None if until_s is None else max(0.0, until_s - time.monotonic()) * 1000):
                raise TimeoutError("timed out")
