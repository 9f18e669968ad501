"""Records the events of one connection, for tests, the lines of the command and the files of --record.

The server's thread writes; any other thread may read and wait.
"""

from __future__ import annotations

import threading
import time
import wave
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

from parleyd.core.text import bounded
from parleyd.embedded.scenario import Trigger

# The default timeout of waiting, so that no test waits for ever.
WAIT_S = 60.0
# The most turns that the description of a conversation holds; the oldest are dropped.
MOST_TURNS = 500
# The most deviations of a client that are told, and the length of each: they repeat what it has sent.
MOST_DEVIATIONS, MOST_DEVIATION_CHARS = 100, 300

_OPENINGS = ("conversation_initiation_client_data", "session.update")

ActivityKind = Literal[
    "connected",
    "ready",
    "heard",
    "says",
    "delay",
    "ignored",
    "speaks",
    "interrupted",
    "cancelled",
    "truncated",
    "response",
    "file",
    "tool_call",
    "tool_result",
    "message",
    "fault",
    "deviation",
    "closed",
]


@dataclass(frozen=True, slots=True)
class Activity:
    """One event for the lines of `parleyd agent`. connection counts from 1; at_s: monotonic."""

    connection: int
    kind: ActivityKind
    at_s: float
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Closed:
    """How the connection ended; 1006: without a close frame. by: who sent the first close frame."""

    code: int
    reason: str
    by: Literal["agent", "client", "nobody"]


@dataclass(frozen=True, slots=True)
class Timed:
    """A message and its monotonic time. Sound is left out of it: see received_audio and sent_audio."""

    at_s: float
    message: Mapping[str, Any]

    @property
    def type(self) -> str:
        return str(self.message.get("type", ""))


