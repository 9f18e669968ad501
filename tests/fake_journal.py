"""A datagram socket in journald's place. It shares no code with the daemon."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType


def parse(datagram: bytes) -> dict[str, str]:
    """The native protocol: NAME=value, or NAME, a length and any bytes. No name twice."""
    fields: dict[str, str] = {}
    while datagram:
        name, equals, _ = datagram.partition(b"\n")[0].partition(b"=")
        if equals:
            value, _, datagram = datagram[len(name) + 1 :].partition(b"\n")
        else:
            at = len(name) + 1
            size = int.from_bytes(datagram[at : at + 8], "little")
            value = datagram[at + 8 : at + 8 + size]
            assert datagram[at + 8 + size :][:1] == b"\n"
            datagram = datagram[at + 9 + size :]
        assert name.decode() not in fields
        fields[name.decode()] = value.decode()
    return fields


class FakeJournal:
    """A context manager. read() takes what has come; what is not read stays in the queue, which the kernel bounds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[dict[str, str]] = []

    def __enter__(self) -> FakeJournal:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self.path.unlink()

    def wait(self, test: Callable[[dict[str, str]], bool], times: int = 1, timeout_s: float = 60.0) -> dict[str, str]:
        """The first entry that passes, or the so manieth, of those that have come and of those that come."""
        until_s = time.monotonic() + timeout_s
        seen = 0
        while True:
            for entry in self.entries[seen:]:
                times -= test(entry)
                if times <= 0:
                    return entry
            seen = len(self.entries)
            self._socket.settimeout(max(0.01, until_s - time.monotonic()))
            try:
                self.entries.append(parse(self._socket.recv(1 << 20)))
            except TimeoutError:
                raise AssertionError(f"no such entry; {self.entries[-20:]}") from None

    def read(self) -> list[dict[str, str]]:
        """All that has come so far."""
        self._socket.setblocking(False)
        try:
            while True:
                self.entries.append(parse(self._socket.recv(1 << 20)))
        except BlockingIOError:
            return self.entries

    def texts(self) -> list[str]:
        return [entry["MESSAGE"] for entry in self.read()]
