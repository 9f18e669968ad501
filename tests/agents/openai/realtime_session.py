"""A session of the codec in a test: the server's messages in, events and our messages out."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Sequence
from typing import Any, TypeVar

from parleyd.agents import events
from parleyd.agents.commands import Command, Cut, HeardOf
from parleyd.agents.events import AgentEvent
from parleyd.agents.openai.codec import OpenAICodec
from parleyd.agents.provider import Interrupts, SessionWish
from parleyd.config.openai_section import OpenAI

E = TypeVar("E")

OWN = "http://127.0.0.1:1/v1"
FORMAT = {"type": "audio/pcm", "rate": 24000}
CLIENT = SessionWish(greet=False, interrupts=Interrupts.CLIENT)
# A second of sound at 24 kHz.
SECOND = bytes(48_000)


class Session:
    """receive() and send() return nothing: what follows is in events and sent, since the last take."""

    def __init__(
        self, config: OpenAI | None = None, wish: SessionWish | None = None, *, ready: bool = True, **more: Any
    ) -> None:
        wish = wish or SessionWish(greet=False)
        self.codec = OpenAICodec(config or OpenAI(base_url=OWN), wish, instructions="Be brief.", **more)
        self.opening = [json.loads(message) for message in self.codec.opening()]
        self.now_s = 100.0
        self.events: list[AgentEvent] = []
        self.sent: list[dict[str, Any]] = []
        self._numbers = itertools.count(1)
        if ready:
            self.receive("session.created", session={"id": "sess_1", "expires_at": None})
            self.receive("session.updated", session=session())
            self.take()

    def receive(self, kind: str, **fields: object) -> None:
        self.raw(json.dumps({"type": kind, "event_id": f"event_{next(self._numbers)}", **fields}))

    def raw(self, message: str | bytes) -> None:
        received = self.codec.receive(message, self.now_s)
        self.events += received.events
        self.sent += [json.loads(reply) for reply in received.replies]

    def send(self, command: Command) -> list[dict[str, Any]]:
        """The messages for it, which are also in `sent`."""
        messages = [json.loads(message) for message in self.codec.send(command, self.now_s)]
        self.sent += messages
        return messages

    def take(self) -> tuple[list[AgentEvent], list[dict[str, Any]]]:
        found, sent = self.events, self.sent
        self.events, self.sent = [], []
        return found, sent

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def types(self) -> list[str]:
        return [message["type"] for message in self.sent]

    # ------------------------------------------------------------ what servers do

    def created(self, response: str = "resp_1") -> None:
        self.receive("response.created", response={"id": response, "status": "in_progress"})

    def audio(self, response: str = "resp_1", item: str = "item_1", data: bytes = SECOND) -> None:
        delta = base64.b64encode(data).decode()
        self.receive(
            "response.output_audio.delta",
            response_id=response,
            item_id=item,
            output_index=0,
            content_index=0,
            delta=delta,
        )

    def text(self, text: str, response: str = "resp_1", item: str = "item_1") -> None:
        ids = {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0}
        self.receive("response.output_audio_transcript.delta", delta=text, **ids)
        self.receive("response.output_audio_transcript.done", transcript=text, **ids)

    def done(self, response: str = "resp_1", status: str = "completed", **fields: object) -> None:
        self.receive("response.done", response={"id": response, "status": status, "output": [], **fields})

    def answer(self, response: str = "resp_1", item: str = "item_1", seconds: int = 1) -> None:
        """A whole answer, faster than real time."""
        self.created(response)
        for _ in range(seconds):
            self.audio(response, item)
        self.text("One two three four.", response, item)
        self.receive("response.output_audio.done", response_id=response, item_id=item)
        self.done(response)

    def call(self, call_id: str = "call_1", response: str = "resp_1", name: str = "get_time") -> None:
        item = {
            "id": f"fc_{call_id}",
            "type": "function_call",
            "status": "completed",
            "name": name,
            "call_id": call_id,
            "arguments": "{}",
        }
        self.receive("response.output_item.done", response_id=response, output_index=0, item=item)

    def acknowledge(self, item_id: str) -> None:
        item = {"id": item_id, "type": "message", "role": "user", "content": []}
        self.receive("conversation.item.added", previous_item_id=None, item=item)

    def error(self, code: str | None, message: str = "no", event_id: str | None = None, **fields: object) -> None:
        told = {"type": "invalid_request_error", "code": code, "message": message, "param": None, "event_id": event_id}
        self.receive("error", error={**told, **fields})

    def speech(self, item: str = "user_1", start_ms: int = 0) -> None:
        self.receive("input_audio_buffer.speech_started", audio_start_ms=start_ms, item_id=item)

    def spoke(self, item: str = "user_1", end_ms: int = 900) -> None:
        self.receive("input_audio_buffer.speech_stopped", audio_end_ms=end_ms, item_id=item)
        self.receive("input_audio_buffer.committed", item_id=item, previous_item_id=None)

    # ------------------------------------------------------------ what this side does

    def hear(self, seconds: float) -> None:
        """Sound of the room is sent."""
        self.codec.audio(bytes(int(seconds * 24_000) * 2))

    def cut(self, *heard: tuple[str, int], by: Any = "server", total_ms: int = 1000) -> list[dict[str, Any]]:
        return self.send(Cut(tuple(HeardOf(answer, ms, total_ms) for answer, ms in heard), by))


def session(**fields: object) -> dict[str, object]:
    """As OpenAI describes it."""
    audio = {
        "input": {"format": FORMAT, "turn_detection": {"type": "server_vad"}},
        "output": {"format": FORMAT, "voice": "marin", "speed": 1.0},
    }
    return {"type": "realtime", "id": "sess_1", "model": "gpt-realtime-2.1", "audio": audio, **fields}


def truncations(messages: Sequence[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(m["item_id"], m["audio_end_ms"]) for m in messages if m["type"] == "conversation.item.truncate"]


def texts(found: Sequence[AgentEvent]) -> list[str]:
    return [event.text for event in found if isinstance(event, events.AnswerText) and event.final]
