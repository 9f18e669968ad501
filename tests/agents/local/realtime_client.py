"""A plain WebSocket client of the embedded agent's Realtime front; events are checked against openai's types."""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import Any

import pydantic
from local_client import WAIT_S, Connected, Message
from openai.types.realtime import RealtimeServerEvent

from parleyd.embedded.realtime import wire_formats
from parleyd.embedded.server import LocalAgent

RATE_HZ = 24_000


@cache
def events() -> pydantic.TypeAdapter[RealtimeServerEvent]:
    return pydantic.TypeAdapter(RealtimeServerEvent)


class RealtimeClient(Connected):
    """Speaks the Realtime protocol; the sound of each item is in `audio`.

    key: sent as a bearer token. check False: for answers that are broken on purpose.
    """

    def __init__(
        self,
        agent: LocalAgent,
        model: str | None = "gpt-realtime-2.1",
        key: str | None = "k",
        *,
        check: bool = True,
        **options: Any,
    ) -> None:
        options.setdefault("max_size", 32 * 1024 * 1024)
        headers = dict(options.pop("additional_headers", {}))
        if key is not None:
            headers.setdefault("Authorization", f"Bearer {key}")
        query = f"?model={model}" if model else ""
        super().__init__(f"{agent.url}/v1/realtime{query}", additional_headers=headers, **options)
        self.audio: dict[str, bytes] = {}
        self._check = check

    def send(self, type_: str, **fields: Any) -> None:
        self.socket.send(json.dumps({"type": type_, **fields}))

    def update(self, **session: Any) -> Message:
        """Updates the session, and returns it as the server tells it."""
        self.send("session.update", session={"type": "realtime", **session})
        told: Message = self.until("session.updated")["session"]
        return told

    def say(self, pcm: bytes, chunk_ms: int = 100, format_type: str = "audio/pcm") -> None:
        """At once: the agent counts in audio time. pcm: at the rate of the format."""
        size = wire_formats.RATE_HZ[format_type] * chunk_ms // 1000 * 2
        for start in range(0, len(pcm), size):
            data = wire_formats.encode(format_type, pcm[start : start + size])
            self.send("input_audio_buffer.append", audio=base64.b64encode(data).decode())

    def write(self, text: str, **more: Any) -> None:
        """A typed message, which is to be answered."""
        self.item(role="user", content=[{"type": "input_text", "text": text}])
        self.send("response.create", **more)

    def item(self, type_: str = "message", **fields: Any) -> None:
        self.send("conversation.item.create", item={"type": type_, **fields})

    def receive(self, timeout_s: float = WAIT_S) -> Message:
        """The next message. Raises ConnectionClosed, TimeoutError."""
        message: Message = json.loads(self.socket.recv(timeout=timeout_s))
        if self._check:
            events().validate_python(message)
            assert message["event_id"] not in [one["event_id"] for one in self.messages]
        self.messages.append(message)
        if message["type"] == "response.output_audio.delta":
            data = base64.b64decode(message["delta"])
            self.audio[message["item_id"]] = self.audio.get(message["item_id"], b"") + data
        return message

    def answer(self) -> Message:
        """The next response that is over."""
        response: Message = self.until("response.done")["response"]
        return response

    def error(self) -> Message:
        error: Message = self.until("error")["error"]
        return error

    def types(self, without: tuple[str, ...] = ("rate_limits.updated",)) -> list[str]:
        """Of all messages; a run of deltas once."""
        types: list[str] = []
        for message in self.messages:
            kind = message["type"]
            if kind in without or (kind.endswith(".delta") and types and kind in types[-2:]):
                continue
            types.append(kind)
        return types


def words(response: Message) -> str:
    """All that a response says, spoken or written."""
    return " ".join(
        part.get("transcript") or part.get("text") or ""
        for item in response["output"]
        for part in item.get("content", [])
    )
