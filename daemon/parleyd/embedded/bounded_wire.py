"""A TCP connection on which one question is asked, with bounds for its answer. Blocking."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable

_PIECE_BYTES = 65_536


class EndlessError(ValueError):
    """The answer is longer than any answer."""


class BoundedWire:
    """The part of a binary file that the package wyoming uses. timeout_s: for each piece; within_s: for all of them.
    most_bytes: of the answer. Methods raise OSError, TimeoutError among them, and EndlessError."""

    def __init__(self, connection: socket.socket, timeout_s: float, within_s: float, most_bytes: int) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self._until_s = time.monotonic() + within_s
        self._left_bytes = most_bytes
        self._received = bytearray()

    def write(self, data: bytes) -> int:
        self._connection.settimeout(self._timeout_s)
        self._connection.sendall(data)
        return len(data)

    def writelines(self, lines: Iterable[bytes]) -> None:
        self.write(b"".join(lines))

    def flush(self) -> None:
        """Nothing waits."""

    def readline(self) -> bytes:
        """With its end, but for the last one; empty at the end of the answer."""
        begin = 0
        while (end := self._received.find(b"\n", begin)) < 0:
            begin = len(self._received)
            if not self._receive():
                return self._taken(begin)
        return self._taken(end + 1)

    def read(self, size_bytes: int) -> bytes:
        """Fewer only at the end of the answer."""
        while len(self._received) < size_bytes and self._receive():
            pass
        return self._taken(size_bytes)

    def _receive(self) -> bool:
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._connection.settimeout(min(left_s, self._timeout_s))
        data = self._connection.recv(_PIECE_BYTES)
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            raise EndlessError
        self._received += data
        return bool(data)

    def _taken(self, size_bytes: int) -> bytes:
        data = bytes(self._received[:size_bytes])
        del self._received[:size_bytes]
        return data
