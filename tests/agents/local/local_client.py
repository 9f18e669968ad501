"""A plain WebSocket client of the embedded agent, and sentences by a synthetic speaker."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import cache
from types import TracebackType
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from parleyd.agents.elevenlabs.formats import parse_format
from parleyd.audio.pcm import decode, encode
from parleyd.embedded.server import LocalAgent
from parleyd.embedded.voice import Voice

WAIT_S = 60.0
Message = dict[str, Any]
Start = Callable[..., LocalAgent]


@cache
def person() -> Voice:
    return Voice("rms")


@cache
def spoken(text: str, rate_hz: int = 16_000, silence_ms: int = 500) -> bytes:
    """A sentence and the silence that lets the agent notice its end, as PCM."""
    return person().say(text, rate_hz) + bytes(rate_hz * silence_ms // 1000 * 2)


class Connected:
    """A client that is connected. A context manager. Everything received is in `messages`."""

    def __init__(self, url: str, **options: Any) -> None:
        options.setdefault("compression", None)
        self._stack = ExitStack()
        self.socket: ClientConnection = connect(url, close_timeout=1, **options)
        self._stack.enter_context(self.socket)
        self.messages: list[Message] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def receive(self, timeout_s: float = WAIT_S) -> Message:
        """The next message. Raises ConnectionClosed, TimeoutError."""
        raise NotImplementedError

    def until(self, type_: str, test: Callable[[Message], object] = lambda _message: True) -> Message:
        """The next message of a type."""
        until_s = time.monotonic() + WAIT_S
        while True:
            message = self.receive(max(0.0, until_s - time.monotonic()))
            if message["type"] == type_ and test(message):
                return message

    def until_closed(self) -> tuple[int, str]:
        """Code and reason; 1006 without a close frame."""
        until_s = time.monotonic() + WAIT_S
        try:
            while True:
                self.receive(max(0.0, until_s - time.monotonic()))
        except ConnectionClosed as error:
            return (error.rcvd.code, error.rcvd.reason) if error.rcvd else (1006, "")


class Client(Connected):
    """Speaks the protocol of ConvAI; audio is in `audio` as (event id, PCM).

    opening None: the initiation frame is not sent.
    """

    def __init__(
        self,
        agent: LocalAgent,
        opening: Message | None = {"type": "conversation_initiation_client_data"},  # noqa: B006 (never changed)
        query: str = "agent_id=test",
        **options: Any,
    ) -> None:
        options.setdefault("max_size", 16 * 1024 * 1024)
        self.input_format = parse_format(agent.settings.input_format)
        self.output_format = parse_format(agent.settings.output_format)
        super().__init__(f"{agent.url}/v1/convai/conversation?{query}", **options)
        self.audio: list[tuple[int, bytes]] = []
        self.answers_pings = True
        if opening is not None:
            self.send(opening)

    def send(self, message: object) -> None:
        self.socket.send(json.dumps(message))

    def say(self, pcm: bytes, chunk_ms: int = 100) -> None:
        """At once: the agent counts in audio time."""
        size = self.input_format.rate_hz * chunk_ms // 1000 * 2
        for start in range(0, len(pcm), size):
            data = encode(self.input_format, pcm[start : start + size])
            self.send({"user_audio_chunk": base64.b64encode(data).decode()})

    def receive(self, timeout_s: float = WAIT_S) -> Message:
        """The next message; pings are answered. Raises ConnectionClosed, TimeoutError."""
        message: Message = json.loads(self.socket.recv(timeout=timeout_s))
        self.messages.append(message)
        if message["type"] == "ping" and self.answers_pings:
            # The close frame may be in already; what came before it is still to be read.
            with suppress(ConnectionClosed):
                self.send({"type": "pong", "event_id": message["ping_event"]["event_id"]})
        if message["type"] == "audio":
            event = message["audio_event"]
            pcm = decode(self.output_format, base64.b64decode(event["audio_base_64"]))
            self.audio.append((event["event_id"], pcm))
        return message

    def types(self) -> list[str]:
        """Of all messages but pings; audio once per run."""
        types: list[str] = []
        for message in self.messages:
            kind = message["type"]
            if kind != "ping" and not (kind == "audio" and types and types[-1] == "audio"):
                types.append(kind)
        return types
