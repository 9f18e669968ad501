"""A house for the tests: a real daemon with the embedded agent, `parleyd wyoming`, and clients of the real package."""

from __future__ import annotations

import contextlib
import math
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, cast

from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event, read_event, write_event
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong

from programs import Program, free_port

RATE_HZ = 22050
PATIENCE_S = 60.0
# `more` follows the addresses that may connect.
CONFIG = """
provider: local
audio: {{input: {{device: "null"}}, output: {{device: "null"}}}}
wake: {{mode: manual}}
announce: {{wait_s: 1}}
wyoming: {{allow: [127.0.0.1], port: {port}, name: Kitchen loudspeaker, area: Kitchen{more}}}
"""


def tone(seconds: float, rate_hz: int = RATE_HZ) -> bytes:
    count = round(seconds * rate_hz)
    return struct.pack(f"<{count}h", *(round(8000 * math.sin(i * 700 / rate_hz * 2 * math.pi)) for i in range(count)))


class Peer:
    """Home Assistant's side of a connection. A context manager."""

    def __init__(self, port: int) -> None:
        self.line = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self.line.settimeout(PATIENCE_S)
        # A socket's file reads and writes; its type in typeshed says so in two classes.
        self.wire = cast(BinaryIO, self.line.makefile("rwb"))

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self.wire.close()
        self.line.close()

    def send(self, event: Event) -> None:
        write_event(event, self.wire)

    def next(self) -> Event | None:
        """None: the connection has ended."""
        with contextlib.suppress(ConnectionError):
            return read_event(self.wire)
        return None

    def begin(self, rate_hz: int = RATE_HZ, width: int = 2, channels: int = 1) -> None:
        self.send(AudioStart(rate_hz, width, channels).event())

    def announce(self, pcm: bytes) -> None:
        """As Home Assistant does it: 2 KiB at a time, as fast as it goes."""
        self.begin()
        for start in range(0, len(pcm), 2048):
            self.send(AudioChunk(RATE_HZ, 2, 1, pcm[start : start + 2048]).event())
        self.send(AudioStop().event())

    def info(self) -> Info:
        self.send(Describe().event())
        event = self.next()
        assert event is not None
        return Info.from_event(event)

    def ping(self, text: str) -> None:
        """Asks, and waits for the answer; other events before it are an error."""
        self.send(Ping(text).event())
        event = self.next()
        assert event is not None
        assert Pong.is_type(event.type), event
        assert Pong.from_event(event).text == text


class House:
    """folder: for configuration and logs. more: further keys of the section."""

    def __init__(self, folder: Path, more: str = "") -> None:
        self.port = free_port()
        self.config = folder / "parleyd.yaml"
        self.config.write_text(CONFIG.format(port=self.port, more=f", {more}" if more else ""))

    @contextlib.contextmanager
    def daemon(self) -> Iterator[Program]:
        with Program("run", "-c", self.config) as program:
            program.says("runs; provider")
            yield program

    @contextlib.contextmanager
    def target(self) -> Iterator[Program]:
        with Program("wyoming", "-c", self.config) as program:
            yield program

    @contextlib.contextmanager
    def both(self) -> Iterator[Program]:
        """Yields `parleyd wyoming`, which listens."""
        with self.daemon(), self.target() as program:
            program.says("listens at port")
            yield program


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