@dataclass(eq=False)
class ConnectionRecord:
    """keep False: data that grow with the conversation are not kept in memory.

    path: with its query, the signature masked. opening: the client's first message about the session. events: the
    client's JSON messages except its sound. received_audio and sent_audio: 16-bit PCM at input_rate_hz and
    output_rate_hz.
    """

    number: int
    path: str
    headers: Mapping[str, str]
    subprotocol: str | None
    input_rate_hz: int
    output_rate_hz: int
    keep: bool = True
    on_activity: Callable[[Activity], None] | None = None
    folder: Path | None = None
    began_s: float = field(default_factory=time.monotonic)
    opening: Mapping[str, Any] | None = None
    events: list[Timed] = field(default_factory=list)
    sent: list[Timed] = field(default_factory=list)
    activities: list[Activity] = field(default_factory=list)
    turns: deque[Activity] = field(default_factory=lambda: deque(maxlen=MOST_TURNS))
    deviations: list[str] = field(default_factory=list)
    triggers: list[Trigger] = field(default_factory=list)
    received_audio_ms: float = 0.0
    closed: Closed | None = None

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self._received = bytearray()
        self._sent = bytearray()
        self._files: list[wave.Wave_write] = []
        self._log: Any = None
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            stem = f"connection-{self.number:03}"
            for name, rate_hz in (("received", self.input_rate_hz), ("sent", self.output_rate_hz)):
                file = wave.open(str(self.folder / f"{stem}-{name}.wav"), "wb")  # noqa: SIM115 (closed in end)
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(rate_hz)
                self._files.append(file)
            self._log = (self.folder / f"{stem}.jsonl").open("wb", buffering=0)

    # ---------------------------------------------------------------- looking

    @property
    def received_audio(self) -> bytes:
        with self._changed:
            return bytes(self._received)

    @property
    def sent_audio(self) -> bytes:
        with self._changed:
            return bytes(self._sent)

    @property
    def transcripts(self) -> list[str]:
        """The texts of the person, spoken or typed."""
        return [str(activity.fields["text"]) for activity in self.of_kind("heard")]

    def of_kind(self, kind: ActivityKind) -> list[Activity]:
        with self._changed:
            return [activity for activity in self.activities if activity.kind == kind]

    def events_of(self, type_: str) -> list[Mapping[str, Any]]:
        """The client's messages of one type."""
        with self._changed:
            return [event.message for event in self.events if event.type == type_]

    def wait(self, what: str, test: Callable[[ConnectionRecord], object], timeout_s: float = WAIT_S) -> None:
        """Waits until test(self) is true. Raises TimeoutError that names `what`."""
        with self._changed:
            if not self._changed.wait_for(lambda: bool(test(self)), timeout_s):
                raise TimeoutError(f"connection {self.number}: no {what} within {timeout_s:g} s")

    def wait_event(self, type_: str, count: int = 1, timeout_s: float = WAIT_S) -> Mapping[str, Any]:
        """Waits for the count-th message of a type from the client."""
        self.wait(type_, lambda record: len(record.events_of(type_)) >= count, timeout_s)
        return self.events_of(type_)[count - 1]

    def wait_transcript(self, count: int = 1, timeout_s: float = WAIT_S) -> str:
        """Waits for the count-th text of the person."""
        self.wait(f"transcript {count}", lambda record: len(record.transcripts) >= count, timeout_s)
        return self.transcripts[count - 1]

    def wait_trigger(self, trigger: Trigger, count: int = 1, timeout_s: float = WAIT_S) -> None:
        self.wait(f"{trigger} {count}", lambda record: record.triggers.count(trigger) >= count, timeout_s)

    def wait_closed(self, timeout_s: float = WAIT_S) -> Closed:
        self.wait("end", lambda record: record.closed is not None, timeout_s)
        assert self.closed is not None
        return self.closed

    # ---------------------------------------------------------------- the server's side

    def add_received(self, message: Mapping[str, Any]) -> None:
        """Adds a JSON message of the client other than sound."""
        timed = Timed(time.monotonic(), message)
        with self._changed:
            if message.get("type") in _OPENINGS and self.opening is None:
                self.opening = message
            if self.keep:
                self.events.append(timed)
            self._write("client", timed)
            self._changed.notify_all()

    def add_received_audio(self, pcm: bytes) -> None:
        with self._changed:
            self.received_audio_ms += len(pcm) / 2 * 1000 / self.input_rate_hz
            if self.keep:
                self._received += pcm
            if self._files:
                self._files[0].writeframes(pcm)
            self._changed.notify_all()

    def add_sent(self, message: Mapping[str, Any], pcm: bytes = b"") -> None:
        """Adds a sent message. pcm: the sound in it, if any."""
        timed = Timed(time.monotonic(), message)
        with self._changed:
            if self.keep:
                self.sent.append(timed)
                self._sent += pcm
            if pcm and self._files:
                self._files[1].writeframes(pcm)
            self._write("agent", timed)
            self._changed.notify_all()

    def add_trigger(self, trigger: Trigger) -> None:
        with self._changed:
            if self.keep:
                self.triggers.append(trigger)
            self._changed.notify_all()

    def add_deviation(self, text: str) -> None:
        text = bounded(text, MOST_DEVIATION_CHARS)
        with self._changed:
            if text in self.deviations or len(self.deviations) >= MOST_DEVIATIONS:
                return
            self.deviations.append(text)
            if self._log is not None:
                line = {"at_ms": round((time.monotonic() - self.began_s) * 1000), "deviation": text}
                self._log.write(msgspec.json.encode(line) + b"\n")
            self._changed.notify_all()
        self.tell("deviation", text=text)

    def tell(self, kind: ActivityKind, **fields: Any) -> None:
        activity = Activity(self.number, kind, time.monotonic(), fields)
        with self._changed:
            if kind in ("heard", "says", "interrupted"):
                self.turns.append(activity)
            if self.keep:
                self.activities.append(activity)
            self._changed.notify_all()
        if self.on_activity is not None:
            self.on_activity(activity)

    def end(self, closed: Closed) -> None:
        with self._changed:
            for file in self._files:
                file.close()
            if self._log is not None:
                self._log.close()
            self._files, self._log = [], None
            self.closed = closed
            self._changed.notify_all()
        audio_ms = round(self.received_audio_ms)
        self.tell("closed", code=closed.code, reason=closed.reason, by=closed.by, audio_ms=audio_ms)

    def _write(self, sender: str, timed: Timed) -> None:
        if self._log is not None:
            line = {"at_ms": round((timed.at_s - self.began_s) * 1000), "from": sender, "message": timed.message}
            self._log.write(msgspec.json.encode(line) + b"\n")
